package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// NamelessFile makes a file that is in no folder and lasts as long as somebody
// has it open (memfd_create(2)).
func NamelessFile(purpose string) (*os.File, error) {
	fd, err := unix.MemfdCreate(purpose, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the %s: %w", purpose, err)
	}
	return os.NewFile(uintptr(fd), purpose), nil
}

// reopen opens what an open file leads to once more, to append, whatever has its name
// now (proc(5), /proc/PID/fd). A socket cannot be opened. A file cannot be cut short by
// what is returned.
func reopen(f *os.File, _ string) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again *os.File
	cerr := raw.Control(func(fd uintptr) { again, err = openLog(fmt.Sprintf("/proc/self/fd/%d", fd), openUncuttable) })
	return again, errors.Join(cerr, err)
}

// openFolder opens a folder to walk through it, which takes no right to list it.
const openFolder = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// isProc tells whether a folder is one of proc(5).
func isProc(dir int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(dir, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}
