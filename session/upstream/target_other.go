//go:build !linux

package upstream

import (
	"errors"
	"net"
	"net/netip"
)

func originalDst(*net.TCPConn, bool) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("mode netfilter needs Linux")
}
