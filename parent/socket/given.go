// The sockets that systemd opens for us and gives us at the start.

package socket

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// given takes over the sockets of systemd's socket activation. go-systemd has a package for it, which
// brings crypto/tls into every room.
func given() ([]*Listener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if pid != os.Getpid() {
		return nil, nil
	}
	var all []*Listener
	for i := range n {
		fd := 3 + i
		name := "LISTEN_FD_" + strconv.Itoa(fd)
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		accepting, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || accepting == 0 {
			return nil, fmt.Errorf("socket %s given at start does not listen", name)
		}
		bound, err := boundTo(fd)
		if err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		all = append(all, &Listener{Addr: bound, Name: name, sockets: []*os.File{os.NewFile(uintptr(fd), "listener "+name)}, open: 1, given: true})
	}
	return all, nil
}
