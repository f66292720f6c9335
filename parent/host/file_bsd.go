//go:build freebsd || openbsd

package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func dup2(from, to int) error { return unix.Dup2(from, to) }

// NamelessFile makes a file that is in no folder and lasts as long as somebody
// has it open.
func NamelessFile(purpose string) (*os.File, error) {
	f, err := os.CreateTemp("", "smtp-gated."+purpose+".*")
	if err != nil {
		return nil, fmt.Errorf("make the %s: %w", purpose, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink the %s: %w", purpose, err)
	}
	return f, nil
}

// reopen opens a file once more by its name, to append, if it has that still. What has
// none cannot be: a file of /dev/fd is a duplicate.
func reopen(f *os.File, path string) (*os.File, error) {
	if path == "" {
		return nil, errors.ErrUnsupported
	}
	again, err := openLog(path, openWary)
	if err != nil {
		return nil, err
	}
	there, err := again.Stat()
	if mine, merr := f.Stat(); err == nil && merr == nil && os.SameFile(mine, there) {
		return again, nil
	}
	again.Close()
	return nil, fmt.Errorf("%s is another file now", path)
}

// openFolder opens a folder to walk through it.
const openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

func isProc(int) bool { return false }
