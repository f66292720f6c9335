// A file that gets its name when it is complete, so that nobody ever reads half of one.

package host

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Fresh is one that is being written.
type Fresh struct {
	*os.File
	dir  *os.File // the folder it lies in, wherever its name leads by now
	name string   // it will have
}

const unfinished = ".tmp"

// NewFresh makes a file that will take the place of the one at path: an old one may be
// half written, or a trap. A link that others may have put on the way to its folder is
// an error.
func NewFresh(path string, mode fs.FileMode) (*Fresh, error) {
	fd, err := openFolderWary(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	dir, name := os.NewFile(uintptr(fd), filepath.Dir(path)), filepath.Base(path)
	unix.Unlinkat(fd, name+unfinished, 0)
	fd, err = unix.Openat(fd, name+unfinished, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(mode.Perm()))
	if err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "make", Path: path + unfinished, Err: err}
	}
	return &Fresh{os.NewFile(uintptr(fd), path+unfinished), dir, name}, nil
}

// Finish closes the file and gives it its name, or removes it if writing it met an
// error, which it returns.
func (f *Fresh) Finish(err error) error {
	defer f.dir.Close()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	dir := int(f.dir.Fd())
	if err != nil {
		unix.Unlinkat(dir, f.name+unfinished, 0)
		return err
	}
	if err := unix.Renameat(dir, f.name+unfinished, dir, f.name); err != nil {
		return &os.LinkError{Op: "rename", Old: f.Name(), New: f.name, Err: err}
	}
	return nil
}
