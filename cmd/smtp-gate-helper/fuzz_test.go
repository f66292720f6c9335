package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

// overheard is a connection from there to here on which so much comes, and what was said.
type overheard struct {
	net.Conn
	here, there netip.AddrPort
	in          bytes.Reader
	said        bytes.Buffer
}

func (o *overheard) Read(b []byte) (int, error)    { return o.in.Read(b) }
func (o *overheard) Write(b []byte) (int, error)   { return o.said.Write(b) }
func (o *overheard) LocalAddr() net.Addr           { return net.TCPAddrFromAddrPort(o.here) }
func (o *overheard) RemoteAddr() net.Addr          { return net.TCPAddrFromAddrPort(o.there) }
func (o *overheard) SetDeadline(t time.Time) error { return nil }
func (o *overheard) Close() error                  { return nil }

var (
	here4  = netip.MustParseAddrPort("203.0.113.1:114")
	there4 = netip.MustParseAddrPort("203.0.113.2:50000")
)

// finds is a finder that finds one origin whatever is asked.
func finds(o origin) finder {
	return func(netip.AddrPort, netip.AddrPort) (origin, error) { return o, nil }
}

// FuzzQuestion: whatever a proxy sends over TCP, it is told one line at most, about the
// ports it asked for, and only if it asked; no more than a line is read.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte("49152 , 9199\r\n"))
	f.Add([]byte("49152,9198\nmore"))
	f.Add([]byte("0 , 1\n"))
	f.Add(bytes.Repeat([]byte(" "), 2*wire.MaxLine))
	h := newHelper(1, "203.0.113.2")
	f.Fuzz(func(t *testing.T, said []byte) {
		h.limits = newLimits(1)
		c := &overheard{here: here4, there: there4}
		c.in.Reset(said)
		h.serveConn(c)
		if c.in.Size()-int64(c.in.Len()) > wire.MaxLine {
			t.Errorf("%d octets were read", c.in.Size()-int64(c.in.Len()))
		}
		line, _, whole := bytes.Cut(said, []byte{'\n'})
		client, proxy, err := wire.ParseQuestion(line)
		if err != nil || !whole || len(line) >= wire.MaxLine {
			if c.said.Len() > 0 {
				t.Errorf("%q is answered by %q", said, c.said.Bytes())
			}
			return
		}
		answer := c.said.String()
		if len(answer) > wire.MaxLine || strings.Count(answer, "\n") != 1 || !strings.HasSuffix(answer, "\r\n") || !strings.HasPrefix(answer, fmt.Sprintf("%d , %d : ", client, proxy)) {
			t.Errorf("%q is answered by %q", said, answer)
		}
	})
}

// FuzzReply: whatever datagram comes, with whatever the kernel says of it and whatever
// it was translated from, only who asks about himself is answered, as long as he asked,
// so that nobody is flooded in another's name.
func FuzzReply(f *testing.F) {
	q4 := wire.Query{Cookie: 1, Secret: 0x0a0b0c0d, Client: netip.AddrPortFrom(here4.Addr(), 49152), Proxy: netip.AddrPortFrom(there4.Addr(), 9199)}
	f.Add(q4.Append(nil), []byte{}, target4.Addr().AsSlice(), uint16(25))
	f.Add(q4.Append(nil), []byte{1}, target6.Addr().AsSlice(), uint16(0))
	f.Add(q4.AppendNotFound(nil), bytes.Repeat([]byte{8}, 32), []byte{}, uint16(25))
	f.Fuzz(func(t *testing.T, d, oob, target []byte, port uint16) {
		if len(oob) <= 128 {
			destination(bytes.Clone(oob))
		}
		ip, _ := netip.AddrFromSlice(target)
		h := newHelper(1, "203.0.113.2")
		h.find = finds(origin{behind6, netip.AddrPortFrom(ip.Unmap(), port)})
		reply := h.reply(d, there4, here4.Addr())
		if reply == nil {
			return
		}
		q, err := wire.ParseQuery(d, h.secret)
		if err != nil || q.Proxy.Addr() != there4.Addr() || q.Client.Addr() != here4.Addr() || len(reply) != len(d) {
			t.Errorf("%x is answered by %x", d, reply)
		}
		if _, err := q.ParseReply(reply); err == wire.ErrIgnore || err == wire.ErrMismatch {
			t.Errorf("%x is answered by %x: %v", d, reply, err)
		}
	})
}
