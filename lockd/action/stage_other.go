//go:build !openbsd

package action

import "golang.org/x/sys/unix"

const limitAddresses = unix.RLIMIT_AS
