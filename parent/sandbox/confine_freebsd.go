package sandbox

import "golang.org/x/sys/unix"

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = int64(n), int64(n) }

func (r *Rights) fence() error { return nil }

// seal does nothing here. In capability mode (cap_enter(2)) no address can be connected
// to or answered, which the rooms but one do; and that one, lockd, would be told no load
// average.
func (r *Rights) seal() error { return nil }

// confining are the layers that hold a process with words.
var confining []string
