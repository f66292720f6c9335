package host

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestLend: root without CAP_CHOWN makes a folder in which another user can work.
func TestLend(t *testing.T) {
	if os.Geteuid() != 0 {
		imsgtest.Lacks(t, "no root")
	}
	runtime.LockOSThread() // for good: the thread ends with the test, and its lack with it
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	sets[0].Effective &^= 1 << unix.CAP_CHOWN
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	path, who := filepath.Join(t.TempDir(), "lock"), User{UID: 4711, GID: 4712}
	if err := (Folder{Path: path, Mode: 0o750, Lent: true}).Make(who); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != 0 || st.Gid != 4712 || info.Mode().Perm() != 0o770 || !who.May(info, 0o7) {
		t.Errorf("%d:%d, mode %v", st.Uid, st.Gid, info.Mode())
	}
	file := filepath.Join(path, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err = os.Stat(file); err != nil || info.Sys().(*syscall.Stat_t).Gid != uint32(os.Getegid()) {
		t.Errorf("the thread is in another group still: %v", err)
	}
}
