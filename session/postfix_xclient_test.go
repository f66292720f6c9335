// What a real Postfix knows of a client behind the gateway: its policy service is
// asked about each message with all that Postfix holds for true.

package session

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// serve plays a service that Postfix calls, one goroutine a connection.
func serve(t *testing.T, play func(conn net.Conn, lines *bufio.Scanner)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go play(c, bufio.NewScanner(c))
		}
	}()
	return l.Addr().String()
}

// informed is a Postfix that tells what it knows at each DATA.
type informed struct {
	*realServer
	t      *testing.T
	facts  chan map[string]string
	logged string // the file
}

// startInformed starts one that takes any password, and XCLIENT from clients of
// these addresses, the gateway's the first of them.
func startInformed(t *testing.T) *informed {
	t.Helper()
	p := &informed{t: t, facts: make(chan map[string]string, 16)}
	policy := serve(t, func(conn net.Conn, lines *bufio.Scanner) {
		for facts := make(map[string]string); lines.Scan(); {
			name, value, found := strings.Cut(lines.Text(), "=")
			facts[name] = value
			if !found { // SMTPD_POLICY_README: an empty line ends a request
				p.facts <- facts
				facts = make(map[string]string)
				fmt.Fprint(conn, "action=DUNNO\n\n")
			}
		}
	})
	// The authentication protocol of Dovecot, version 1.
	passwords := serve(t, func(conn net.Conn, lines *bufio.Scanner) {
		fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n")
		for lines.Scan() {
			if words := strings.Split(lines.Text(), "\t"); words[0] == "AUTH" {
				fmt.Fprintf(conn, "OK\t%s\tuser=somebody\n", words[1])
			}
		}
	})
	p.realServer = startPostfixWith(t, `
inet_protocols = all
mynetworks = 127.0.0.0/8 192.0.2.0/24 [2001:db8::]/32 [fe80::]/10
smtpd_authorized_xclient_hosts = 127.0.0.1 127.0.0.6 192.0.2.0/24 [2001:db8::]/32 [fe80::]/10
smtpd_data_restrictions = check_policy_service inet:`+policy+`
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:`+passwords+"\n")
	p.logged = filepath.Join(filepath.Dir(filepath.Dir(p.maildir)), "log")
	return p
}

// knows expects facts of the next message.
func (p *informed) knows(want map[string]string) {
	p.t.Helper()
	facts := wait(p.t, p.facts)
	for name, value := range want {
		if facts[name] != value {
			p.t.Errorf("%s is %q to Postfix, want %q", name, facts[name], value)
		}
	}
}

// logSize and logs: what gets into Postfix's log from here on.
func (p *informed) logSize() int {
	b, err := os.ReadFile(p.logged)
	if err != nil {
		p.t.Fatal(err)
	}
	return len(b)
}

func (p *informed) logs(from int, words string) {
	p.t.Helper()
	var b []byte
	if err := imsgtest.Eventually(fmt.Sprintf("%q does not get into the log", words), func() bool {
		b, _ = os.ReadFile(p.logged)
		return strings.Contains(string(b[from:]), words)
	}); err != nil {
		p.t.Fatalf("%v:\n%s", err, b[from:])
	}
}

// callFrom calls a server from an address of the loopback.
func callFrom(t *testing.T, addr, from string) *talker {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp4", addr)
	if err != nil {
		lacks(t, "no second loopback address: %v", err)
	}
	c := newTalker(t, "client", conn)
	c.gets("220")
	return c
}

// gets reads a reply and returns it, lines joined by LF.
func (p *talker) gets(code string) string {
	p.t.Helper()
	var lines []string
	for {
		line := p.line()
		lines = append(lines, line)
		if len(line) < 4 || line[3] == ' ' {
			break
		}
	}
	reply := strings.Join(lines, "\n")
	if !strings.HasPrefix(reply, code) {
		p.t.Fatalf("%s gets %q, want %s", p.name, reply, code)
	}
	return reply
}

// exchange says a line and gets its reply.
func (p *talker) exchange(line, code string) string {
	p.t.Helper()
	p.say(line + "\r\n")
	return p.gets(code)
}

// mails sends a message.
func (p *talker) mails() {
	p.t.Helper()
	p.exchange("MAIL FROM:<a@client.example>", "250")
	p.exchange("RCPT TO:<b@mx.example>", "250")
	p.exchange("DATA", "354")
	p.exchange("Subject: facts\r\n\r\n.", "250")
}

func TestPostfixXclient(t *testing.T) {
	p := startInformed(t)
	t.Run("the client", func(t *testing.T) { knowsTheClient(t, p) })
	t.Run("the login", func(t *testing.T) { knowsTheLogin(t, p) })
	t.Run("values", func(t *testing.T) { readsValues(t, p) })
}

// From 127.0.0.5 Postfix takes no XCLIENT, so none behind ours either; from
// 127.0.0.6 it would. HELO and EHLO it knows from the client, both times.
func knowsTheClient(t *testing.T, p *informed) {
	for _, from := range []string{"127.0.0.5", "127.0.0.6"} {
		for _, hellos := range [][]string{{"EHLO a+b=c.example"}, {"HELO a.example"}, {"HELO a.example", "EHLO b.example", "EHLO c.example"}} {
			t.Run(from+" "+strings.Join(hellos, ", "), func(t *testing.T) {
				p.t = t
				h := newHouse(t, p.addr, withXclient)
				log := p.logSize()
				c := callFrom(t, h.addr, from)
				for _, hello := range hellos {
					if offer := c.exchange(hello, "250"); strings.Contains(offer, "XCLIENT") {
						t.Errorf("the client is offered %q", offer)
					}
					c.mails()
					p.knows(map[string]string{
						"client_address": from, "client_port": portOf(c.conn.LocalAddr()), "client_name": "unknown",
						"server_address": "127.0.0.1", "server_port": portOf(c.conn.RemoteAddr()),
						"helo_name": hello[len("HELO "):], "protocol_name": proto(hello),
					})
				}
				c.exchange("QUIT", "221")
				// Postfix counts one it takes as 0/1: it starts the session over.
				p.logs(log, fmt.Sprintf(" xclient=0/1 mail=%d ", len(hellos)))
			})
		}
	}
	p.t = t
	for _, mail := range p.settle(t) {
		if !receivedFrom.MatchString(mail) {
			t.Errorf("Postfix writes %q", mail)
		}
	}
}

var receivedFrom = regexp.MustCompile(`(?m)^Received: from ([abc+=]+\.example) \(unknown \[127\.0\.0\.[56]\]\)\n\tby mx\.example \(Postfix\) with (E?SMTP) id`)

func proto(hello string) string {
	if hello[0] == 'E' {
		return "ESMTP"
	}
	return "SMTP"
}

// LOGIN is not told because it need not be, and because it must not.
func knowsTheLogin(t *testing.T, p *informed) {
	const auth = "AUTH PLAIN AHNvbWVib2R5AHB3"
	for _, from := range []string{"127.0.0.5", "127.0.0.6"} {
		t.Run("through the gateway from "+from, func(t *testing.T) {
			p.t = t
			h := newHouse(t, p.addr, withXclient)
			c := callFrom(t, h.addr, from)
			want := map[string]string{"sasl_username": "somebody", "sasl_method": "PLAIN", "client_address": from, "helo_name": "a.example", "protocol_name": "ESMTP"}
			c.exchange("EHLO a.example", "250")
			c.exchange(auth, "235")
			c.mails()
			p.knows(want)
			c.exchange("EHLO b.example", "250")
			c.mails()
			want["helo_name"] = "b.example"
			p.knows(want)
		})
	}
	for _, tc := range []struct {
		from, xclient, code string
		want                map[string]string
	}{
		{"127.0.0.5", "LOGIN=somebody", "550", map[string]string{"sasl_username": "somebody", "helo_name": "a.example", "protocol_name": "ESMTP"}},
		{"127.0.0.6", "LOGIN=somebody", "220", map[string]string{"sasl_username": "somebody", "sasl_method": "XCLIENT", "helo_name": "", "protocol_name": "SMTP"}},
	} {
		t.Run("what would be: "+tc.xclient+" from "+tc.from, func(t *testing.T) {
			p.t = t
			c := callFrom(t, p.addr, "127.0.0.1")
			c.exchange("EHLO gate.example", "250")
			c.exchange("XCLIENT ADDR="+tc.from+" NAME=[UNAVAILABLE]", "220")
			c.exchange("EHLO a.example", "250")
			c.exchange(auth, "235")
			c.exchange("XCLIENT "+tc.xclient, tc.code)
			c.mails()
			p.knows(tc.want)
		})
	}
}

// Each way we write an address or port is read as it was meant.
func readsValues(t *testing.T, p *informed) {
	p.t = t
	for _, tc := range []struct{ src, local, client, server string }{
		{"192.0.2.7:1025", "198.51.100.1:25", "192.0.2.7", "198.51.100.1"},
		{"[2001:db8::7]:65535", "[2001:db8::1]:587", "2001:db8::7", "2001:db8::1"},
		{"[fe80::1%eth0]:9", "[fe80::2%lo]:25", "fe80::1", "fe80::2"},
	} {
		f := &relay.Facts{Client: netip.MustParseAddrPort(tc.src), Local: netip.MustParseAddrPort(tc.local)}
		c := callFrom(t, p.addr, "127.0.0.1")
		offer := c.exchange("EHLO gate.example", "250")
		_, line, _ := strings.Cut(offer, "XCLIENT ")
		line, _, _ = strings.Cut(line, "\n")
		c.exchange(string(relay.AppendXclient(nil, strings.Fields(line), f)), "220")
		c.exchange("EHLO c.example", "250")
		c.mails()
		p.knows(map[string]string{
			"client_address": tc.client, "client_port": fmt.Sprint(f.Client.Port()), "server_address": tc.server, "server_port": fmt.Sprint(f.Local.Port()),
			"helo_name": "c.example", "protocol_name": "ESMTP", "sasl_username": "",
		})
	}
}
