package host

import (
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// lend has a group work in a folder of ours that cannot become another user's: CAP_CHOWN is
// given up when all is open, but an owner may give a file any group of its own (chown(2)),
// and our thread is in that one for so long.
func lend(f *os.File, mode fs.FileMode, gid int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := unix.SetfsgidRetGid(gid)
	if err != nil {
		return err
	}
	defer unix.Setfsgid(old)
	if err := f.Chown(-1, gid); err != nil {
		return err
	}
	return f.Chmod(mode | mode&0o700>>3)
}
