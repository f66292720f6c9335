//go:build freebsd || openbsd

package socket

import "golang.org/x/sys/unix"

// disconnect is not possible for a stream here.
func disconnect(int) error { return unix.EOPNOTSUPP }
