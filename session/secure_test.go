package session

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// identity is a certificate with its key.
type identity struct {
	tls.Certificate
	leaf *x509.Certificate
}

// newIdentity makes one for some names, signed by nobody else.
func newIdentity(names ...string) identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf}
}

func (i identity) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.leaf.Raw})
}

func (i identity) pin() imsg.Pin { return sha256.Sum256(i.leaf.RawSubjectPublicKeyInfo) }

var gateIdentity, serverIdentity = newIdentity("gate.example"), newIdentity("mx.example")

// terminates has TLS end here, and servers be taken as they are.
func terminates(c *imsg.SessionConfig) {
	c.TLS = imsg.TLSConfig{Policy: imsg.TLSTerminate, MinVersion: imsg.TLS12, Verify: imsg.TLSVerifyNone, HandshakeTimeout: imsgtest.Patience}
}

// asKeys is the room that has gateIdentity's key.
func (h *house) asKeys(r link.Request) {
	switch m := r.Message.(type) {
	case *imsg.Sign:
		octets, err := gateIdentity.PrivateKey.(crypto.Signer).Sign(rand.Reader, []byte(m.Digest), crypto.Hash(m.Hash))
		if err != nil {
			r.Fail(imsg.Internal)
			return
		}
		family.Answer(r, &imsg.Signature{Octets: string(octets)})
	case *imsg.SealTicket:
		family.Answer(r, &imsg.Ticket{Octets: "sealed " + m.State})
	case *imsg.OpenTicket:
		state, _ := strings.CutPrefix(m.Octets, "sealed ")
		family.Answer(r, &imsg.TicketState{State: state})
	}
}

// joinKeys has the worker told of a certificate.
func (h *house) joinKeys() {
	h.t.Helper()
	keys := h.Join(imsg.Keys, 0, h.asKeys)
	if err := keys.Send(&imsg.Certificate{ID: 1, Parts: []string{string(gateIdentity.leaf.Raw)}}); err != nil {
		h.t.Fatal(err)
	}
}

func newSecureRig(t *testing.T, change func(*imsg.SessionConfig)) *rig {
	t.Helper()
	return newRig(t, func(c *imsg.SessionConfig) {
		terminates(c)
		if change != nil {
			change(c)
		}
	})
}

// secure has a talker go on under TLS.
func (p *talker) secure(conn *tls.Conn) error {
	p.t.Helper()
	if n := p.r.Buffered(); n > 0 {
		p.t.Fatalf("%s has %d octets in clear", p.name, n)
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	p.conn, p.r = conn, bufio.NewReader(conn)
	return nil
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (p *talker) asClient() error {
	return p.secure(tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true}))
}

func (p *talker) asServer(i identity) error {
	return p.secure(tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{i.Certificate}}))
}

// mail sends a message through, whatever there is between, and leaves the session open.
func (r *rig) mail() {
	r.t.Helper()
	r.toServer("MAIL FROM:<a@client.example>\r\n")
	r.toClient("250 2.1.0 Ok\r\n")
	r.toServer("RCPT TO:<b@mx.example>\r\n")
	r.toClient("250 2.1.5 Ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 go ahead\r\n")
	r.client.say("text\r\n.\r\n")
	r.natHeaderApart()
	r.server.hears("text\r\n.\r\n")
	r.toClient("250 2.0.0 taken\r\n")
}

func (r *rig) greet() {
	r.t.Helper()
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("EHLO client.example\r\n")
}

// TestLockstep: the client has TLS when the server has it, and what was said in clear is
// forgotten.
func TestLockstep(t *testing.T) {
	r := newSecureRig(t, nil)
	r.greet()
	r.toClient("250-mx.example\r\n")
	r.server.say("250-AUTH PLAIN SCRAM-SHA-256-PLUS\r\n250 STARTTLS\r\n")
	r.client.hears("250-AUTH PLAIN\r\n250 STARTTLS\r\n")
	r.toServer("STARTTLS\r\n")
	r.server.say("220 2.0.0 go ahead\r\n")
	r.must(r.server.asServer(serverIdentity))
	r.client.hears("220 2.0.0 go ahead\r\n")
	r.must(r.client.asClient())
	r.toServer("EHLO client.example\r\n")
	r.server.say("250-mx.example\r\n250-STARTTLS\r\n250 SIZE 100000\r\n") // it should not, and is not believed
	r.client.hears("250-mx.example\r\n250-STA*TTLS\r\n250 SIZE ")
	r.client.line()
	r.client.say("STARTTLS\r\n")
	r.client.hears("503 gate.example msg_proto_error\r\n")
	r.mail()
	r.toServer("QUIT\r\n")
	r.server.say("221 bye\r\n")
	r.server.conn.Close()
	r.client.hears("221 bye\r\n")
	r.client.end()
	r.seen("the session to be counted", func() bool { return r.counts[imsg.CountTLSTerminated] == 1 })
}

// TestNoLockstep: what the server says against TLS is passed on, and one whose certificate
// is wrong is called anew, so that the client can go on in clear.
func TestNoLockstep(t *testing.T) {
	r := newSecureRig(t, func(c *imsg.SessionConfig) {
		c.TLS.Verify, c.TLS.Pins = imsg.TLSVerifyPin, []imsg.Pin{gateIdentity.pin()}
	})
	r.greet()
	r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
	r.toServer("STARTTLS\r\n")
	r.toClient("454 4.7.0 not now\r\n")
	r.toServer("STARTTLS\r\n")
	next := make(chan net.Conn, 1)
	go func() {
		if c, err := r.listener.Accept(); err == nil {
			next <- c
		}
	}()
	r.server.say("220 2.0.0 go ahead\r\n")
	if r.server.asServer(serverIdentity) == nil { // TLS 1.3 tells the server behind its handshake
		r.server.end()
	}
	r.server = newTalker(t, "server", wait(t, next))
	r.server.say("220 mx.example ESMTP\r\n")
	r.server.hears("EHLO client.example\r\n")
	r.server.say("250-mx.example\r\n250 STARTTLS\r\n")
	r.client.hears("454 gate.example msg_temp_unavail\r\n")
	r.mail()
}

// TestVerified: each way to verify takes the right server, and no other.
func TestVerified(t *testing.T) {
	other := newIdentity("other.example")
	for name, tc := range map[string]struct {
		change func(*imsg.TLSConfig)
		as     identity
		good   bool
	}{
		"pin": {func(c *imsg.TLSConfig) {
			c.Verify, c.Pins = imsg.TLSVerifyPin, []imsg.Pin{other.pin(), serverIdentity.pin()}
		}, serverIdentity, true},
		"other pin":       {func(c *imsg.TLSConfig) { c.Verify, c.Pins = imsg.TLSVerifyPin, []imsg.Pin{other.pin()} }, serverIdentity, false},
		"chain":           {func(c *imsg.TLSConfig) { c.Verify, c.Roots = imsg.TLSVerifyChain, serverIdentity.pem() }, serverIdentity, true},
		"other authority": {func(c *imsg.TLSConfig) { c.Verify, c.Roots = imsg.TLSVerifyChain, other.pem() }, serverIdentity, false},
		"name": {func(c *imsg.TLSConfig) {
			c.Verify, c.Roots, c.ServerName = imsg.TLSVerifyName, serverIdentity.pem(), "mx.example"
		}, serverIdentity, true},
		"other name": {func(c *imsg.TLSConfig) {
			c.Verify, c.Roots, c.ServerName = imsg.TLSVerifyName, append(serverIdentity.pem(), other.pem()...), "mx.example"
		}, other, false},
		"none": {func(c *imsg.TLSConfig) {}, other, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSecureRig(t, func(c *imsg.SessionConfig) { tc.change(&c.TLS); c.TLS.Upstream = imsg.TLSAlways })
			r.server.say("220 mx.example ESMTP\r\n")
			r.server.hears("EHLO gate.example\r\n")
			r.server.say("250-mx.example\r\n250 STARTTLS\r\n")
			r.server.hears("STARTTLS\r\n")
			r.server.say("220 2.0.0 go ahead\r\n")
			err := r.server.asServer(tc.as)
			if !tc.good {
				r.client.hears("220 gate.example SMTP\r\n")
				r.client.say("STARTTLS\r\n")
				r.client.hears("454 gate.example msg_transaction_failed\r\n")
				r.client.say("MAIL FROM:<a@client.example>\r\n")
				r.client.hears("451 gate.example msg_temp_unavail\r\n")
				return
			}
			r.must(err)
			r.client.hears("220 mx.example ESMTP\r\n")
			r.toServer("EHLO client.example\r\n")
			r.server.say("250-mx.example\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES\r\n")
			r.client.hears("250-mx.example\r\n250-AUT* PLAIN\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
			r.client.say("AUTH PLAIN AGEAYg==\r\n")
			r.client.hears("538 5.7.11 gate.example msg_unimpl_command\r\n")
			r.client.say("STARTTLS\r\n")
			r.client.hears("220 gate.example ready for TLS\r\n")
			r.must(r.client.asClient())
			r.toServer("EHLO client.example\r\n")
			r.toClient("250-mx.example\r\n250 AUTH PLAIN\r\n")
			r.mail()
		})
	}
}

// TestNever: STARTTLS is offered for a server that has none.
func TestNever(t *testing.T) {
	r := newSecureRig(t, func(c *imsg.SessionConfig) { c.TLS.Upstream = imsg.TLSNever })
	r.greet()
	r.server.say("250 mx.example\r\n")
	r.client.hears("250-mx.example\r\n250 STARTTLS\r\n")
	r.toServer("MAIL FROM:<a@client.example>\r\n")
	r.toClient("250 Ok\r\n")
	r.client.say("STARTTLS\r\n")
	r.server.hears("RSET\r\n")
	r.server.say("250 Ok\r\n")
	r.client.hears("220 gate.example ready for TLS\r\n")
	r.must(r.client.asClient())
	r.toServer("EHLO client.example\r\n")
	r.server.say("250 mx.example\r\n")
	r.client.hears("250 mx.example\r\n")
	r.mail()
}

// TestClearBehindSTARTTLS: what either side says in clear where TLS is to begin is never
// taken for what was said under it (CVE-2011-0411).
func TestClearBehindSTARTTLS(t *testing.T) {
	r := newSecureRig(t, nil)
	r.greet()
	r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
	r.client.say("STARTTLS\r\nMAIL FROM:<injected@client.example>\r\n")
	r.client.hears("554 gate.example msg_proto_error\r\n")
	r.client.end()

	r = newSecureRig(t, nil)
	r.greet()
	r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
	r.toServer("STARTTLS\r\n")
	r.server.say("220 go ahead\r\n250 injected\r\n")
	r.client.hears("421 gate.example msg_proto_error\r\n")
	r.client.end()

	r = newSecureRig(t, nil)
	r.greet()
	r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
	r.toServer("STARTTLS\r\n")
	r.server.say("220 go ahead\r\n")
	r.must(r.server.asServer(serverIdentity))
	r.client.hears("220 go ahead\r\n")
	r.client.say("MAIL FROM:<injected@client.example>\r\n")
	r.server.end()
}

// tlsRig is a rig whose client begins with TLS. The server does, too, if its port says so.
func newTLSRig(t *testing.T, change func(c *imsg.TLSConfig, port uint16)) *rig {
	t.Helper()
	return newTLSRigIn(t, func(*imsg.SessionConfig) {}, change, &tls.Config{InsecureSkipVerify: true})
}

// newTLSRigIn is newTLSRig in a mode, with a client's settings.
func newTLSRigIn(t *testing.T, mode func(*imsg.SessionConfig), change func(c *imsg.TLSConfig, port uint16), client *tls.Config) *rig {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &rig{listener: l}
	r.house = newHouseWith(t, l.Addr().String(), true, func(c *imsg.SessionConfig) {
		terminates(c)
		mode(c)
		change(&c.TLS, uint16(l.Addr().(*net.TCPAddr).Port))
	})
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	r.client = r.dial()
	r.must(r.client.secure(tls.Client(r.client.conn, client)))
	r.server = newTalker(t, "server", wait(t, accepted))
	return r
}

// TestBeginsWithTLS: a client that begins with TLS gets a server that has it, too, as
// tls_upstream and target_tls_port say, or one that takes no mail.
func TestBeginsWithTLS(t *testing.T) {
	t.Run("port", func(t *testing.T) {
		r := newTLSRig(t, func(c *imsg.TLSConfig, port uint16) { c.Port = port })
		r.must(r.server.asServer(serverIdentity))
		r.greet()
		r.toClient("250-mx.example\r\n250 AUTH PLAIN\r\n")
		r.mail()
	})
	t.Run("lockstep", func(t *testing.T) {
		r := newTLSRig(t, func(c *imsg.TLSConfig, _ uint16) {})
		r.server.say("220 mx.example ESMTP\r\n")
		r.server.hears("EHLO gate.example\r\n")
		r.server.say("250-mx.example\r\n250 STARTTLS\r\n")
		r.server.hears("STARTTLS\r\n")
		r.server.say("220 go ahead\r\n")
		r.must(r.server.asServer(serverIdentity))
		r.client.hears("220 mx.example ESMTP\r\n")
		r.toServer("EHLO client.example\r\n")
		r.toClient("250 mx.example\r\n")
		r.mail()
	})
	t.Run("never", func(t *testing.T) {
		r := newTLSRig(t, func(c *imsg.TLSConfig, _ uint16) { c.Upstream = imsg.TLSNever })
		r.greet()
		r.server.say("250-mx.example\r\n250 STARTTLS\r\n")
		r.client.hears("250-mx.example\r\n250 STA*TTLS\r\n")
		r.mail()
	})
	t.Run("not trusted", func(t *testing.T) {
		r := newTLSRig(t, func(c *imsg.TLSConfig, port uint16) {
			c.Port, c.Verify, c.Pins = port, imsg.TLSVerifyPin, []imsg.Pin{gateIdentity.pin()}
		})
		if r.server.asServer(serverIdentity) == nil {
			r.server.end()
		}
		r.client.hears("220 gate.example SMTP\r\n")
		r.client.say("MAIL FROM:<a@client.example>\r\n")
		r.client.hears("451 gate.example msg_temp_unavail\r\n")
	})
	t.Run("early talk", func(t *testing.T) {
		r := newTLSRig(t, func(c *imsg.TLSConfig, _ uint16) { c.Upstream = imsg.TLSNever })
		r.client.say("EHLO client.example\r\n")
		r.client.hears("554 gate.example msg_earlytalker\r\n")
	})
}
