// The pid file. It tells others which process to signal, and keeps a second
// daemon from starting: the running one holds a lock on it for its whole life,
// so that one left behind by a crash is known for what it is.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

type pidFile struct {
	path  string
	file  *os.File
	found bool // one was there: its daemon did not end as it should
}

// writePidFile makes the pid file; errRunning if a daemon holds it.
func writePidFile(path string) (*pidFile, error) {
	found := false
	for range 10 {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o664)
		if errors.Is(err, fs.ErrExist) {
			if err := removeLeftOver(path); err != nil {
				return nil, fmt.Errorf("pidfile %s: %w", path, err)
			}
			found = true
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pidfile: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("pidfile %s: %w", path, err)
		}
		return &pidFile{path: path, file: f, found: found}, nil
	}
	return nil, fmt.Errorf("pidfile %s: another daemon is starting", path)
}

// errRunning says that another daemon holds the pid file.
var errRunning = errors.New("another daemon is running")

func removeLeftOver(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return errRunning
	}
	// Ours now; but is it still the one with this name?
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(mine, there) {
		return nil
	}
	return os.Remove(path)
}

// remove takes the file away. It may be called twice.
func (p *pidFile) remove() {
	if p != nil && p.file != nil {
		os.Remove(p.path)
		p.file.Close()
		p.file = nil
	}
}

// ReadPid returns the number of the daemon that holds the pid file at path. A
// file left behind is an error: its number may be anybody's by now.
func ReadPid(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0, fmt.Errorf("%s was left behind by a daemon that has died", path)
	}
	text := make([]byte, 32)
	n, err := f.Read(text)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s holds no process number", path)
	}
	return pid, nil
}
