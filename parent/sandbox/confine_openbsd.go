package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = n, n }

// Confine leaves what r promises, for good.
func Confine(r Rights) error {
	if err := unix.PledgePromises(r.Promises); err != nil {
		return fmt.Errorf("pledge: %w", err)
	}
	return nil
}
