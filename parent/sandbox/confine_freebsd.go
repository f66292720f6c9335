package sandbox

import "golang.org/x/sys/unix"

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = int64(n), int64(n) }

func (r *Rights) fence() error { return nil }

// seal does nothing here: capability mode allows no answer to an address of one's
// choice.
func (r *Rights) seal() error { return nil }
