package session

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
)

func withProxy(c *imsg.SessionConfig) { c.Mode = imsg.ModeFixedProxy }

// told reads the header that a server gets ahead of all, which is to tell of a client.
func (p *talker) told(client net.Conn) map[proxyproto.PP2Type]string {
	p.t.Helper()
	text := make([]byte, 16) // and the length of what follows; what is behind that may be TLS
	if _, err := io.ReadFull(p.conn, text); err != nil {
		p.t.Fatal(err)
	}
	rest := make([]byte, binary.BigEndian.Uint16(text[14:]))
	if _, err := io.ReadFull(p.conn, rest); err != nil {
		p.t.Fatal(err)
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(append(text, rest...))))
	if err != nil {
		p.t.Fatalf("%s is told %v", p.name, err)
	}
	if h.Version != 2 || h.Command != proxyproto.PROXY || h.SourceAddr.String() != client.LocalAddr().String() || h.DestinationAddr.String() != client.RemoteAddr().String() {
		p.t.Fatalf("%s is told %+v", p.name, h)
	}
	list, err := h.TLVs()
	if err != nil {
		p.t.Fatal(err)
	}
	all := make(map[proxyproto.PP2Type]string)
	for _, v := range list {
		all[v.Type] = string(v.Value)
	}
	return all
}

// TestProxyHeader: each server is told of its client before it says a word, each time that
// it is called, and ahead of TLS.
func TestProxyHeader(t *testing.T) {
	t.Run("in clear", func(t *testing.T) {
		r := newRig(t, withProxy)
		if all := r.server.told(r.client.conn); len(all) != 1 {
			t.Errorf("it is told %q", all)
		}
		r.toClient("220 mx.example ESMTP\r\n")
		r.toServer("EHLO client.example\r\n")
	})
	t.Run("the client has TLS, and the server", func(t *testing.T) {
		r := newTLSRigIn(t, withProxy, func(c *imsg.TLSConfig, port uint16) { c.Port = port },
			&tls.Config{InsecureSkipVerify: true, ServerName: "mail.example", MinVersion: tls.VersionTLS13})
		all := r.server.told(r.client.conn)
		cipher := tls.CipherSuiteName(r.client.conn.(*tls.Conn).ConnectionState().CipherSuite)
		if ssl := all[proxyproto.PP2_TYPE_SSL]; !strings.HasPrefix(ssl, "\x01\x00\x00\x00\x01") || !strings.Contains(ssl, "TLSv1.3") || !strings.HasSuffix(ssl, cipher) {
			t.Errorf("it is told %q", ssl)
		}
		if all[proxyproto.PP2_TYPE_AUTHORITY] != "mail.example" {
			t.Errorf("it is told %q", all)
		}
		r.must(r.server.asServer(serverIdentity))
		r.greet()
	})
	t.Run("called anew", func(t *testing.T) {
		r := newSecureRig(t, func(c *imsg.SessionConfig) {
			withProxy(c)
			c.TLS.Verify, c.TLS.Pins = imsg.TLSVerifyPin, []imsg.Pin{gateIdentity.pin()}
		})
		r.server.told(r.client.conn)
		r.greet()
		r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
		r.toServer("STARTTLS\r\n")
		r.server.say("220 go ahead\r\n")
		go func() {
			if r.server.asServer(serverIdentity) == nil {
				r.server.r.ReadByte() // TLS 1.3: that it is not wanted comes behind the handshake
			}
		}()
		conn, err := r.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		again := newTalker(t, "server called anew", conn)
		if all := again.told(r.client.conn); len(all) != 1 {
			t.Errorf("it is told %q", all)
		}
		again.say("220 mx.example ESMTP\r\n")
		again.hears("EHLO client.example\r\n")
		again.say("250 mx.example\r\n")
		r.client.hears("454 gate.example msg_temp_unavail\r\n")
	})
	t.Run("of a balancer that calls for itself", func(t *testing.T) {
		c := newChoice(t, 2, func(cfg *imsg.SessionConfig) {
			withProxy(cfg)
			behindBalancer(cfg)
		})
		client := c.dial()
		client.say(checkV1)
		s := c.meets(0)
		s.told(client.conn)
		s.conn.Close()
		s = c.meets(1)
		s.told(client.conn)
		s.say("220 mx.example ESMTP\r\n")
		client.hears("220 mx.example ESMTP\r\n")
		client.say("MAIL FROM:<a@client.example>\r\n")
		client.hears("451 gate.example msg_temp_unavail\r\n")
	})
	t.Run("another server", func(t *testing.T) {
		c := newChoice(t, 2, withProxy)
		client := c.dial()
		s := c.meets(0)
		s.told(client.conn)
		s.say("554 not this client\r\n") // which need not be so for others
		s = c.meets(1)
		s.told(client.conn)
		c.serves(client, s)
		client = c.dial()
		s = c.meets(0)
		s.told(client.conn)
		c.serves(client, s)
	})
}

// hailed has a server greet whom nobody has called for.
func hailed(t *testing.T, conn net.Conn) string {
	conn.Write(proxyheader.AppendLocal(nil))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return ""
	}
	return line
}
