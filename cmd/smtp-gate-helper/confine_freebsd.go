package main

import "syscall"

func setGID(n int) error { return syscall.Setregid(n, n) }
func setUID(n int) error { return syscall.Setreuid(n, n) }

// confine does nothing more: capability mode allows no answer to an address of
// one's choice. The device is limited to lookups already.
func confine() error { return nil }
