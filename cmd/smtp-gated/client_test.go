package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// client is one who sends mail.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	tls  *tls.Config // it starts with TLS; nil: it does not
}

// dialGate connects, from an address of its own if one is given.
func dialGate(to, from string) (*client, error) {
	d := net.Dialer{Timeout: patience}
	if from != "" {
		a, err := netip.ParseAddr(from)
		if err != nil {
			return nil, err
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *client { return &client{conn: conn, in: bufio.NewReader(conn)} }

// anyServer is for a client to whom all servers are good.
var anyServer = &tls.Config{InsecureSkipVerify: true}

// startTLS goes on under TLS.
func (c *client) startTLS() error {
	config := c.tls
	if config == nil {
		config = anyServer
	}
	secret := tls.Client(c.conn, config)
	secret.SetDeadline(time.Now().Add(patience))
	if err := secret.Handshake(); err != nil {
		return err
	}
	c.conn, c.in = secret, bufio.NewReader(secret)
	return nil
}

// send writes lines at once.
func (c *client) send(lines ...string) error {
	return c.write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
}

func (c *client) write(b []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// mostLines is how many lines a reply may have before a client gives up.
const mostLines = 10_000

var errEndless = errors.New("a reply without an end")

// reply reads a whole reply, its lines joined by LF.
func (c *client) reply() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	var all []string
	for {
		if len(all) > mostLines {
			return "", errEndless
		}
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 3 {
			return "", fmt.Errorf("reply %q", line)
		}
		all = append(all, text)
		if len(text) == 3 || text[3] != '-' {
			return strings.Join(all, "\n"), nil
		}
	}
}

// expect reads a reply, or EOF, that begins as the pattern says.
func (c *client) expect(pattern string) error {
	got, err := c.reply()
	if pattern == "EOF" {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("got %q, %v; want the end", got, err)
	}
	if err != nil {
		return fmt.Errorf("no reply like %s: %w", pattern, err)
	}
	re, err := regexp.Compile("(?s)^(?:" + pattern + ")")
	if err != nil {
		return err
	}
	if !re.MatchString(got) {
		return &unexpected{got, pattern}
	}
	return nil
}

// unexpected is a reply that is not as it should be.
type unexpected struct{ got, want string }

func (e *unexpected) Error() string {
	return fmt.Sprintf("got reply %q, want one like %s", e.got, e.want)
}

// text sends a message's text, without its end.
func (c *client) text(message []byte) error {
	message = wire(message)
	stuffed := bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(message, []byte(".")) {
		stuffed = append([]byte("."), stuffed...)
	}
	return c.write(stuffed)
}

// start says what comes before a message, up to 354.
func (c *client) start() error {
	if err := c.greet(); err != nil {
		return err
	}
	return c.mail("354 ")
}

// mail begins a message in a session that has said EHLO, up to the reply to DATA.
func (c *client) mail(reply string) error {
	return c.ask("MAIL FROM:<alice@client.test>", "250 ", "RCPT TO:<bob@msa.test>", "250 ", "DATA", reply)
}

// greet says who it is, under TLS if it has a configuration for that.
func (c *client) greet() error {
	if err := c.ask("", "220 ", "EHLO client.test", "250"); err != nil {
		return err
	}
	if c.tls != nil {
		if err := c.ask("STARTTLS", "220 "); err != nil {
			return err
		}
		if err := c.startTLS(); err != nil {
			return err
		}
		return c.ask("EHLO client.test", "250")
	}
	return nil
}

// ask says lines, and expects the reply behind each.
func (c *client) ask(steps ...string) error {
	for i := 0; i < len(steps); i += 2 {
		if steps[i] != "" {
			if err := c.send(steps[i]); err != nil {
				return err
			}
		}
		if err := c.expect(steps[i+1]); err != nil {
			return fmt.Errorf("%s: %w", steps[i], err)
		}
	}
	return nil
}

// deliver sends a message in a session of its own and returns the reply to it.
func (c *client) deliver(message []byte) (string, error) {
	if err := c.start(); err != nil {
		return "", err
	}
	return c.finish(message)
}

// finish sends a message's text behind 354 and returns the reply to its end.
func (c *client) finish(message []byte) (string, error) {
	// The answer may come before we have said everything.
	said := make(chan error, 1)
	go func() { said <- errors.Join(c.text(message), c.send(".")) }()
	answer, err := c.reply()
	if serr := <-said; err == nil {
		err = serr
	}
	return answer, err
}

// quit ends a session as it should end.
func (c *client) quit() error {
	if err := c.send("QUIT"); err != nil {
		return err
	}
	return errors.Join(c.expect("221 "), c.expect("EOF"))
}

const mailHead = "From: alice@client.test\nTo: bob@msa.test\nSubject: a story\nDate: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-Id: <1@client.test>\n\n"

// The messages of the stories. Those that scanners look for are put together
// here, or they would look for them in this file.
var (
	cleanMail = mailHead + "Hello Bob.\n.\n..\n. a line with a dot\nBye.\n"
	bigMail   = cleanMail + strings.Repeat(strings.Repeat("A big text. ", 6)+"\n", 4<<20/73) // more than queues on its way
	virusMail = mailHead + `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + "!$H+H*\n"
	spamMail  = mailHead + "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X\n"
)
