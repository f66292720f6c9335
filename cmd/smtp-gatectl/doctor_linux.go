// What only Linux lets us look at.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// makeNothing makes a file that has no name, and is no more: as a real one it finds out of
// a disk that can only be read, and of quotas.
func makeNothing(folder string) error {
	fd, err := unix.Open(folder, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return nil // a file system that knows none
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// confinement is what the kernel says of how a process is locked in.
type confinement struct {
	root         string
	capabilities string // those in effect and those it could gain, empty: none
	noNew        bool   // no_new_privs
	filtered     bool   // seccomp
}

// confinementOf looks at a process; it takes root.
func confinementOf(pid int) (c confinement, err error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	if c.root, err = os.Readlink(filepath.Join(dir, "root")); err != nil {
		return c, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapEff", "CapPrm":
			if strings.Trim(value, "0") != "" {
				c.capabilities = value
			}
		case "NoNewPrivs":
			c.noNew = value == "1"
		case "Seccomp":
			c.filtered = value == "2"
		}
	}
	return c, nil
}

// prlimit tells how many descriptors a process may have.
func prlimit(pid int, have *unix.Rlimit) error {
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, have)
}

// spaceAt tells what is left where a folder lies.
func spaceAt(path string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return space{}, err
	}
	return space{free: s.Bavail * uint64(s.Bsize), size: s.Blocks * uint64(s.Bsize), names: s.Ffree, found: s.Files}, nil
}

// namelessFile is a mail that can be read alone, in memory: none on a disk that a scanner
// of its own might meet.
func namelessFile(mail io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate("mail", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "mail")
	defer f.Close()
	if _, err := io.Copy(f, mail); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// namelessRoom is how many octets such a file may have (proc_meminfo(5)).
func namelessRoom() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nMemAvailable:")
	var free uint64
	if _, err := fmt.Sscanf(rest, "%d kB", &free); err != nil {
		return 0, fmt.Errorf("/proc/meminfo: %w", err)
	}
	return free << 10, nil
}
