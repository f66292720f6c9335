package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestTLSAsConfigured: the oldest version that clients may speak, the keys a server may
// have, and its port for clients that begin with TLS are those of the configuration, also
// of one that comes by a reload.
func TestTLSAsConfigured(t *testing.T) {
	g, m := rehearse(t, false, "tls")
	front, calls := begunWithTLS(t, m)
	secret := imsgtest.Port(t).String()
	leaf, err := x509.ParseCertificate(certificate().Certificate[0])
	must(t, err)
	pin := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "tls_verify pin\ntls_pins " + base64.StdEncoding.EncodeToString(sum[:]) + "\n"
	}
	ours, another := pin(leaf.RawSubjectPublicKeyInfo), pin([]byte("another key"))
	port := fmt.Sprintf("target_tls_port %d\n", front)
	for i, tc := range []struct {
		own     string
		first   bool // the client begins with TLS
		version uint16
		want    string // the answer to a mail, or what keeps it from being sent
		calls   int32  // the server is called at its port for TLS
	}{
		{own: "tls_min_version 1.3\n", version: tls.VersionTLS13, want: "250 "},
		{own: "tls_min_version 1.3\n", version: tls.VersionTLS12, want: "protocol version not supported"},
		{version: tls.VersionTLS12, want: "250 "},
		{version: tls.VersionTLS11, want: "protocol version not supported"},
		{own: "tls_upstream always\n" + ours, version: tls.VersionTLS13, want: "250 "},
		{own: "tls_upstream always\n" + another, version: tls.VersionTLS13, want: `got reply "454 `},
		{own: ours, first: true, version: tls.VersionTLS13, want: "250 "},
		{own: port + ours, first: true, version: tls.VersionTLS13, want: "250 ", calls: 1},
		{own: port + another, first: true, version: tls.VersionTLS13, want: `got reply "451 `, calls: 1},
		{own: port + ours, version: tls.VersionTLS13, want: "250 "},
	} {
		must(t, g.certified("max_per_host 0\nlisten_tls "+secret+"\n"+tc.own))
		if i == 0 {
			must(t, g.start())
		} else {
			must(t, g.reload())
		}
		address := g.plain(secret)
		if tc.first {
			address = secret
		}
		calls.Store(0)
		got := deliverWith(address, tc.first, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tc.version}, cleanMail)
		if !strings.Contains(got, tc.want) || calls.Load() != tc.calls {
			t.Errorf("%d: %q, and %d calls for TLS; want %q and %d", i, got, calls.Load(), tc.want, tc.calls)
		}
	}
	noneBad(t, m)
	must(t, g.terminate())
}

// TestPickedPorts: of two listeners at one address, whose ports the system picks, clients
// begin with TLS at one, and a reload changes neither.
func TestPickedPorts(t *testing.T) {
	g, m := rehearse(t, false, "tls")
	must(t, g.certified("listen_tls 127.0.0.1:0\n"))
	must(t, g.start())
	before := g.addresses()
	for i := range 2 {
		if i > 0 {
			must(t, g.reload())
		}
		if all := g.addresses(); !slices.Equal(all, before) {
			t.Errorf("it listens at %v, and before at %v", all, before)
		}
		for n, first := range []bool{false, true} {
			config := &tls.Config{InsecureSkipVerify: true}
			if got := deliverWith(g.address(n), first, config, cleanMail); !strings.HasPrefix(got, "250 ") {
				t.Errorf("%d: at %s: %q", i, g.address(n), got)
			}
		}
	}
	noneBad(t, m)
	must(t, g.terminate())
}

// plain is where it listens beside an address.
func (g *gate) plain(beside string) string {
	return g.address((slices.Index(g.addresses(), beside) + 1) % 2)
}

// deliverWith sends a message, under TLS if there is a configuration, and returns the answer, or what has kept it
// from being sent.
func deliverWith(address string, first bool, config *tls.Config, message string) string {
	c, err := dialGate(address, "")
	if err != nil {
		return err.Error()
	}
	defer c.conn.Close()
	c.tls = config
	if first {
		if err = c.startTLS(); err == nil {
			c.tls = nil
		}
	}
	if err != nil {
		return err.Error()
	}
	answer, err := c.deliver([]byte(message))
	if err != nil {
		return err.Error()
	}
	return answer
}

// begunWithTLS is the server's port for those who begin with TLS, and how often it is
// called there.
func begunWithTLS(t *testing.T, m *msa) (port int, calls *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	calls = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", m.listener.Addr().String())
				if err != nil {
					return
				}
				defer d.Close()
				secret := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate()}})
				go func() {
					io.Copy(d, secret)
					d.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(secret, d)
				secret.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, calls
}
