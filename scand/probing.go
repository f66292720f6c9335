//go:build !openbsd

package scand

import "golang.org/x/sys/unix"

// probing are the options for how soon a silent host is asked, and how often.
var probing = []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL}
