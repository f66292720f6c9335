// Opening a file to read that others may have a hand in. This file owns that nobody is
// waited for: a pipe has perhaps no writer, and a device its own mind.

package host

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openRegular opens a regular file, with more flags of open(2); what is none is an
// error.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openOwnName is openRegular of a file that has no other name, nor is it a link.
func openOwnName(path string) (*os.File, error) {
	f, err := openRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Sys().(*syscall.Stat_t).Nlink > 1 {
		err = fmt.Errorf("%s has another name, too", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenOwnName opens a regular file to read it that is what its name alone says it is.
func OpenOwnName(path string) (*os.File, error) { return openOwnName(path) }

// OpenRegular opens a regular file to read it.
func OpenRegular(path string) (*os.File, error) { return openRegular(path, 0) }
