// Files that are ours alone: what somebody else can open, it could lock.

package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenPrivate opens a file to read and write, and makes it if it is missing. One that
// others can open, or that has another name, is an error that says why.
func OpenPrivate(path string) (*os.File, error) {
	p, err := OpenPlace(path)
	if err != nil {
		return nil, err
	}
	defer p.Folder.Close()
	f, err := p.open(os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := statOf(f)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o077 != 0 {
		if err = f.Chmod(0o600); err == nil {
			st, err = statOf(f)
		}
	}
	if err == nil && whyShared(st) != "" {
		err = fmt.Errorf("%s is not ours alone, it %s: give it to uid %d alone, or remove it", path, whyShared(st), os.Geteuid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// whyShared says why a file may be in somebody else's hands, too; empty if not.
func whyShared(st *unix.Stat_t) string {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "is no file"
	case int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to uid %d", st.Uid)
	case st.Nlink > 1:
		return "has another name, too"
	case st.Mode&0o077 != 0:
		return fmt.Sprintf("has mode %04o", st.Mode&0o7777)
	}
	return ""
}
