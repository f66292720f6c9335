// Package spool keeps the message a session is relaying, for the scanners: one file for
// a session, in the working directory, used again for each message. It owns that
// file's name and its end.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// partial ends the name of a file that may be removed once nobody holds its lock.
	partial = ".part"
	// copying stands before that in the name of one that is being made to be kept.
	copying = ".kept"
)

// File is a session's spool file. Its zero value has none yet. One goroutine uses it.
//
// All workers have one user and one folder, and one of them may have been taken over. So
// nobody may open the file to write to it while its message is under way, its owner least
// of all, and what is scanned is what was written here, whatever has its name.
type File struct {
	file  *os.File
	perm  fs.FileMode
	name  string // START.N.part
	size  int64
	kept  string // START.N
	dirty bool
}

// Name is the file's name in the spool directory while the message is under way.
func (p *File) Name() string { return p.name }

// Size is how many octets were written for this message, header included.
func (p *File) Size() int64 { return p.size }

// Kept is the name under which this message was kept, empty if it was not.
func (p *File) Kept() string { return p.kept }

// Begin empties the file, or makes it, and writes the header of a message. id is the
// session's, and a file name: START.N.
func (p *File) Begin(id string, perm fs.FileMode, header []byte) error {
	if p.dirty { // nobody has said what became of the last one
		p.Finish(false)
	}
	p.size, p.kept, p.dirty = 0, "", true
	if p.file == nil {
		name := id + partial
		f, err := create(name, perm)
		if err != nil {
			return err
		}
		p.file, p.perm, p.name = f, perm, name
	}
	if err := p.Write(header); err != nil {
		p.Drop()
		return err
	}
	return nil
}

// ownerWrites is what nobody gets of the permissions as long as a message is under way.
const ownerWrites fs.FileMode = 0o200

// create makes a file that no sweep removes. Until it is locked it looks like a
// left-over to a worker that starts just then: what counts is that the file
// still has its name once the lock is ours. A sweep that has it is about to remove that
// name, and must not meet another file of ours there; one who could keep it may do so for
// ever.
func create(name string, perm fs.FileMode) (*os.File, error) {
	for range maxTries {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, perm&^ownerWrites)
		if err != nil {
			return nil, fmt.Errorf("make spool: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		for range sweepTries {
			if err != unix.EWOULDBLOCK || !isNamed(f, name) {
				break
			}
			time.Sleep(sweepPause)
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		named := isNamed(f, name)
		switch {
		case err == nil && named:
			return f, nil
		case named:
			os.Remove(name)
		}
		f.Close()
		if err != nil && err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("lock spool: %w", err)
		}
	}
	return nil, errors.New("lock spool: somebody else locks what is made")
}

// A sweep holds a file for a moment, be it a long one.
const (
	sweepTries = 10
	sweepPause = 5 * time.Millisecond
)

// maxTries bounds how often somebody may get between us and a file.
const maxTries = 10

// Write appends to the message.
func (p *File) Write(b []byte) error {
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

// Open opens what was written a second time, for reading only: a scanner that
// holds it can change nothing. It is an error if another file has its name.
func (p *File) Open() (*os.File, error) {
	f, err := os.OpenFile(p.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if !same(f, p.file) {
		f.Close()
		return nil, fmt.Errorf("open spool: %s is another file", p.name)
	}
	return f, nil
}

func same(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// Finish ends a message: it is kept for good, or not, and the file is emptied for the
// next one. Only the first call counts.
func (p *File) Finish(keep bool) {
	if !p.dirty || p.file == nil {
		return
	}
	p.dirty = false
	if keep {
		p.keep(strings.TrimSuffix(p.name, partial))
	}
	if p.file != nil && p.file.Truncate(0) != nil {
		p.Drop()
	}
}

// keep keeps the message under a name, with all of its permissions: in another file, or,
// if there is no room for that, in this one.
func (p *File) keep(name string) {
	if p.copyTo(name) == nil {
		p.kept = name
		if !isNamed(p.file, p.name) { // nobody could scan the next
			p.Drop()
		}
		return
	}
	if os.Rename(p.name, name) != nil {
		p.Drop() // a scanner may still hold it
		return
	}
	p.kept = name
	p.file.Close()
	p.file = nil
}

func (p *File) copyTo(name string) error {
	unfinished := name + copying + partial
	f, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, p.perm)
	if err != nil {
		return err
	}
	// Not by the kernel's own ways from file to file, which we may not go.
	_, err = io.Copy(struct{ io.Writer }{f}, io.NewSectionReader(p.file, 0, p.size))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(unfinished, name)
	}
	if err != nil {
		os.Remove(unfinished)
	}
	return err
}

// Drop removes the file.
func (p *File) Drop() {
	if p.file != nil {
		os.Remove(p.name)
		p.file.Close()
		p.file = nil
	}
}

// isNamed tells whether a name is still that of an open file: its session may have
// kept it under another one, and begun the next.
func isNamed(f *os.File, name string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(is, named)
}

// Sweep removes what workers that died left behind: unfinished files whose lock
// is free. In a folder that others use nothing is removed.
func Sweep(log *slog.Logger, shared bool) error {
	if shared {
		return nil
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isPartial(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(e.Name(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				log.Warn("left-over spool file", "file", e.Name(), "error", err)
			}
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isNamed(f, e.Name()) {
			os.Remove(e.Name())
			log.Info("left-over spool file removed", "file", e.Name())
		}
		f.Close()
	}
	return nil
}

// isPartial tells whether a name is that of an unfinished file of a session's:
// START.N.part or START.N.kept.part.
func isPartial(name string) bool {
	id, ok := strings.CutSuffix(name, partial)
	start, n, both := strings.Cut(strings.TrimSuffix(id, copying), ".")
	return ok && both && isNumber(start) && isNumber(n)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
