// The processes below ours that we have not started: what those have left behind that we
// did. This file owns what we know of one.

package host

import "golang.org/x/sys/unix"

// Child is a process whose parent we are.
type Child struct {
	PID   int
	Ended bool // or its first thread has; and nobody has asked how
}

// Reap lets go of one that has ended. It must not be used on a process whose end
// somebody waits for. It is false of one that looks as if it had, because its first thread
// has, and goes on.
func (c Child) Reap() bool {
	pid, err := unix.Wait4(c.PID, nil, unix.WNOHANG, nil)
	return err == nil && pid == c.PID
}
