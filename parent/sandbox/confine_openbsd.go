package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = n, n }

func (r *Rights) fence() error { return nil }

// seal leaves what the words promise, for good.
func (r *Rights) seal() error {
	if err := unix.PledgePromises(r.promises()); err != nil {
		return fmt.Errorf("pledge: %w", err)
	}
	return nil
}
