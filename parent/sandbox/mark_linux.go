// What tells a room's descendants from all other processes, whoever their parent is and
// whatever they do. This file owns that mark.

package sandbox

import (
	"fmt"
	"os"
	"regexp"

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

var marked = regexp.MustCompile(`(?m)^Max file locks +0 +0 `)

// Marked tells whether a process is a room that starts no programs of others, or one of
// its descendants.
func Marked(pid int) bool {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	return err == nil && marked.Match(limits)
}
