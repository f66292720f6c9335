// Opening a file by a name that others may have a hand in. This file owns the rule: what
// lies where others than root and we may put something is opened only if it is a file,
// ours, and has no other name; what only root or we can have put there may be anything.

package host

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one name may lead through (path_resolution(7)).
const maxLinks = 40

// walk is on its way to a file.
type walk struct {
	dir    int  // the folder it has come to
	make   bool // missing folders
	firm   bool // nobody else can have led us here
	open   bool // others may put something into it
	sticky bool // but not in the place of what is not theirs
}

// openWary is open(2) of an absolute path by that rule.
func openWary(path string, flags int, perm uint32) (fd int, err error) {
	w, name, trusted, err := reach(path, false)
	switch {
	case err != nil:
		return -1, err
	case name == "":
		err = unix.EISDIR
	case trusted:
		fd, err = unix.Openat(w.dir, name, flags|unix.O_CLOEXEC, perm)
	default:
		fd, err = w.openOurs(name, flags, perm)
	}
	unix.Close(w.dir)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// openFolderWary opens the folder of an absolute path by that rule: no link that others
// may have put there leads to it. make has it made if it is missing, and those on the
// way.
func openFolderWary(path string, make bool) (dir int, err error) {
	w, name, trusted, err := reach(path, make)
	if err == nil && name != "" {
		if err = w.enter(name, trusted); err != nil {
			unix.Close(w.dir)
			err = &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
	if err != nil {
		return -1, err
	}
	return w.dir, nil
}

// reach walks to the folder of what a path names, and returns that one's name there,
// which is no symbolic link but one of proc(5); empty is the root itself. trusted: only
// root or we can have put it there, or could if it is missing. make has folders made that are
// missing on the way.
func reach(path string, make bool) (w *walk, name string, trusted bool, err error) {
	w = &walk{dir: -1, make: make}
	defer func() {
		if err != nil {
			unix.Close(w.dir)
			err = &os.PathError{Op: "open", Path: path, Err: err}
		}
	}()
	if err := w.enter("/", true); err != nil {
		return w, "", false, err
	}
	names := steps(path)
	for links := 0; len(names) > 0; {
		name, rest := names[0], names[1:]
		link, trusted, err := w.look(name)
		switch {
		case err != nil:
			return w, "", false, err
		case link && !trusted:
			return w, "", false, fmt.Errorf("the link %s lies where others may put one", name)
		case link && !isProc(w.dir): // those of proc(5) lead elsewhere than they say
			if links++; links > maxLinks {
				return w, "", false, unix.ELOOP
			}
			target, err := w.follow(name)
			if err != nil {
				return w, "", false, err
			}
			names = append(target, rest...)
		case len(rest) == 0:
			return w, name, trusted, nil
		default:
			if err := w.enter(name, trusted); err != nil {
				return w, "", false, err
			}
			names = rest
		}
	}
	return w, "", true, nil
}

// makeWary is openWary, and makes a file that is missing.
func makeWary(path string, flags int, perm uint32) (int, error) {
	return openWary(path, flags|unix.O_CREAT, perm)
}

func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// look tells whether a name in the folder is a symbolic link, and whether only root or
// we can have put there what it is; nothing is trusted where others can put something.
func (w *walk) look(name string) (link, trusted bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(w.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, w.firm && !w.open, nil
	}
	if err != nil {
		return false, false, err
	}
	kind := st.Mode & unix.S_IFMT
	kept := w.sticky && ours(&st) && (kind == unix.S_IFDIR || st.Nlink == 1)
	return kind == unix.S_IFLNK, w.firm && (!w.open || kept), nil
}

// enter goes on to a folder; where it is not trusted, not through a link.
func (w *walk) enter(name string, trusted bool) error {
	flags := openFolder
	if !trusted {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat(w.dir, name, flags, 0)
	if w.make && errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(w.dir, name, 0o755); err == nil || errors.Is(err, unix.EEXIST) {
			fd, err = unix.Openat(w.dir, name, flags|unix.O_NOFOLLOW, 0)
		}
	}
	if err != nil {
		return err
	}
	unix.Close(w.dir)
	w.dir = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	w.firm = trusted && ours(&st)
	w.open = st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0
	w.sticky = st.Mode&unix.S_ISVTX != 0
	return nil
}

// follow returns where a link leads, and goes back to the root if it begins there.
func (w *walk) follow(name string) ([]string, error) {
	to := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.dir, name, to)
	if err != nil {
		return nil, err
	}
	if n > 0 && to[0] == '/' {
		err = w.enter("/", true)
	}
	return steps(string(to[:n])), err
}

// openOurs opens what others may have put there, if it is ours nevertheless.
func (w *walk) openOurs(name string, flags int, perm uint32) (int, error) {
	fd, err := unix.Openat(w.dir, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, perm)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || !ours(&st) || st.Nlink != 1) {
		err = errors.New("lies where others may put something, and is no file of ours with one name")
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ours tells whether something belongs to root or to us.
func ours(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }
