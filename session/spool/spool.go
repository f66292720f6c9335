// Package spool keeps the message a session is relaying, for the scanners: one file for
// a session, in the working directory, used again for each message, and then by another
// session. It owns that file's name and its end.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// partial ends the name of a file that may be removed once nobody holds its lock.
const partial = ".part"

// File is a session's spool file. Its zero value has none yet. One goroutine uses it.
//
// All workers have one user and one folder, and one of them may have been taken over. So
// nobody may open the file to write to it while its message is under way, its owner least
// of all, and what is scanned is what was written here, whatever has its name.
type File struct {
	opened
	size  int64
	kept  string // START.N
	dirty bool
}

// opened is a file that is in use, or may be.
type opened struct {
	file *os.File
	look *os.File // the same, opened for reading only
	name string   // START.N.part
}

// Name is the file's name in the spool directory while the message is under way.
func (p *File) Name() string { return p.name }

// Size is how many octets were written for this message, header included.
func (p *File) Size() int64 { return p.size }

// Kept is the name under which this message was kept, empty if it was not.
func (p *File) Kept() string { return p.kept }

// Begin empties the file, takes one of others, or makes it, and writes the header of a
// message. id is the session's, and a file name: START.N.
func (p *File) Begin(others *Pool, id string, perm fs.FileMode, header []byte) error {
	if p.dirty { // nobody has said what became of the last one
		p.Finish(false)
	}
	p.size, p.kept, p.dirty = 0, "", true
	if name := id + partial; p.file == nil && !p.inherit(others, name) {
		f, err := create(name, perm)
		if err != nil {
			return err
		}
		p.file, p.name = f, name
		if p.look, err = p.openAgain(); err != nil {
			p.Drop()
			return err
		}
	}
	if err := p.Write(header); err != nil {
		p.Drop()
		return err
	}
	return nil
}

// ownerWrites is what nobody gets of the permissions, whatever is asked for.
const ownerWrites fs.FileMode = 0o200

// create makes a file that no sweep removes. Until it is locked it looks like a
// left-over to a worker that starts just then: what counts is that the file
// still has its name once the lock is ours. A sweep that has it is about to remove that
// name, and must not meet another file of ours there; one who could keep it may do so for
// ever.
func create(name string, perm fs.FileMode) (*os.File, error) {
	for tries, held := 0, 0; tries < maxTries && held < maxHeld; tries++ {
		f, err := open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, perm&^ownerWrites)
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
			held++
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

// maxTries bounds how often a sweep may get between us and a file, and maxHeld how often
// somebody may keep one.
const (
	maxTries = 1000
	maxHeld  = 10
)

// Write appends to the message.
func (p *File) Write(b []byte) error {
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

// Reader is what was written, opened for reading only: a scanner that holds it can change
// nothing. It stays p's. It is an error if its name is gone, or another file's.
func (p *File) Reader() (*os.File, error) {
	named, err := os.Lstat(p.name)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	is, err := p.look.Stat()
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if !os.SameFile(is, named) {
		return nil, fmt.Errorf("open spool: %s is another file", p.name)
	}
	return p.look, nil
}

// openAgain opens the file a second time, for reading only.
func (p *File) openAgain() (*os.File, error) {
	// What has the name may be no file, for which an open would wait.
	f, err := open(p.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if !same(f, p.file) {
		f.Close()
		return nil, fmt.Errorf("open spool: %s is another file", p.name)
	}
	return f, nil
}

// open is os.OpenFile, but for what that does for files that can be waited for.
func open(name string, flags int, perm fs.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, uint32(perm.Perm()))
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR:
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

func same(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// Finish ends a message: the file keeps its name for good, or is emptied for the
// next one. Only the first call counts.
func (p *File) Finish(keep bool) {
	if !p.dirty || p.file == nil {
		return
	}
	p.dirty = false
	if !keep {
		if p.file.Truncate(0) != nil {
			p.Drop()
		}
		return
	}
	name := strings.TrimSuffix(p.name, partial)
	if os.Rename(p.name, name) != nil {
		p.Drop() // a scanner may still hold it
		return
	}
	p.kept = name
	p.close()
}

func (p *opened) close() {
	p.file.Close()
	p.look.Close()
	p.file, p.look = nil, nil
}

// Drop removes the file. One that the disk does not let go is left to a sweep.
func (p *opened) Drop() {
	if p.file != nil {
		os.Remove(p.name)
		p.close()
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

// Sweep removes what workers that died, or a disk that failed, left behind: unfinished
// files whose lock is free. In a folder that others use nothing is removed.
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
			if err := os.Remove(e.Name()); err != nil {
				log.Warn("left-over spool file", "file", e.Name(), "error", err)
			} else {
				log.Info("left-over spool file removed", "file", e.Name())
			}
		}
		f.Close()
	}
	return nil
}

// isPartial tells whether a name is that of an unfinished file of a session's:
// START.N.part.
func isPartial(name string) bool {
	id, ok := strings.CutSuffix(name, partial)
	start, n, both := strings.Cut(id, ".")
	return ok && both && isNumber(start) && isNumber(n)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
