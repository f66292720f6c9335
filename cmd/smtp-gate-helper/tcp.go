// Questions over TCP: one line, one answer.

package main

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

const (
	// maxConnections bounds those served at once; more wait in the kernel.
	maxConnections = 64
	// patience is how long a question may take to come, and an answer to go.
	patience = 5 * time.Second
)

func (h *helper) serveTCP(l net.Listener, places chan struct{}) error {
	for {
		places <- struct{}{}
		conn, err := l.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			<-places
			time.Sleep(100 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		go func() {
			h.serveConn(conn)
			<-places
		}()
	}
}

func (h *helper) serveConn(conn net.Conn) {
	defer conn.Close()
	here, there := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	if !h.admits(there.Addr()) || !h.limits.take(there.Addr()) {
		h.log.Debug("refused", "proxy", there.Addr())
		return
	}
	conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReaderSize(conn, wire.MaxLine).ReadSlice('\n')
	if err != nil {
		return
	}
	client, proxy, err := wire.ParseQuestion(line)
	if err != nil {
		return
	}
	a, ok := h.answer(netip.AddrPortFrom(here.Addr(), client), netip.AddrPortFrom(there.Addr(), proxy))
	if ok {
		conn.Write(wire.AppendAnswer(nil, client, proxy, a))
	} else {
		conn.Write(wire.AppendNotFound(nil, client, proxy))
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
