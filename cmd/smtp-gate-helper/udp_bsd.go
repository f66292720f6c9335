//go:build freebsd || openbsd

package main

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// With an answer the same type of message is IP_SENDSRCADDR.
const destinationOption = unix.IP_RECVDSTADDR

func destination4(data []byte) netip.Addr {
	if len(data) < 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(data))
}
