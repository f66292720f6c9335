//go:build !linux

package upstream

import (
	"errors"
	"net/netip"
)

func originalDst(int, bool) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("mode netfilter needs Linux")
}
