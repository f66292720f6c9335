package session

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// behindBalancer has those of loopback be load balancers.
func behindBalancer(c *imsg.SessionConfig) {
	c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
}

const (
	namesV1 = "PROXY TCP4 192.0.2.7 198.51.100.25 4444 25\r\n"
	checkV1 = "PROXY UNKNOWN\r\n"
)

// proxyV2 is a header of version 2 that names an IPv4 client.
func proxyV2(command byte, client string, tlvs ...byte) string {
	from, to := netip.MustParseAddrPort(client), netip.MustParseAddrPort("198.51.100.25:25")
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, 0x11)
	b = binary.BigEndian.AppendUint16(b, uint16(12+len(tlvs)))
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	return string(append(b, tlvs...))
}

// balanced is a house behind a load balancer, and its server.
type balanced struct {
	*house
	servers chan *talker
}

func newBalanced(t *testing.T, change func(*imsg.SessionConfig)) *balanced {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &balanced{servers: make(chan *talker, 16)}
	b.house = newHouse(t, l.Addr().String(), func(c *imsg.SessionConfig) {
		behindBalancer(c)
		if change != nil {
			change(c)
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.servers <- newTalker(t, "server", c)
		}
	}()
	return b
}

// calls has a client come by the balancer.
func (b *balanced) calls(header string) *rig {
	b.t.Helper()
	r := &rig{house: b.house, client: b.dial()}
	r.client.say(header)
	r.server = wait(b.t, b.servers)
	return r
}

func (b *balanced) counted(c imsg.Counter, n uint64) {
	b.t.Helper()
	b.seen(imsg.CounterTable[c].Name, func() bool { return b.counts[c] == n })
}

// TestNamedByBalancer: the client that a header names is the session's, everywhere, and
// octets behind the header are its first.
func TestNamedByBalancer(t *testing.T) {
	b := newBalanced(t, func(c *imsg.SessionConfig) { c.NatHeaderType = imsg.NatIPOnly })
	for header, client := range map[string]string{
		namesV1:                              "192.0.2.7:4444",
		proxyV2(0x21, "192.0.2.8:4445"):      "192.0.2.8:4445",
		"PROXY TCP6 2001:db8::7 ::1 1 2\r\n": "[2001:db8::7]:1",
	} {
		at := netip.MustParseAddrPort(client)
		r := b.calls(header)
		r.data()
		r.client.say("text\r\n.\r\n")
		r.server.hears("X-Nat-Received: " + at.Addr().String() + "\r\n\r\ntext\r\n.\r\n")
		r.toClient("250 taken\r\n")
		b.set(func() {
			if e := b.entered[len(b.entered)-1]; e.Client != at || e.Check || e.Local.String() != b.addr {
				t.Errorf("%+v", e)
			}
		})
		via := r.client.conn.LocalAddr().String()
		to := "198.51.100.25:25"
		if at.Addr().Is6() {
			to = "[::1]:2"
		}
		b.logs("ACCEPT: from=" + client + ", via=" + via + ", to=" + to)
		if live := b.live(); len(live) == 0 || live[len(live)-1].Client != at || live[len(live)-1].Via.String() != via || live[len(live)-1].Check {
			t.Errorf("%+v", live)
		}
		r.toServer("QUIT\r\n")
		r.server.say("221 bye\r\n")
		r.server.conn.Close()
		r.client.hears("221 bye\r\n")
		r.client.end()
	}
	// In pieces, and with early talk behind it, which is the client's.
	header := proxyV2(0x21, "192.0.2.9:4446", 4, 0, 1, 'x')
	c := b.dial()
	for i := range header {
		c.say(header[i : i+1])
	}
	wait(t, b.servers).say("220 mx.example ESMTP\r\n")
	c.hears("220 mx.example ESMTP\r\n")
	c = b.dial()
	c.say(header + "EHLO client.example\r\n")
	c.hears("554 gate.example msg_earlytalker\r\n")
	c.end()
	if o := b.offence(); o.Found != imsg.FoundEarlyTalk {
		t.Errorf("%+v", o)
	}
	b.logs("FOUND:EARLYTALK src=192.0.2.9 ident=")
	b.counted(imsg.CountProxyClient, 5)
	b.counted(imsg.CountTotal, 5)
	b.counted(imsg.CountIPv6, 1)
}

// live asks the worker for its sessions.
func (b *balanced) live() []imsg.LiveSession {
	b.t.Helper()
	l, err := link.Ask(b.lockd, &imsg.Snapshot{}, imsgtest.Patience)
	if err != nil {
		b.t.Fatal(err)
	}
	return l.Sessions
}

// TestWrongHeader: who is to begin with a header and does not, or names a client that can be
// none, is closed without a word, and counted; who says nothing is, in time. None of them is
// a client.
func TestWrongHeader(t *testing.T) {
	const own = "192.0.2.25:25"
	b := newBalanced(t, func(c *imsg.SessionConfig) { c.Listeners = []netip.AddrPort{netip.MustParseAddrPort(own)} })
	silent := b.dial()
	slow := b.dial()
	slow.say(namesV1[:len(namesV1)-1])
	malformed, source := uint64(0), uint64(0)
	for _, header := range []string{
		"EHLO client.example\r\n", "\x16\x03\x01", "PROXY TCP4 192.0.2.7\r\n", proxyV2(0x22, "192.0.2.7:1"), strings.Repeat("x", 8000),
		proxyV2(0x21, "192.0.2.7:1", 3, 0, 4, 1, 2, 3, 4), proxyV2(0x21, "192.0.2.7:1", 3, 0xff),
	} {
		malformed++
		c := b.dial()
		c.say(header)
		c.end()
	}
	for _, client := range []string{"127.0.0.1:25", "0.0.0.0:25", "224.0.0.1:25", own} {
		source++
		c := b.dial()
		c.say(proxyV2(0x21, client))
		c.end()
		b.logs("PROXY:FAILED via=" + c.conn.LocalAddr().String() + ", error=it names a client that can be none, from=" + client)
	}
	for _, client := range []string{"::1", "::", "ff02::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:192.0.2.25"} {
		source++
		c := b.dial()
		c.say("PROXY TCP6 " + client + " 2001:db8::25 25 25\r\n")
		c.end()
	}
	// One that looks whether we listen is no fault, be it with a reset.
	b.dial().conn.Close()
	looks := b.dial().conn.(*net.TCPConn)
	looks.SetLinger(0)
	looks.Close()
	half := b.dial()
	half.say(namesV1[:7])
	half.conn.(*net.TCPConn).CloseWrite()
	half.end()
	malformed++
	b.counted(imsg.CountProxyMalformed, malformed)
	b.counted(imsg.CountProxySource, source)
	silent.end()
	slow.end()
	b.counted(imsg.CountProxyLate, 2)
	b.logs("PROXY:FAILED via=" + silent.conn.LocalAddr().String() + ", error=no header in time")
	b.set(func() {
		if len(b.entered) > 0 || b.counts[imsg.CountProxyMalformed] != malformed {
			t.Errorf("%d, %+v", b.counts[imsg.CountProxyMalformed], b.entered)
		}
	})
	r := b.calls(namesV1) // places are free
	r.ready()
}

// TestHealthCheck: a balancer that calls for itself sees whether we and the server work, may
// send nothing, and is no client: nobody hears of it.
func TestHealthCheck(t *testing.T) {
	b := newBalanced(t, func(c *imsg.SessionConfig) {
		c.TLS.Policy, c.RejectHelo, c.ScanChunks = imsg.TLSPass, ".", true
	})
	b.set(func() { b.exempt = imsg.AllExempts })
	for _, header := range []string{checkV1, proxyV2(0x20, "192.0.2.7:1"), ""} {
		r := &rig{house: b.house, client: b.dial()}
		if header == "" { // it names itself
			header = proxyV2(0x21, r.client.conn.LocalAddr().String())
		}
		r.client.say(header)
		r.server = wait(t, b.servers)
		r.toClient("220 mx.example ESMTP\r\n")
		r.toServer("EHLO balancer\r\n")
		r.server.say("250-mx.example\r\n250-CHUNKING\r\n250 STARTTLS\r\n")
		r.client.hears("250-mx.example\r\n250-CHUNKING\r\n250 STA*TTLS\r\n")
		for _, command := range []string{"MAIL FROM:<a@client.example>\r\n", "RCPT TO:<b@mx.example>\r\n", "DATA\r\n", "AUTH PLAIN AGEAYg==\r\n", "BDAT 3 LAST\r\nabc"} {
			r.client.say(command)
			r.client.hears("451 gate.example msg_temp_unavail\r\n")
		}
		r.client.say("STARTTLS\r\n")
		r.client.hears("454 gate.example msg_unimpl_command\r\n")
		b.set(func() {
			if e := b.entered[len(b.entered)-1]; !e.Check || e.Client.String() != r.client.conn.LocalAddr().String() {
				t.Errorf("%+v", e)
			}
		})
		if live := b.live(); len(live) == 0 || !live[len(live)-1].Check {
			t.Errorf("%+v", live)
		}
		r.toServer("QUIT\r\n")
		r.server.say("221 bye\r\n")
		r.server.conn.Close()
		r.client.hears("221 bye\r\n")
		r.client.end()
	}
	b.counted(imsg.CountProxyCheck, 3)
	b.seen("that they have left", func() bool { return len(b.left) == 3 })
	b.set(func() {
		if len(b.told) > 0 || len(b.offences) > 0 || len(b.used) > 0 || b.counts[imsg.CountEmpty] > 0 {
			t.Errorf("%+v, %+v, %+v", b.told, b.offences, b.used)
		}
	})
	if b.logged("NEW (") || b.logged(": CLOSE") {
		t.Errorf("it is logged as a client:\n%s", b.Text())
	}
}

// TestUnexpectedHeader: a header of somebody else's never reaches the server, whenever and
// however it is said, and is no early talk.
func TestUnexpectedHeader(t *testing.T) {
	headers := map[string]string{
		"v1": namesV1, "blank": " \t" + namesV1, "tab": strings.Replace(namesV1, " ", "\t", 1), "lower": strings.ToLower(namesV1),
		"alone": "PROXY\r\n", "LF": strings.Replace(namesV1, "\r", "", 1), "v2": proxyV2(0x21, "192.0.2.7:1"), "check": checkV1,
	}
	b := newBalanced(t, func(c *imsg.SessionConfig) { c.ProxyFrom = c.ProxyFrom[1:] })
	for name, header := range headers {
		for _, greeted := range []bool{false, true} {
			r := b.calls("")
			if greeted {
				r.toClient("220 mx.example ESMTP\r\n")
			}
			r.client.say(header + "EHLO client.example\r\n")
			r.client.hears("554 gate.example msg_proto_error\r\n")
			r.client.end()
			r.client.conn.Close()
			if b, _ := io.ReadAll(r.server.r); len(b) > 0 {
				t.Errorf("%s: the server hears %q", name, b)
			}
		}
	}
	b.logs("PROXY:REFUSED src=127.0.0.1, ident=")
	b.counted(imsg.CountProxyUnexpected, uint64(2*len(headers)))
	b.set(func() {
		if len(b.offences) > 0 {
			t.Errorf("%+v", b.offences)
		}
	})
	r := b.calls("")
	r.toClient("220 mx.example ESMTP\r\n")
	r.client.say("\x01\r\n") // nothing has been forwarded yet
	r.client.hears("500 gate.example msg_proto_error\r\n")
	r.client.say(namesV1)
	r.client.hears("554 gate.example msg_proto_error\r\n")
	if b, _ := io.ReadAll(r.server.r); len(b) > 0 {
		t.Errorf("the server hears %q", b)
	}
	// Behind a HELO it is a command like others, and in a text it is text.
	r = b.calls("")
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("HELO client.example\r\n")
	r.toServer(namesV1)
	r = b.calls("")
	r.data()
	r.text(namesV1)
}

// withTLS is a house whose clients begin with TLS.
func withTLS(t *testing.T, server string, change func(*imsg.SessionConfig)) *house {
	t.Helper()
	return newHouseWith(t, server, true, func(c *imsg.SessionConfig) {
		terminates(c)
		c.TLS.Upstream = imsg.TLSNever
		if change != nil {
			change(c)
		}
	})
}

// coalescing has the first octets of a client's TLS come with what is before them.
type coalescing struct {
	net.Conn
	before string
}

func (c *coalescing) Write(b []byte) (int, error) {
	n := len(c.before)
	k, err := c.Conn.Write(append([]byte(c.before), b...))
	c.before = ""
	return k - n, err
}

// TestHeaderBeforeTLS: a header comes in clear ahead of the handshake, be it in one piece
// with it.
func TestHeaderBeforeTLS(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := withTLS(t, l.Addr().String(), behindBalancer)
	for i, apart := range []bool{false, true} {
		c := h.dial()
		if apart {
			c.say(namesV1)
		} else {
			c.conn = &coalescing{c.conn, namesV1}
		}
		if err := c.asClient(); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		server := newTalker(t, "server", conn)
		server.say("220 mx.example ESMTP\r\n")
		c.hears("220 mx.example ESMTP\r\n")
		h.seen("the client", func() bool { return len(h.entered) == i+1 && h.entered[i].Client.String() == "192.0.2.7:4444" })
		b := &balanced{house: h}
		if live := b.live(); live[len(live)-1].ClientBytes != 0 {
			t.Errorf("it has said nothing: %+v", live)
		}
		// A header under TLS is nobody's.
		c.say(namesV1)
		c.hears("554 gate.example msg_proto_error\r\n")
		c.end()
	}
}

// TestRefusedUnderTLS: who begins with TLS hears under TLS why he is refused, and nobody
// hears a word in clear.
func TestRefusedUnderTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*imsg.SessionConfig)
		header string
	}{"direct": {}, "by a balancer": {behindBalancer, namesV1}} {
		t.Run(name, func(t *testing.T) {
			h := withTLS(t, "127.0.0.1:1", tc.change)
			h.set(func() { h.refusal = imsg.RefusedLocked })
			c := h.dial()
			c.say(tc.header)
			if err := c.asClient(); err != nil {
				t.Fatal(err)
			}
			c.hears("554 gate.example msg_virus_locked\r\n")
			c.end()
			c.conn.Close()
			c = h.dial()
			c.say(tc.header + "EHLO client.example\r\n") // no TLS
			if b, _ := io.ReadAll(c.r); strings.Contains(string(b), "msg_") {
				t.Errorf("heard in clear: %q", b)
			}
			c.conn.Close()
			// Who does not shake hands costs no place for long, but holds none of lockd's.
			h.seen("that they are told of", func() bool { return len(h.told) == 2 && h.told[0].Rule == imsg.RuleLocked })
		})
	}
}

// TestRefusedUnderTLSIsBounded: beyond the bound of those that linger a client is closed.
func TestRefusedUnderTLSIsBounded(t *testing.T) {
	w, accept := refusing(t)
	for w.startLingering() {
	}
	c, s := accept()
	s.tls = true
	s.refuseConnection(refused{text: imsg.MsgMaxPerHost})
	c.SetReadDeadline(imsgtest.Deadline())
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("heard %q, %v", b, err)
	}
}
