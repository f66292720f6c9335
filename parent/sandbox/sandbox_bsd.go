//go:build freebsd || openbsd

// What the BSDs have for a sandbox. Their credentials, and their priority, belong
// to the process, not to a thread.

package sandbox

import "golang.org/x/sys/unix"

// SetName does nothing: ps and top say what was executed.
func SetName(string) {}

func setGroups(all []int) error { return unix.Setgroups(all) }
func setGID(n int) error        { return unix.Setresgid(n, n, n) }
func setUID(n int) error        { return unix.Setresuid(n, n, n) }

func dropBoundingSet() error        { return nil }
func dropCapabilities(uint32) error { return nil }

func setPriority(n int) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, n) }

// Kernels is empty: no kernel is played here.
var Kernels []string

// Capabilities returns none, and Keep keeps everything: here root's power is one piece.
func Capabilities() (uint64, error) { return 0, nil }

// Keep does nothing, see Capabilities.
func Keep(uint64, bool) (bounded bool, err error) { return false, nil }

// SetCloseOnExec keeps what our own starter left open from going on to who we
// start.
func SetCloseOnExec() {
	for fd := 3; fd < 256; fd++ {
		unix.CloseOnExec(fd)
	}
}

// Relaxed calls start.
func Relaxed(start func() error) error { return start() }
