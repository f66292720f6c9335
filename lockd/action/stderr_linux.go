// What a script has to say when it fails. This file owns that hearing it costs neither
// the script nor us anything: nobody waits for the other, and what a script leaves
// running is not ended by SIGPIPE when we are gone.

package action

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openStderr returns a script's stderr: both ends of a pipe in one descriptor, so that
// it always has a reader, and one that nobody waits at. What does not fit into it, 64
// KiB or less, the script cannot write. It needs /proc; without a pipe it is nil.
func openStderr() *os.File {
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC) != nil {
		return nil
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", ends[0]), unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "stderr of a script")
}

// readStderr reads the first octets of what is in it now.
func readStderr(f *os.File, b []byte) int {
	n, err := unix.Read(int(f.Fd()), b)
	if err != nil {
		return 0
	}
	return n
}
