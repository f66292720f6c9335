// Package locks is the lock directory, one file a client, and the clients' names. The
// directory is the truth and asked each time; no lock is remembered. A symbolic link
// is never followed, and what is not a regular file is no lock.

package locks

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Files is what is done with the files of the directory: an *os.Root, or a slow one in
// tests.
type Files interface {
	Lstat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Remove(name string) error
}

// Directory is the lock directory. What it does may take as long as a disk takes.
type Directory struct {
	Files Files
	Now   func() time.Time
	Log   *slog.Logger

	// A file of uid 0 marks a client that is never locked. A lockd that runs as
	// uid 0 itself could not tell such a mark from its own locks: then every
	// file is a lock.
	Whitelist bool

	Expired func(name string) // hears of each lock that has come to its end; nil: nobody does

	saidMu sync.Mutex
	said   map[string]struct{} // the files of which was said that their second line counts as none
}

// Mark is what the directory says of a client.
type Mark uint8

// The marks.
const (
	Unlocked Mark = iota
	Locked
	Whitelisted
)

// Subject is whom a lock is about, for the log.
type Subject struct {
	Session uint64
	Addr    netip.Addr
	Ident   string
	Login   string
}

// attrs are the attributes of a log line about a client.
func attrs(a netip.Addr, ident, login string) []any {
	if login == "" {
		return []any{"src", a, "ident", ident}
	}
	return []any{"src", a, "ident", ident, "login", login}
}

// Stat returns the lock file of this name, nil if there is none.
func (l *Directory) Stat(name string) (fs.FileInfo, error) {
	info, err := l.Files.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at lock %s: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, NotALock{name, info.Mode()}
	}
	return info, nil
}

// NotALock says what has the name of a lock, and is none.
type NotALock struct {
	name string
	mode fs.FileMode
}

func (n NotALock) Error() string {
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

// Verdict is what a lock file means.
type Verdict struct {
	Mark    Mark
	Expired bool  // it is Unlocked because the lock has come to its end
	Until   int64 // when that is or was, Unix nanoseconds; 0: never
}

// Judge says what a lock file means under duration: seconds, -1 for ever, 0 no locking.
// One that may say more than the cause is read. After an error nobody knows.
func (l *Directory) Judge(name string, info fs.FileInfo, duration int) (Verdict, error) {
	var c Content
	if !l.IsWhitelisted(info) && duration != 0 && info.Size() >= least {
		var err error
		if c, err = l.Read(name, info); err != nil {
			return Verdict{}, fmt.Errorf("read lock %s: %w", name, err)
		}
	}
	return l.judge(info, c, duration), nil
}

func (l *Directory) judge(info fs.FileInfo, c Content, duration int) Verdict {
	if l.IsWhitelisted(info) {
		return Verdict{Mark: Whitelisted}
	}
	v := Verdict{Mark: Locked, Until: c.Until}
	v.Expired = c.Until != 0 && l.Now().UnixNano() >= c.Until
	if c.Until == 0 {
		v.Until = Until(info.ModTime(), duration)
		v.Expired = duration > 0 && l.Now().Sub(info.ModTime()) >= time.Duration(duration)*time.Second
	}
	if duration == 0 {
		v.Expired = false
	}
	if duration == 0 || v.Expired {
		v.Mark = Unlocked
	}
	if c.unread { // who has made it may know of a later end
		v.Expired = false
	}
	return v
}

// Show is what an operator sees of a lock file, one that cannot be read as of one that says
// nothing.
func (l *Directory) Show(name string, info fs.FileInfo, duration int) (Verdict, string) {
	c, err := l.Read(name, info)
	if err != nil {
		l.Log.Error("lock cannot be read", "name", name, "error", err)
	}
	return l.judge(info, c, duration), c.Cause
}

func (l *Directory) IsWhitelisted(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && l.Whitelist && st.Uid == 0
}

// stale tells whether a file is an expired lock that belongs to uid.
func (l *Directory) stale(name string, duration, uid int) bool {
	info, err := l.Stat(name)
	if err != nil || info == nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != uid {
		return false
	}
	v, err := l.Judge(name, info, duration)
	return err == nil && v.Expired
}

// Sweep removes an expired lock that belongs to uid.
func (l *Directory) Sweep(name string, duration, uid int) {
	if !l.stale(name, duration, uid) {
		return
	}
	if err := l.Files.Remove(name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.Log.Error("expired lock stays", "error", err)
		}
		return
	}
	c, _ := Parse(name)
	l.Log.Info("LOCK:EXPIRED", attrs(c.Addr, c.Ident, c.Login)...)
	l.expired(name)
}

func (l *Directory) expired(name string) {
	if l.Expired != nil {
		l.Expired(name)
	}
}

// Until is when a lock ends that is made now, for duration: seconds, -1 for ever. It is
// Unix nanoseconds, 0: never.
func Until(now time.Time, duration int) int64 {
	if duration < 0 {
		return 0
	}
	return now.Add(time.Duration(duration) * time.Second).UnixNano()
}

// Look says what the directory says of s, whose lock has this name. An expired
// Lock is removed. After an error, which has been logged, nobody knows whether s is locked.
func (l *Directory) Look(name string, duration int, s Subject) (Mark, error) {
	info, err := l.Stat(name)
	if err != nil {
		l.Log.Error("lock cannot be judged", "error", err)
		if errors.As(err, new(NotALock)) {
			err = nil
		}
		return Unlocked, err
	}
	if info == nil {
		return Unlocked, nil
	}
	v, err := l.Judge(name, info, duration)
	if err != nil {
		l.Log.Error("lock cannot be judged", "error", err)
		return Unlocked, err
	}
	if v.Expired {
		if err := l.Files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.Log.Error("expired lock stays", "error", err)
		}
		l.Say("LOCK:EXPIRED", s)
		l.expired(name)
	}
	if v.Mark == Whitelisted {
		l.Say("LOCK:SAINT", s)
	}
	return v.Mark, nil
}

// Lock makes sure that s is locked, as c says. fresh says that it was not before. Without
// locking every offence is fresh, a whitelisted client's never.
func (l *Directory) Lock(name string, c Content, duration int, perm uint32, s Subject) (m Mark, fresh bool, err error) {
	m, _ = l.Look(name, duration, s) // a file that is there is no worse for an attempt
	if m != Unlocked || duration == 0 {
		return m, m == Unlocked, nil
	}
	if err := l.create(name, c, perm); err == nil {
		return Locked, true, nil
	} else if !errors.Is(err, fs.ErrExist) {
		return Unlocked, false, err
	}
	// Somebody made it by hand just now, or it is something else.
	if _, err := l.Stat(name); err != nil {
		return Unlocked, false, err
	}
	return Locked, false, nil
}

// create makes a lock file. fs.ErrExist tells that there is one already.
func (l *Directory) create(name string, c Content, perm uint32) error {
	f, err := l.Files.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(perm)&fs.ModePerm)
	if err != nil {
		return fmt.Errorf("create lock: %w", err)
	}
	_, err = f.WriteString(c.text())
	if err == nil && c.Until > 0 { // a file that a power failure left empty would have no end
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return nil
	}
	if c.Until > 0 { // it would end at another time than was asked for
		return errors.Join(fmt.Errorf("write lock %s: %w", name, err), l.Files.Remove(name))
	}
	// Its presence is what locks; a full disk costs only the cause.
	l.Log.Error("lock has no cause in it", "error", err)
	return nil
}

// Names lists the directory's locks, sorted.
func (l *Directory) Names() ([]string, error) {
	f, err := l.Files.Open(".")
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
		if _, ok := Parse(name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Say logs what became of a client's lock.
func (l *Directory) Say(what string, s Subject) {
	l.Log.Info(what, append([]any{imsg.SessionKey, s.Session}, attrs(s.Addr, s.Ident, s.Login)...)...)
}

// Unlock removes a lock for an operator, to whom the directory is called folder.
func (l *Directory) Unlock(name, folder string) *imsg.Done {
	info, err := l.Stat(name)
	if err != nil {
		l.Log.Error("lock is not removed", "error", err)
	}
	switch {
	case errors.As(err, new(NotALock)):
		return outcome(imsg.Invalid, err.Error())
	case err != nil:
		return outcome(imsg.Resource, "the lock file cannot be looked at: see the log")
	case info == nil:
		return outcome(imsg.NotFound, "not locked")
	case l.IsWhitelisted(info):
		return outcome(imsg.Denied, "a whitelist mark, a file of user 0, is never removed by us")
	}
	if err := l.Files.Remove(name); err != nil {
		l.Log.Error("lock is not removed", "error", err)
		return outcome(imsg.Resource, "the lock file cannot be removed: see the log")
	}
	c, _ := Parse(name)
	l.Log.Info("LOCK:REMOVED ("+path.Join(folder, name)+")", attrs(c.Addr, c.Ident, c.Login)...)
	return outcome(0, "")
}

func outcome(errno imsg.Errno, detail string) *imsg.Done {
	return &imsg.Done{Errno: errno, Detail: detail}
}
