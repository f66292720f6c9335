// A name that we write to, in a folder whose way was walked once: root is led by nobody
// but who may put something into that folder.

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Place is a name in an open folder.
type Place struct {
	Folder *os.File // to work in, on Linux not to list
	Name   string

	path string
}

// OpenPlace walks to the folder of an absolute path. It is an error if others than root
// and we may have led us there by a link.
func OpenPlace(path string) (*Place, error) {
	path = filepath.Clean(path)
	fd, err := openFolderWary(filepath.Dir(path), false)
	if err != nil {
		return nil, err
	}
	return &Place{os.NewFile(uintptr(fd), filepath.Dir(path)), filepath.Base(path), path}, nil
}

// MakeWay makes the folders to an absolute path that are missing, as OpenPlace walks.
func MakeWay(path string) error {
	fd, err := openFolderWary(filepath.Dir(filepath.Clean(path)), true)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// beside is another name in the same folder.
func (p *Place) beside(suffix string) *Place {
	return &Place{p.Folder, p.Name + suffix, p.path + suffix}
}

func (p *Place) open(flags int, perm uint32) (*os.File, error) {
	fd, err := unix.Openat(int(p.Folder.Fd()), p.Name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: err}
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// stat tells what has the name; a link is not followed.
func (p *Place) stat() (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	return st, unix.Fstatat(int(p.Folder.Fd()), p.Name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// Make makes a file that is not there yet, whatever kind of thing may be.
func (p *Place) Make(flags int, mode fs.FileMode) (*os.File, error) {
	return p.open(flags|os.O_CREATE|os.O_EXCL, uint32(mode.Perm()))
}

// Unmake takes the name away, if it is that file's still.
func (p *Place) Unmake(f *os.File) error {
	if !p.is(f) {
		return fmt.Errorf("%s is another file by now", p.path)
	}
	return p.remove()
}

// is tells whether the name leads to f.
func (p *Place) is(f *os.File) bool {
	there, err := p.stat()
	if err != nil {
		return false
	}
	st, err := statOf(f)
	return err == nil && st.Dev == there.Dev && st.Ino == there.Ino
}

// remove takes the name away, if it is there.
func (p *Place) remove() error {
	if err := unix.Unlinkat(int(p.Folder.Fd()), p.Name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove", Path: p.path, Err: err}
	}
	return nil
}

func statOf(f *os.File) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	return st, unix.Fstat(int(f.Fd()), st)
}
