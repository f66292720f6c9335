// The pid file. It tells others which process to signal. Anybody may read it, so
// it proves nothing by itself: the running daemon holds a lock on a second file
// beside it, which nobody else can open, for its whole life. That keeps a second
// daemon from starting, and shows a pid file left behind by a crash for what it is.

package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The octets of the lock file that are locked. The daemon that runs has the first. One
// that starts takes both for a moment, and one that takes over from it the second until
// the first is free: nobody else can come between them.
const (
	lockRuns = iota
	lockHeir
	lockSize
)

// PidFile is the right to write a pid file, as long as this process lives.
type PidFile struct {
	LeftBehind bool // a pid file is there: its daemon did not end as it should

	place *Place
	lock  *os.File // nil once given up
	ours  bool     // the pid file that is there is
}

// lockSuffix follows the pid file's name in that of its lock.
const lockSuffix = ".lock"

// maxTries bounds how often somebody may get between us and a file.
const maxTries = 10

// LockPidFile takes the lock beside path; it is an error if another daemon has it. The
// pid file stays as it is until Write: should we not start after all, it may be a
// daemon's that knows of no lock.
func LockPidFile(path string) (*PidFile, error) {
	return lockPidFile(path, func(f *os.File) error {
		if err := setLock(f, syscall.F_WRLCK, lockRuns, lockSize); err != nil {
			return err
		}
		return setLock(f, syscall.F_UNLCK, lockHeir, 1)
	})
}

// InheritPidFile takes the right to have path when the daemon that has it gives it up:
// Take does then.
func InheritPidFile(path string) (*PidFile, error) {
	p, err := lockPidFile(path, func(f *os.File) error { return setLock(f, syscall.F_WRLCK, lockHeir, 1) })
	if err == nil {
		p.LeftBehind = false
	}
	return p, err
}

func lockPidFile(path string, take func(*os.File) error) (_ *PidFile, err error) {
	place, err := OpenPlace(path)
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	defer func() {
		if err != nil {
			place.Folder.Close()
			err = fmt.Errorf("pid file %s: %w", path, err)
		}
	}()
	lock := place.beside(lockSuffix)
	for range maxTries {
		f, err := openLock(lock)
		if err != nil {
			return nil, err
		}
		if err := take(f); err != nil {
			f.Close()
			return nil, err
		}
		if lock.is(f) {
			_, err := place.stat()
			return &PidFile{place: place, lock: f, LeftBehind: err == nil}, nil
		}
		f.Close()
	}
	return nil, errors.New("another daemon is starting")
}

// openLock opens the lock file, in place of what anybody else may have put there:
// what is not ours alone, somebody else could hold.
func openLock(p *Place) (*os.File, error) {
	for range maxTries {
		if st, err := p.stat(); err == nil && whyShared(st) != "" {
			if err := p.remove(); err != nil {
				return nil, fmt.Errorf("%s is no lock file of ours, it %s: remove it: %w", p.path, whyShared(st), err)
			}
		}
		f, err := p.open(os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o600)
		switch {
		case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EMLINK), errors.Is(err, unix.ENXIO): // put there just now
			continue
		case err != nil:
			return nil, err
		}
		if st, err := statOf(f); err == nil && whyShared(st) == "" {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s: somebody else puts files in its place", p.path)
}

// Take makes an inherited pid file ours; it is an error if another daemon has it still.
func (p *PidFile) Take() error {
	err := setLock(p.lock, syscall.F_WRLCK, lockRuns, 1)
	if err == nil {
		err = setLock(p.lock, syscall.F_UNLCK, lockHeir, 1)
	}
	if err != nil {
		return fmt.Errorf("pid file %s: %w", p.place.path, err)
	}
	return p.Write()
}

// Yield leaves the pid file to the daemon that inherits it.
func (p *PidFile) Yield() {
	p.ours = false
	p.Remove()
}

// setLock sets or frees a lock on some octets of f that ends with this process. Of its
// holder, others than flock(2)'s, the kernel tells the number.
func setLock(f *os.File, what int16, start, n int64) error {
	l := syscall.Flock_t{Type: what, Whence: io.SeekStart, Start: start, Len: n}
	err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &l)
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if holder, err := holder(f); err == nil && holder > 0 {
		return fmt.Errorf("another daemon is running, process %d", holder)
	}
	return errors.New("another daemon is running")
}

// holder returns the daemon that runs, 0 if none does, by its lock on f, and without
// locking it for even a moment.
func holder(f *os.File) (pid int, err error) {
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: lockRuns, Len: 1}
	switch err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); {
	case err != nil:
		return 0, err
	case l.Type == syscall.F_UNLCK:
		return 0, nil
	case l.Pid <= 0:
		return 0, errors.New("its daemon runs in another container")
	}
	return int(l.Pid), nil
}

// Write makes the pid file, in place of one left behind. It is made new: what
// stands there may be a trap.
func (p *PidFile) Write() error {
	for range maxTries {
		if err := p.place.remove(); err != nil {
			return fmt.Errorf("pid file: %w", err)
		}
		f, err := p.place.open(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o664)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("pid file: %w", err)
		}
		p.ours, p.LeftBehind = true, false
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("pid file %s: %w", p.place.path, err)
		}
		return nil
	}
	return fmt.Errorf("pid file %s: somebody else puts files in its place", p.place.path)
}

// Remove takes the pid file away and gives up the lock, whose file stays: one who
// is about to lock it must not find another in its place. It may be called twice.
func (p *PidFile) Remove() {
	if p == nil || p.lock == nil {
		return
	}
	if p.ours {
		p.place.remove()
	}
	p.lock.Close()
	p.place.Folder.Close()
	p.lock = nil
}

// FindDaemon returns the process whose number stands in the pid file at path. It is
// an error if that one does not hold the lock beside it: the number may be anybody's
// by now. Only root and the daemon's own user can tell.
func FindDaemon(path string) (*os.Process, error) {
	pid, err := readPid(path)
	if err != nil {
		return nil, err
	}
	lock, err := openOwnName(path + lockSuffix)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("only root and the daemon's own user can see whether process %d of %s is the daemon: %w", pid, path, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no running daemon's: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	// The process is taken hold of between two looks, so that it is the same one.
	if err := holds(lock, pid, path); err != nil {
		return nil, err
	}
	daemon, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	if err := holds(lock, pid, path); err != nil {
		daemon.Release()
		return nil, err
	}
	return daemon, nil
}

func holds(lock *os.File, pid int, path string) error {
	holder, err := holder(lock)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", lock.Name(), err)
	case holder == 0:
		return fmt.Errorf("%s was left behind by a daemon that has died", path)
	case holder != pid:
		return fmt.Errorf("%s names process %d, but the daemon is process %d", path, pid, holder)
	}
	return nil
}

func readPid(path string) (int, error) {
	f, err := openOwnName(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text := make([]byte, maxPid)
	n, err := io.ReadFull(f, text)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	pid, ok := parsePid(text[:n])
	if !ok {
		return 0, fmt.Errorf("%s holds no process number", path)
	}
	return pid, nil
}

// maxPid is more octets than a pid file has.
const maxPid = 32

// parsePid reads the text of a pid file, less than maxPid octets of it: what is longer
// may have been cut in the number. It takes no process 0 or 1.
func parsePid(text []byte) (pid int, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || n <= 1 || len(text) >= maxPid {
		return 0, false
	}
	return int(n), true
}
