// The sockets: a TCP and a UDP one for each address, each of one family.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

type sockets struct {
	tcp []net.Listener
	udp []*net.UDPConn
}

// listen opens them on addrs, or on all addresses; then a family the system does
// not have is left out.
func listen(addrs []netip.Addr, port uint16) (*sockets, error) {
	s := new(sockets)
	all := len(addrs) == 0
	if all {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, a := range addrs {
		err := s.open(netip.AddrPortFrom(a, port))
		if all && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
			continue
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	if len(s.tcp) == 0 {
		return nil, errors.New("there is no address to listen on")
	}
	return s, nil
}

func (s *sockets) open(a netip.AddrPort) error {
	family := "4"
	if a.Addr().Is6() {
		family = "6"
	}
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	l, err := c.Listen(context.Background(), "tcp"+family, a.String())
	if err != nil {
		return err
	}
	s.tcp = append(s.tcp, l)
	u, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(a))
	if err != nil {
		return err
	}
	s.udp = append(s.udp, u)
	if err := tellDestination(u, a.Addr()); err != nil {
		return fmt.Errorf("listen on %v: %w", a, err)
	}
	return nil
}

func (s *sockets) close() {
	for _, l := range s.tcp {
		l.Close()
	}
	for _, u := range s.udp {
		u.Close()
	}
}

// serve answers for h in the background. What ends one of the sockets goes to failed.
func (s *sockets) serve(h *helper, failed chan<- error) {
	end := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	places := make(chan struct{}, maxConnections)
	for _, l := range s.tcp {
		go func() { end(h.serveTCP(l, places)) }()
	}
	for _, u := range s.udp {
		go func() { end(h.serveUDP(u)) }()
	}
}
