// What tells a room's descendants from all other processes, whoever their parent is and
// whatever they do. This file owns that mark.

package sandbox

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mark marks this process and all that it may ever start: by a limit of no file locks,
// which the kernel has not looked at since Linux 2.4 (getrlimit(2), RLIMIT_LOCKS), but
// passes on, and lets nobody without privilege raise.
func mark() error {
	if err := setLimit(unix.RLIMIT_LOCKS, 0); err != nil {
		return fmt.Errorf("limit of no locks: %w", err)
	}
	return nil
}

// Marked tells whether a process is a room that starts no programs of others, or one of
// its descendants.
func Marked(pid int) bool {
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	_, line, found := strings.Cut(string(limits), "\nMax file locks ")
	of := strings.Fields(line) // the limit, and how far it could be raised
	return found && len(of) > 1 && of[1] == "0"
}
