package session

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func remote(c *imsg.SessionConfig) { c.Mode, c.TimeoutLocate = imsg.ModeRemoteUDP, c.TimeoutLookup }

// stranger is an address of this machine that does not look like it: a client
// that calls from a loopback address is refused.
func stranger(t *testing.T) net.IP {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP
		}
	}
	t.Skip("needs an IPv4 address that is no loopback address")
	return nil
}

// A router knows where the client wanted to go and for whom it calls.
func TestLocated(t *testing.T) {
	from := stranger(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target := netip.MustParseAddrPort(l.Addr().String())
	h := newHouse(t, "127.0.0.1:1", remote)
	h.set(func() {
		h.lookup = func(imsg.Message) imsg.Message { return &imsg.TargetResult{Target: target, Ident: "anna,[x]"} }
	})
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp4", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	client := newTalker(t, "client", conn)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{house: h, client: client, server: newTalker(t, "server", accepted)}
	r.data()
	if s := r.liveSession(); s.Ident != "anna,[x]" || s.Target != target {
		t.Errorf("live %+v", s)
	}
	client.say("x\r\n.\r\n")
	if got := r.server.line(); !strings.HasSuffix(got, " [ident anna##x#]") {
		t.Errorf("server hears %q", got)
	}
	r.server.line()
	r.server.hears("\r\nx\r\n.\r\n")
	r.mu.Lock()
	ask, ident, head := *r.asks[0].(*imsg.TargetQuery), *r.idents[0], r.scanned[0]
	r.mu.Unlock()
	src := netip.MustParseAddrPort(conn.LocalAddr().String())
	if ask.Client != src || ask.Local.String() != h.addr {
		t.Errorf("asked %+v", ask)
	}
	if want := (imsg.Ident{Number: 101, Ident: "anna,[x]", Target: target}); ident != want {
		t.Errorf("%+v, want %+v", ident, want)
	}
	if want := "X-Proxy-Spool-Info: src=" + src.String() + ", ident=anna##x#, dst=" + target.String() + ", trns=0\r\n"; !strings.HasPrefix(head, want) {
		t.Errorf("spool %q, want %q", head, want)
	}
	r.logs("DATA:SCANNING size=3, src=" + from.String() + ", ident=anna,[x]")
}

func TestNotLocated(t *testing.T) {
	for kind, text := range map[imsg.Errno]string{
		imsg.NotFound: "msg_lookup_failed: msg_lookup_notfound", imsg.Timeout: "msg_lookup_failed: msg_lookup_timeout",
		imsg.Invalid: "msg_lookup_failed: msg_lookup_mismatch", imsg.Resource: "msg_lookup_failed: msg_lookup_nomem",
		imsg.Malformed: "msg_malformed_ip", imsg.Internal: "msg_lookup_failed: msg_lookup_unknown",
	} {
		h := newHouse(t, "127.0.0.1:1", remote)
		h.set(func() { h.lookup = func(imsg.Message) imsg.Message { return &imsg.Failure{Errno: kind} } })
		c := h.dial()
		c.say("MAIL FROM:<a>\r\nQUIT\r\n")
		c.hears("220 gate.example SMTP\r\n451 gate.example " + text + "\r\n221 gate.example msg_sign_off\r\n")
		c.end()
		c.conn.Close()
		h.logs("LOOKUP:FAILED src=127.0.0.1, error=" + kind.Error())
		h.seen("Leave", func() bool { return len(h.left) == 1 })
	}
}

// What could be judged only when the ident was known.
func TestRefusedIdent(t *testing.T) {
	for refusal, tc := range map[imsg.Refusal]struct{ code, text, log string }{
		imsg.RefusedIdent:     {"421", "msg_max_per_ident", "Rejecting (ident 2) connection from %s [anna]"},
		imsg.RefusedLocked:    {"554", "msg_virus_locked", ""},
		imsg.RefusedRateError: {"421", "msg_ratelimit_error", ""},
		imsg.RefusedRate:      {"421", "msg_rate_reject", ""},
	} {
		h := newHouse(t, "127.0.0.1:1", remote)
		h.set(func() {
			h.unnamed = refusal
			h.lookup = func(imsg.Message) imsg.Message {
				return &imsg.TargetResult{Target: netip.MustParseAddrPort("192.0.2.1:25"), Ident: "anna"}
			}
		})
		c := h.dial()
		c.hears(tc.code + " gate.example " + tc.text + "\r\n")
		c.end()
		if tc.log != "" {
			h.logs(strings.ReplaceAll(tc.log, "%s", c.conn.LocalAddr().String()))
		}
		h.LogsNot("NEW (", "CLOSE")
		h.mu.Lock()
		if len(h.left) > 0 {
			t.Error("Leave for a session that is refused")
		}
		h.mu.Unlock()
	}
}
