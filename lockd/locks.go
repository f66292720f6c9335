// The lock directory: one file a client. This file owns the files' names, their
// content and their age. The directory is the truth and asked each time; no
// lock is remembered. A symbolic link is never followed, and what is not a
// regular file is no lock.

package lockd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// directory is what is done with the lock directory: an *os.Root, or a slow one in
// tests.
type directory interface {
	Lstat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Remove(name string) error
}

// locks is the directory. Nothing here knows the keeper or its lock: it may take as
// long as a disk takes.
type locks struct {
	dir directory
	now func() time.Time
	log *slog.Logger
	// A file of uid 0 marks a client that is never locked. A lockd that runs as
	// uid 0 itself could not tell such a mark from its own locks: then every
	// file is a lock.
	saints bool
}

// mark is what the directory says of a client.
type mark uint8

const (
	unlocked mark = iota
	locked
	saint
)

// maxCause bounds a lock file's content when it is read.
const maxCause = 255

// stat returns the lock file of this name, nil if there is none.
func (l *locks) stat(name string) (fs.FileInfo, error) {
	info, err := l.dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at lock %s: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, noLock{name, info.Mode()}
	}
	return info, nil
}

// noLock says what has the name of a lock, and is none.
type noLock struct {
	name string
	mode fs.FileMode
}

func (n noLock) Error() string {
	what := "something"
	switch n.mode.Type() {
	case fs.ModeDir:
		what = "a directory"
	case fs.ModeSymlink:
		what = "a symbolic link"
	case fs.ModeNamedPipe:
		what = "a named pipe"
	case fs.ModeSocket:
		what = "a socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		what = "a device"
	}
	return n.name + " is " + what + ", not a regular file: it locks nobody"
}

// judge says what a lock file means under duration: seconds, -1 for ever, 0 no
// locking.
func (l *locks) judge(info fs.FileInfo, duration int) (m mark, expired bool) {
	switch {
	case l.isSaint(info):
		return saint, false
	case duration == 0:
		return unlocked, false
	case duration > 0 && l.now().Sub(info.ModTime()) >= time.Duration(duration)*time.Second:
		return unlocked, true
	}
	return locked, false
}

func (l *locks) isSaint(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && l.saints && st.Uid == 0
}

// stale tells whether a file is an expired lock that belongs to uid.
func (l *locks) stale(name string, duration, uid int) bool {
	info, err := l.stat(name)
	if err != nil || info == nil {
		return false
	}
	_, expired := l.judge(info, duration)
	st, ok := info.Sys().(*syscall.Stat_t)
	return expired && ok && int(st.Uid) == uid
}

// sweep removes an expired lock that belongs to uid.
func (l *locks) sweep(name string, duration, uid int) {
	if !l.stale(name, duration, uid) {
		return
	}
	if err := l.dir.Remove(name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("expired lock stays", "error", err)
		}
		return
	}
	client, ident, _, _ := parseName(name)
	l.log.Info("LOCK:EXPIRED", "src", client, "ident", ident)
}

// look says what the directory says of s, whose lock has this name. An expired
// lock is removed.
func (l *locks) look(name string, duration int, s subject) mark {
	info, err := l.stat(name)
	if err != nil {
		l.log.Error("lock cannot be judged", "error", err)
		return unlocked
	}
	if info == nil {
		return unlocked
	}
	m, expired := l.judge(info, duration)
	if expired {
		if err := l.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("expired lock stays", "error", err)
		}
		l.say("LOCK:EXPIRED", s)
	}
	if m == saint {
		l.say("LOCK:SAINT", s)
	}
	return m
}

// lock makes sure that s is locked. fresh says that it was not before. Without
// locking every offence is fresh, a saint's never.
func (l *locks) lock(name, cause string, duration int, perm uint32, s subject) (m mark, fresh bool, err error) {
	m = l.look(name, duration, s)
	if m != unlocked || duration == 0 {
		return m, m == unlocked, nil
	}
	if err := l.create(name, cause, perm); err == nil {
		return locked, true, nil
	} else if !errors.Is(err, fs.ErrExist) {
		return unlocked, false, err
	}
	// Somebody made it by hand just now, or it is something else.
	if _, err := l.stat(name); err != nil {
		return unlocked, false, err
	}
	return locked, false, nil
}

// create makes a lock file. fs.ErrExist tells that there is one already.
func (l *locks) create(name, cause string, perm uint32) error {
	f, err := l.dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(perm)&fs.ModePerm)
	if err != nil {
		return fmt.Errorf("create lock: %w", err)
	}
	_, err = f.WriteString(printable(clip(cause, maxCause)) + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		// Its presence is what locks; a full disk costs only the cause.
		l.log.Error("lock has no cause in it", "error", err)
	}
	return nil
}

// cause reads what a lock file says, given what Lstat said of it.
func (l *locks) cause(name string, info fs.FileInfo) string {
	// O_NONBLOCK: a pipe may have taken the file's place.
	f, err := l.dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, maxCause))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return printable(line)
}

// names lists the directory's locks, sorted.
func (l *locks) names() ([]string, error) {
	f, err := l.dir.Open(".")
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	names := all[:0]
	for _, name := range all {
		if _, _, _, ok := parseName(name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// say logs what became of a client's lock.
func (l *locks) say(what string, s subject) {
	l.log.Info(what, logs.SessionKey, s.number, "src", s.addr, "ident", s.ident)
}

// printable makes foreign text fit for a line of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '#'
		}
		return r
	}, s)
}
