package session

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// anyCertificate is one that nobody looks at.
func anyCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secures has client and server agree on TLS, and then say something under it.
func (r *rig) secures(name string) {
	r.t.Helper()
	server := tls.Server(r.server.conn, &tls.Config{Certificates: []tls.Certificate{anyCertificate(r.t)}})
	client := tls.Client(r.client.conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	heard := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, err := server.Read(b)
		if err != nil {
			heard <- err.Error()
			return
		}
		io.WriteString(server, "250 hello\r\n")
		heard <- string(b[:n])
	}()
	if _, err := io.WriteString(client, "EHLO secret.example\r\n"); err != nil {
		r.t.Fatal(err)
	}
	if got := wait(r.t, heard); got != "EHLO secret.example\r\n" {
		r.t.Fatalf("the server hears %q", got)
	}
	b := make([]byte, 100)
	if n, err := client.Read(b); err != nil || string(b[:n]) != "250 hello\r\n" {
		r.t.Fatalf("the client hears %q, %v", b[:n], err)
	}
}

// passes has STARTTLS agreed on.
func (r *rig) passes() {
	r.t.Helper()
	r.hello()
	r.toServer("STARTTLS\r\n")
	r.toClient("220 go ahead\r\n")
}

// parts has one side close, then the other, as the end of a direct proxy takes both.
func (r *rig) parts(one, other *talker) {
	r.t.Helper()
	one.conn.Close()
	other.end()
	other.conn.Close()
}

// toldOf waits for an event of a kind.
func (r *rig) toldOf(kind imsg.EventKind) (e imsg.Event) {
	r.t.Helper()
	r.seen(kind.String(), func() bool {
		i := slices.IndexFunc(r.told, func(e imsg.Event) bool { return e.Kind == kind })
		if i >= 0 {
			e = r.told[i]
		}
		return i >= 0
	})
	return e
}

// toItsPort has the server's port be one of TLS from the first octet.
func toItsPort(c *imsg.SessionConfig) {
	c.TLS.Rules = []imsg.TLSRule{{Port: []uint16{c.Servers[0].Port()}, Policy: imsg.TLSPass}}
}

// TestPassed: what goes on in TLS nobody reads, and the server that its client asks for
// is told.
func TestPassed(t *testing.T) {
	r := newRig(t, nil)
	r.passes()
	r.secures("mx.secret.example")
	r.logs("DIRECT:GOING cause=starttls")
	r.logs("TLS:SESSION tls=passed, src=127.0.0.1, ident=, server_name=mx.secret.example")
	if e := r.toldOf(imsg.EventUnscanned); e.Detail != imsg.UnscannedTLS || e.ServerName != "mx.secret.example" {
		t.Errorf("%+v", e)
	}
	r.parts(r.client, r.server)
	r.seen("CLOSE", func() bool { return r.logged(": CLOSE:DIRECT by=client ") })
	r.seen("counters", func() bool { return r.counts[imsg.CountTLSPassed] == 1 && r.counts[imsg.CountDirect] == 1 })
}

// TestPassedInPieces: whatever comes, and however, goes on at once and as it is.
func TestPassedInPieces(t *testing.T) {
	hello := imsgtest.ClientHello("mx.example")
	for name, row := range map[string]struct {
		pieces []string
		called string
	}{
		"a hello":             {[]string{hello}, "mx.example"},
		"an octet":            {[]string{hello[:1], hello[1:]}, ""},
		"its header":          {[]string{hello[:5], hello[5:]}, ""},
		"all but an octet":    {[]string{hello[:len(hello)-1], hello[len(hello)-1:]}, ""},
		"no TLS":              {[]string{"EHLO x\r\n", "MAIL FROM:<a@b>\r\n"}, ""},
		"as much as can come": {[]string{"\x16\x03\x01\xff\xff" + strings.Repeat("x", 100_000)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.passes()
			for _, p := range row.pieces {
				r.toServer(p)
			}
			r.logs("TLS:SESSION tls=passed, src=127.0.0.1, ident=, server_name=" + row.called)
			r.toClient("\x16\x03\x03")
			r.parts(r.client, r.server)
		})
	}
}

// TestPassedFromTheStart: at a port where servers wait for TLS it is passed on, unless the
// server turns out not to.
func TestPassedFromTheStart(t *testing.T) {
	hello := imsgtest.ClientHello("mx.example")
	const refused = "554 gate.example msg_tls_hello\r\n"

	t.Run("passed", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.secures("mx.secret.example")
		r.logs("DIRECT:GOING cause=tls")
		r.logs("TLS:SESSION tls=passed, src=127.0.0.1, ident=, server_name=mx.secret.example")
		if e := r.toldOf(imsg.EventUnscanned); e.Detail != imsg.UnscannedTLS || e.ServerName != "mx.secret.example" {
			t.Errorf("%+v", e)
		}
		r.parts(r.server, r.client)
		r.seen("CLOSE", func() bool { return r.logged(": CLOSE:DIRECT by=server ") })
	})
	t.Run("the server greets behind it", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.client.say(hello + "MAIL FROM:<a@b>\r\n")
		r.server.hears(hello)
		r.server.say("220 mx\r\n")
		r.client.hears(refused)
		r.client.end()
	})
	t.Run("the server has greeted", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.toClient("220 mx\r\n")
		r.client.say(hello)
		r.client.hears(refused)
		r.server.end()
	})
	t.Run("the server closes", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.toServer(hello)
		r.server.conn.Close()
		r.client.end()
	})
	t.Run("the client closes", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.toServer(hello)
		r.parts(r.client, r.server)
	})
	t.Run("not read before the server's answer", func(t *testing.T) {
		r := newRig(t, toItsPort)
		r.toServer(hello)
		r.client.say("more")
		r.server.quiet()
		r.server.say("\x16\x03\x03")
		r.client.hears("\x16\x03\x03")
		r.server.hears("more")
	})
	for name, change := range map[string]func(*imsg.SessionConfig){
		"another port": nil,
		"masked": func(c *imsg.SessionConfig) {
			toItsPort(c)
			c.TLS.Rules[0].Policy = imsg.TLSMask
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			r.client.say(hello)
			r.client.hears(refused)
			r.server.end()
		})
	}
}

// TestMaskedByRule: the first rule that fits decides.
func TestMaskedByRule(t *testing.T) {
	local, other := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, row := range map[string]struct {
		rules  []imsg.TLSRule
		masked bool
	}{
		"none":        {nil, false},
		"its client":  {[]imsg.TLSRule{{Client: other, Policy: imsg.TLSPass}, {Client: local, Policy: imsg.TLSMask}, {Policy: imsg.TLSPass}}, true},
		"its server":  {[]imsg.TLSRule{{Server: local, Policy: imsg.TLSMask}}, true},
		"not its own": {[]imsg.TLSRule{{Server: other, Policy: imsg.TLSMask}, {Port: []uint16{1}, Policy: imsg.TLSMask}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { c.TLS.Rules = row.rules })
			r.toClient("220 mx\r\n")
			const offered = "250-mx\r\n250 STARTTLS\r\n"
			shown := offered
			if row.masked {
				shown = "250-mx\r\n250 STA*TTLS\r\n"
			}
			for range 2 {
				r.toServer("EHLO c\r\n")
				r.server.say(offered)
				r.client.hears(shown)
			}
			if !row.masked {
				r.toServer("STARTTLS\r\n")
				return
			}
			r.client.say("STARTTLS\r\n")
			r.client.hears("454 gate.example msg_unimpl_command\r\n")
			r.toServer("NOOP\r\n")
			r.logs("STARTTLS:FILTERED src=127.0.0.1, ident=")
			const line = "TLS:SESSION tls=masked, src=127.0.0.1, ident="
			r.logs(line)
			if strings.Count(r.Text(), line) > 1 {
				t.Error("it is logged twice")
			}
			r.seen("counters", func() bool { return r.counts[imsg.CountTLSMasked] == 1 })
		})
	}
}

// TestQuotasOfTLS: who has used one up goes on in clear, or is ended if that cannot be.
func TestQuotasOfTLS(t *testing.T) {
	all := []imsg.Rate{imsg.RateTLSSessions, imsg.RateTLSBytes, imsg.RateTLSServers}
	uses := []imsg.QuotaUse{{Counter: imsg.RateTLSBytes, Amount: 1}, {Counter: imsg.RateTLSServers, Amount: 1}, {Counter: imsg.RateTLSSessions, Amount: 1}}
	over := func(c imsg.Rate) map[imsg.Rate]imsg.Refusal { return map[imsg.Rate]imsg.Refusal{c: imsg.RefusedRate} }

	t.Run("none is used up", func(t *testing.T) {
		r := quotas(t, nil, nil, all...)
		r.passes()
		r.usesAre(uses...)
	})
	for _, c := range all {
		t.Run(c.String(), func(t *testing.T) {
			r := quotas(t, over(c), nil, c)
			r.hello()
			r.client.say("STARTTLS\r\n")
			r.client.hears("454 4.7.0 gate.example msg_ratelimit_tls\r\n")
			r.toServer("MAIL FROM:<a@b>\r\n")
			if e := r.toldOf(imsg.EventDefer); e.Rule != imsg.RuleRate || e.Detail != c.String() || e.Code != 454 {
				t.Errorf("%+v", e)
			}
		})
		t.Run(c.String()+", at once", func(t *testing.T) {
			r := quotas(t, over(c), toItsPort, c)
			r.client.say(imsgtest.ClientHello("mx.example"))
			r.client.hears("421 gate.example msg_ratelimit_tls\r\n")
			r.client.end()
			r.server.end()
		})
		t.Run(c.String()+", looked for", func(t *testing.T) {
			r := quotas(t, over(c), func(cfg *imsg.SessionConfig) { cfg.Monitor = 1 << imsg.RuleRate }, c)
			r.passes()
			r.secures("mx.example")
			if e := r.toldOf(imsg.EventWould); e.Rule != imsg.RuleRate || e.Detail != c.String() {
				t.Errorf("%+v", e)
			}
		})
	}
	t.Run("nobody can tell", func(t *testing.T) {
		r := quotas(t, map[imsg.Rate]imsg.Refusal{imsg.RateTLSServers: imsg.RefusedRateError}, nil, all...)
		r.hello()
		r.client.say("STARTTLS\r\n")
		r.client.hears("451 4.3.0 gate.example msg_ratelimit_error\r\n")
		r.toServer("NOOP\r\n")
	})
	t.Run("not for what is masked", func(t *testing.T) {
		r := quotas(t, nil, func(c *imsg.SessionConfig) { c.TLS.Policy = imsg.TLSMask }, all...)
		r.hello()
		r.client.say("STARTTLS\r\n")
		r.client.hears("454 4.7.0 gate.example msg_unimpl_command\r\n")
		r.usesAre()
	})
}

// TestOctetsOfTLS: octets that pass are counted as they do, and end a session that has
// used up its client's quota.
func TestOctetsOfTLS(t *testing.T) {
	counted := func(r *rig) (n uint64) {
		for _, u := range r.used {
			n += u.Amount
		}
		return n
	}
	t.Run("while it goes on", func(t *testing.T) {
		r := quotas(t, nil, nil, imsg.RateTLSBytes)
		r.passes()
		r.toServer("0123456789")
		r.toClient("01234")
		r.seen("15 octets", func() bool { return counted(r) == 15 })
		r.toServer("0123456789")
		r.seen("25 octets", func() bool { return counted(r)+r.passed == 25 })
		r.parts(r.client, r.server)
		r.seen("Leave", func() bool { return len(r.left) == 1 })
		if counted(r)+r.passed != 25 {
			t.Errorf("%d octets, and %d", counted(r), r.passed)
		}
	})
	t.Run("at its end", func(t *testing.T) {
		r := quotas(t, nil, nil, imsg.RateTLSBytes)
		r.passes()
		r.set(func() { r.holds = true })
		r.toServer("0123456789")
		r.parts(r.client, r.server)
		r.seen("Leave", func() bool { return len(r.left) == 1 })
		r.set(func() {
			if counted(r)+r.passed != 10 {
				t.Errorf("%d octets, and %d", counted(r), r.passed)
			}
		})
	})
	t.Run("used up", func(t *testing.T) {
		r := quotas(t, nil, nil, imsg.RateTLSBytes)
		r.passes()
		r.set(func() { r.over = map[imsg.Rate]imsg.Refusal{imsg.RateTLSBytes: imsg.RefusedRate} })
		r.toServer("0123456789")
		r.server.end()
		r.seen("CLOSE", func() bool { return r.logged(": CLOSE:DIRECT by=error ") })
		if e := r.toldOf(imsg.EventDefer); e.Rule != imsg.RuleRate || e.Detail != "tls_bytes" || e.Code != 0 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("nobody can tell", func(t *testing.T) {
		r := quotas(t, nil, nil, imsg.RateTLSBytes)
		r.passes()
		r.set(func() { r.over = map[imsg.Rate]imsg.Refusal{imsg.RateTLSBytes: imsg.RefusedRateError} })
		r.toServer("0123456789")
		r.seen("a use", func() bool { return len(r.used) == 2 })
		r.toServer("0123456789")
		r.toClient("0123456789")
	})
	t.Run("not by AUTH", func(t *testing.T) {
		r := quotas(t, nil, func(c *imsg.SessionConfig) { c.AuthSkip = imsg.SkipDirect }, imsg.RateTLSBytes)
		r.hello()
		r.toServer("AUTH PLAIN x\r\n")
		r.toClient("235 ok\r\n")
		r.toServer("0123456789")
		r.parts(r.client, r.server)
		r.seen("Leave", func() bool { return len(r.left) == 1 })
		if r.usesAre(); r.passed > 0 {
			t.Errorf("%d octets", r.passed)
		}
	})
}
