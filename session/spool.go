// The spool: one file for a session, in the worker's root, used again for each
// message. This file owns its name and its end; nothing else may lie there.

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// partial ends the name of a file that may be removed once nobody holds its lock.
const partial = ".part"

type spool struct {
	file  *os.File
	name  string // START.N.part
	size  int64  // octets written for this message, our header included
	kept  string // START.N if this message was kept
	dirty bool
}

// begin empties the file, or makes it, and writes the spool header.
func (p *spool) begin(s *session) error {
	p.size, p.kept, p.dirty = 0, "", true
	if p.file == nil {
		name := s.id() + partial
		f, err := create(name, fs.FileMode(s.w.cfg.SpoolPerm))
		if err != nil {
			return err
		}
		p.file, p.name = f, name
	}
	if err := p.write(s.appendSpoolHeader(nil)); err != nil {
		p.drop()
		return err
	}
	return nil
}

// create makes a file that no sweep removes. Until it is locked it looks like a
// left-over to a worker that starts just then: what counts is that the file
// still has its name once the lock is ours.
func create(name string, perm fs.FileMode) (*os.File, error) {
	for range maxTries {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, perm)
		if err != nil {
			return nil, fmt.Errorf("make spool: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EWOULDBLOCK { // a sweep's, or of one who could keep it
			f.Close()
			os.Remove(name)
			continue
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		if err != nil {
			f.Close()
			os.Remove(name)
			return nil, fmt.Errorf("lock spool: %w", err)
		}
		if st.Nlink > 0 {
			return f, nil
		}
		f.Close()
	}
	return nil, errors.New("lock spool: somebody else locks what is made")
}

// maxTries bounds how often somebody may get between us and a file.
const maxTries = 10

// write appends to the message.
func (p *spool) write(b []byte) error {
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

// reader opens what was written a second time, for reading only: a scanner that
// holds it can change nothing.
func (p *spool) reader() (*os.File, error) {
	f, err := os.OpenFile(p.name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return f, nil
}

// finish ends a message: the file keeps its name for good, or is emptied for the
// next one. Only the first call counts.
func (p *spool) finish(keep bool) {
	if !p.dirty || p.file == nil {
		return
	}
	p.dirty = false
	if !keep {
		if p.file.Truncate(0) != nil {
			p.drop()
		}
		return
	}
	name := strings.TrimSuffix(p.name, partial)
	if os.Rename(p.name, name) == nil {
		p.kept = name
		p.file.Close()
		p.file = nil
	}
}

// drop removes the file.
func (p *spool) drop() {
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

// sweep removes what workers that died left behind: unfinished files whose lock
// is free. In a folder that others use nothing is removed.
func sweep(log *slog.Logger, shared bool) error {
	if shared {
		return nil
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), partial)
		if !ok || strings.Trim(name, "0123456789.") != "" || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(e.Name(), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
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
