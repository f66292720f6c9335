// What else a process is exposed to: the kernel's choice when memory runs out, and
// other processes of its user.

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const oomScore = "/proc/self/oom_score_adj"

// endProtection gives up what protects our starter from being ended when memory runs
// out (proc(5), oom_score_adj): it must outlive us, for it replaces us. It needs /proc.
func endProtection() error { return unprotect(oomScore) }

func unprotect(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !strings.HasPrefix(string(text), "-") {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte("0"), 0)
	}
	if err != nil {
		return fmt.Errorf("be ended when memory runs out: %w", err)
	}
	return nil
}

// setDumpable says whether this process may leave a core dump and be looked into by
// others of its user (prctl(2), PR_SET_DUMPABLE). A change of user and an exec set it
// anew. Without it our own files in /proc are root's.
func setDumpable(yes bool) error {
	n := uintptr(0)
	if yes {
		n = 1
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, n, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps: %w", err)
	}
	return nil
}
