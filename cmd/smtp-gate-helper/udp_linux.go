package main

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const destinationOption = unix.IP_PKTINFO

// destination4 reads struct in_pktinfo: interface, local address, destination.
func destination4(data []byte) netip.Addr {
	if len(data) < 12 {
		return netip.Addr{}
	}
	clear(data[:4])
	return netip.AddrFrom4([4]byte(data[4:]))
}
