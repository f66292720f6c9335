// A file that gets its name when it is complete, so that nobody ever reads half of one.

package host

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Fresh is one that is being written.
type Fresh struct {
	*os.File
	place *Place // wherever its folder's name leads by now
}

const unfinished = ".tmp"

// NewFresh makes a file that will take the place of the one at path: an old one may be
// half written, or a trap. A link that others may have put on the way to its folder is
// an error.
func NewFresh(path string, mode fs.FileMode) (*Fresh, error) {
	p, err := OpenPlace(path)
	if err != nil {
		return nil, err
	}
	tmp := p.beside(unfinished)
	tmp.remove()
	f, err := tmp.open(os.O_WRONLY|os.O_CREATE|os.O_EXCL, uint32(mode.Perm()))
	if err != nil {
		p.Folder.Close()
		return nil, err
	}
	return &Fresh{f, p}, nil
}

// Name is a file that has got its name, to be taken away by who gave it that.
type Name struct {
	path string
	is   unix.Stat_t
}

// FinishNamed is Finish, and returns the name.
func (f *Fresh) FinishNamed(err error) (*Name, error) {
	st, serr := statOf(f.File)
	if err == nil {
		err = serr
	}
	if err = f.Finish(err); err != nil {
		return nil, err
	}
	return &Name{f.place.path, *st}, nil
}

// Remove takes the name away, if it is that file's still.
func (n *Name) Remove() {
	p, err := OpenPlace(n.path)
	if err != nil {
		return
	}
	defer p.Folder.Close()
	if st, err := p.stat(); err == nil && st.Dev == n.is.Dev && st.Ino == n.is.Ino {
		p.remove()
	}
}

// Finish closes the file and gives it its name, or removes it if writing it met an
// error, which it returns.
func (f *Fresh) Finish(err error) error {
	defer f.place.Folder.Close()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	tmp := f.place.beside(unfinished)
	if err != nil {
		tmp.remove()
		return err
	}
	dir := int(f.place.Folder.Fd())
	if err := unix.Renameat(dir, tmp.Name, dir, f.place.Name); err != nil {
		return &os.LinkError{Op: "rename", Old: f.Name(), New: f.place.Name, Err: err}
	}
	return nil
}
