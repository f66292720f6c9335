//go:build !linux

// What the BSDs have for a room's sandbox. Their credentials belong to the
// process, not to a thread.

package parent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func setName(string) {}

func setGroups(all []int) error { return unix.Setgroups(all) }
func setGID(n int) error        { return unix.Setresgid(n, n, n) }
func setUID(n int) error        { return unix.Setresuid(n, n, n) }

func giveUpFuture() error      { return nil }
func giveUpPresent(bool) error { return nil }

// Layers names what holds a room of this build.
func Layers() []string { return []string{"users", "chroot"} }

// hideInherited keeps what our own starter left open from going on to the rooms.
func hideInherited() {
	for fd := 3; fd < 256; fd++ {
		unix.CloseOnExec(fd)
	}
}

func dup2(from, to int) error { return unix.Dup2(from, to) }

// newLedger makes the file in which counters outlive their keeper.
func newLedger() (*os.File, error) {
	f, err := os.CreateTemp("", "smtp-gated.ledger.*")
	if err != nil {
		return nil, fmt.Errorf("make the ledger: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink the ledger: %w", err)
	}
	return f, nil
}

func setPriority(n int) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, n) }
