//go:build !linux

package main

import "syscall"

// bindLate is of Linux.
func bindLate(string, string, syscall.RawConn) error { return nil }
