package main

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

func setGID(n int) error { return syscall.Setregid(n, n) }
func setUID(n int) error { return syscall.Setreuid(n, n) }

// confine leaves: the sockets, and lookups in pf.
func confine() error {
	if err := unix.PledgePromises("stdio inet pf"); err != nil {
		return fmt.Errorf("pledge: %w", err)
	}
	return nil
}
