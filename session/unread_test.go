package session

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// holding is a connection that keeps what is written while it is told to.
type holding struct {
	net.Conn
	holds bool
	held  bytes.Buffer
}

func (h *holding) Write(p []byte) (int, error) {
	if h.holds {
		return h.held.Write(p)
	}
	return h.Conn.Write(p)
}

// TestUnreadUnderTLS: what a server has said is seen before a message is let out, also where
// TLS holds it already; and what turns out to be nothing yet keeps no message.
func TestUnreadUnderTLS(t *testing.T) {
	for _, refuses := range []bool{true, false} {
		r := newSecureRig(t, func(c *imsg.SessionConfig) {
			c.Antivirus, c.Antispam, c.ScanChunks, c.NatHeader = false, false, true, ""
		})
		r.greet()
		r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
		r.toServer("STARTTLS\r\n")
		r.server.say("220 2.0.0 go ahead\r\n")
		far := &holding{Conn: r.server.conn}
		r.must(r.server.secure(tls.Server(far, &tls.Config{Certificates: []tls.Certificate{serverIdentity.Certificate}})))
		r.client.hears("220 2.0.0 go ahead\r\n")
		r.must(r.client.asClient())
		r.toServer("EHLO client.example\r\n")
		r.toClient("250-mx.example\r\n250 CHUNKING\r\n")
		r.toServer("MAIL FROM:<a@client.example>\r\n")
		r.toClient("250 2.1.0 Ok\r\n")
		r.toServer("RCPT TO:<b@mx.example>\r\n")
		r.toClient("250 2.1.5 Ok\r\n")
		r.client.say("BDAT 6 LAST\r\nA: b\r\n")
		r.server.hears("BDAT 6\r\nA: b\r\n")
		far.holds = true
		r.server.say("250 2.0.0 a chunk\r\n")
		one := far.held.Len()
		if refuses {
			r.server.say("554 5.7.1 no\r\n")
			far.Conn.Write(far.held.Bytes())
			r.client.hears("554 5.7.1 no\r\n")
			r.server.end()
			continue
		}
		r.server.say("250 2.0.0 taken\r\n")
		far.Conn.Write(far.held.Bytes()[:one+1])
		r.server.hears("BDAT 0 LAST\r\n")
		far.Conn.Write(far.held.Bytes()[one+1:])
		r.client.hears("250 2.0.0 taken\r\n")
	}
}
