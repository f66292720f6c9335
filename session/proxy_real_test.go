package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestProxyReceivers: what real receivers know of a client that the gateway tells them of.
func TestProxyReceivers(t *testing.T) {
	const client = "127.0.0.5"
	through := func(t *testing.T, server string) *house {
		h := newHouse(t, server, func(c *imsg.SessionConfig) { withProxy(c); c.NatHeaderType = imsg.NatNone })
		c := callFrom(t, h.addr, client)
		c.exchange("EHLO client.example", "250")
		c.mails()
		c.exchange("QUIT", "221")
		return h
	}
	arrived := func(t *testing.T, s *realServer) {
		if mails := strings.Join(s.settle(t), "\n---\n"); strings.Count(mails, "Received: from") != 1 || !strings.Contains(mails, "["+client+"]") || strings.Contains(mails, "[127.0.0.1]") {
			t.Errorf("it has %s", mails)
		}
	}
	t.Run("Postfix", func(t *testing.T) {
		s := startPostfixWith(t, "smtpd_upstream_proxy_protocol = haproxy\n")
		through(t, s.addr)
		arrived(t, s)
	})
	t.Run("Exim", func(t *testing.T) {
		s := startEximWith(t, "hosts_proxy = 127.0.0.1\n")
		through(t, s.addr)
		arrived(t, s)
	})
	t.Run("HAProxy", func(t *testing.T) {
		// It says on in version 1 what it was told.
		told := make(chan string, 1)
		sink := serve(t, func(conn net.Conn, lines *bufio.Scanner) {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "PROXY ") {
				return // it was looked whether we are there
			}
			told <- lines.Text()
			fmt.Fprint(conn, "220 mx.example ESMTP\r\n")
			for text := false; lines.Scan(); {
				switch line := lines.Text(); {
				case text && line != ".":
					continue
				case line == "DATA":
					text = true
					io.WriteString(conn, "354 go\r\n")
					continue
				case line == "QUIT":
					io.WriteString(conn, "221 bye\r\n")
					return
				}
				text = false
				io.WriteString(conn, "250 ok\r\n")
			}
		})
		addr := startHAProxy(t, "accept-proxy", "server one "+sink+" send-proxy")
		greetsAs(t, addr, "haproxy", func(conn net.Conn) string { return hailed(t, conn) })
		<-told
		h := through(t, addr)
		host, port, _ := net.SplitHostPort(h.addr)
		if got := <-told; !strings.HasPrefix(got, "PROXY TCP4 "+client+" "+host+" ") || !strings.HasSuffix(got, " "+port) {
			t.Errorf("it was told %q", got)
		}
	})
}

// startHAProxy runs one that listens as bind says, and returns where.
func startHAProxy(t *testing.T, bind string, lines ...string) (addr string) {
	t.Helper()
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		lacks(t, "%v", err)
	}
	addr, file := "127.0.0.1:"+freePort(t), t.TempDir()+"/haproxy.cfg"
	writeFile(t, file, `defaults
	mode tcp
	timeout connect 30s
	timeout client 120s
	timeout server 120s
listen smtp
	bind `+addr+" "+bind+"\n\t"+strings.Join(lines, "\n\t")+"\n")
	runServer(t, exec.Command(haproxy, "-q", "-db", "-f", file))
	return addr
}
