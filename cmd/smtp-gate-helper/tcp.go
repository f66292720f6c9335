// Questions over TCP: one line, one answer.

package main

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
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
	failing := false // and that was said
	for {
		places <- struct{}{}
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			<-places
			failing = h.pause(err, failing)
			continue
		}
		failing = false
		go func() {
			h.serveConn(conn)
			<-places
		}()
	}
}

// pause waits until what a socket fails for may be over: descriptors or memory,
// as a rule. It says so unless said.
func (h *helper) pause(err error, said bool) (saidNow bool) {
	if !said {
		h.log.Error("no questions are taken for now", "error", err)
	}
	time.Sleep(100 * time.Millisecond)
	return true
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
