//go:build freebsd || openbsd

package parent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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
