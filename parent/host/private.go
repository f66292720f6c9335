// Files that are ours alone: what somebody else can open, it could lock.

package host

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenPrivate opens a file to read and write, and makes it if it is missing. One that
// others can open, or that has another name, is an error that says why.
func OpenPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		if err = f.Chmod(0o600); err == nil {
			info, err = f.Stat()
		}
	}
	if err == nil && whyShared(info) != "" {
		err = fmt.Errorf("%s is not ours alone, it %s: give it to uid %d alone, or remove it", path, whyShared(info), os.Geteuid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// whyShared says why a file may be in somebody else's hands, too; empty if not.
func whyShared(info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "is no file"
	case int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to uid %d", st.Uid)
	case st.Nlink > 1:
		return "has another name, too"
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Sprintf("has mode %04o", info.Mode().Perm())
	}
	return ""
}
