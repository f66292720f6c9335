package parent

import "golang.org/x/sys/unix"

func setRlimit(l *unix.Rlimit, n uint64) { l.Cur, l.Max = int64(n), int64(n) }
