// The processes below ours that we have not started: what those have left behind that we
// did. This file owns what we know of one.

package host

import "golang.org/x/sys/unix"

// Child is a process whose parent we are.
type Child struct {
	PID   int
	Ended bool // and nobody has asked how
}

// Reap lets go of one that has ended. It must not be used on a process whose end
// somebody waits for.
func (c Child) Reap() { unix.Wait4(c.PID, nil, unix.WNOHANG, nil) }
