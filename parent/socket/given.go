// The sockets that systemd opens for us and gives us at the start.

package socket

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxGiven is more sockets than a service manager has reason to give.
const maxGiven = 1024

// given takes over the sockets of systemd's socket activation. go-systemd has a package for it, which
// brings crypto/tls into every room.
func given() ([]*Listener, error) {
	pid, fds, fdnames := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	names, err := givenNames(fds, fdnames)
	if err != nil {
		return nil, err
	}
	var all []*Listener
	for i, name := range names {
		fd := firstGiven + i
		accepting, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || accepting == 0 {
			return nil, fmt.Errorf("socket %s given at start does not listen", name)
		}
		bound, err := boundTo(fd)
		if err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		unix.CloseOnExec(fd)
		f, err := unwatched(fd, "listener "+name)
		if err != nil {
			return nil, fmt.Errorf("socket %s given at start: %w", name, err)
		}
		all = append(all, &Listener{Addr: bound, Name: name, sockets: []*os.File{f}, open: 1, given: true})
	}
	return all, nil
}

// firstGiven is the descriptor of the first one (SD_LISTEN_FDS_START).
const firstGiven = 3

// givenNames reads the environment of sd_listen_fds(3): the names of the sockets given,
// in the order of their descriptors.
func givenNames(fds, fdnames string) ([]string, error) {
	if fds == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(fds, 10, 32)
	if err != nil || n > maxGiven {
		return nil, fmt.Errorf("sockets given at start: LISTEN_FDS is %q, not a number up to %d", fds, maxGiven)
	}
	names := make([]string, n)
	for i := range names {
		names[i], fdnames, _ = strings.Cut(fdnames, ":")
		if names[i] == "" {
			names[i] = "LISTEN_FD_" + strconv.Itoa(firstGiven+i)
		}
	}
	return names, nil
}
