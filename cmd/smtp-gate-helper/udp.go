// Questions by datagram. An answer must leave from the very address that was
// asked, which a socket for all addresses does not do by itself: what the kernel
// said about the question is given back to it with the answer.

package main

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

func (h *helper) serveUDP(u *net.UDPConn) error {
	buf := make([]byte, wire.MaxDatagram)
	oob := make([]byte, 128)
	bound := !u.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()
	failing := false // and that was said
	for {
		n, oobn, flags, from, err := u.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			failing = h.pause(err, failing)
			continue
		}
		failing = false
		here := destination(oob[:oobn])
		if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || !here.IsValid() {
			continue
		}
		if reply := h.reply(buf[:n], netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()), here); reply != nil {
			out := oob[:oobn]
			if bound { // FreeBSD refuses to hear again what it knows
				out = nil
			}
			// What cannot be sent is as good as lost, and asked again.
			u.WriteMsgUDPAddrPort(reply, out, from)
		}
	}
}

// reply answers the datagram d that came from a proxy to here, or with nil not.
func (h *helper) reply(d []byte, from netip.AddrPort, here netip.Addr) []byte {
	if !h.admits(from.Addr()) {
		return nil
	}
	q, err := wire.ParseQuery(d, h.secret)
	if err != nil || q.Client.Addr() != here || q.Proxy.Addr() != from.Addr() || !h.limits.take(from.Addr()) {
		h.log.Debug("ignored", "proxy", from.Addr())
		return nil
	}
	a, ok := h.answer(q.Client, q.Proxy)
	if !ok {
		return q.AppendNotFound(nil)
	}
	return q.AppendFound(nil, a)
}

// tellDestination has the kernel say with each datagram what address it came to.
func tellDestination(u *net.UDPConn, family netip.Addr) error {
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		if family.Is6() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, destinationOption, 1)
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// destination reads what address a datagram came to. It changes oob so that it
// can go out with the answer: the route shall decide on the interface.
func destination(oob []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return netip.Addr{}
	}
	h, data := messages[0].Header, messages[0].Data
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == destinationOption:
		return destination4(data)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 20: // RFC 3542 section 6
		a := netip.AddrFrom16([16]byte(data))
		if !a.IsLinkLocalUnicast() {
			clear(data[16:20])
		}
		return a
	}
	return netip.Addr{}
}
