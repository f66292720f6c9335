// A session of the command bench: it says what a client says, and counts what it hears.
// This file owns the client's side of SMTP. Each step has a time limit, and a reply a size.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// longestReply is of how many octets one may be, with all of its lines.
	longestReply = 16 << 10
	// lastPiece is what of a message is written at last, and its end with it: from there
	// to the reply is how long the end of a message takes.
	lastPiece = 16 << 10
	// chunkSize is the most that a BDAT carries.
	chunkSize = 256 << 10
)

// tlsUse is when a client begins TLS.
type tlsUse string

const (
	tlsNone  tlsUse = "none"
	tlsMay   tlsUse = "may"   // by STARTTLS, where it is offered
	tlsMust  tlsUse = "must"  // else it is an error
	tlsFirst tlsUse = "first" // from the first octet
)

// phrases are what each session says, made once.
type phrases struct {
	ehlo, mail, rcpt, data, text, startTLS, noop, quit []byte
	chunks                                             [][]byte // BDAT and what it carries
}

func newPhrases(from, to string, size int) phrases {
	text := benchMail(from, to, size)
	p := phrases{
		ehlo: []byte("EHLO client.bench.invalid\r\n"),
		mail: []byte("MAIL FROM:<" + from + ">\r\n"),
		rcpt: []byte("RCPT TO:<" + to + ">\r\n"),
		data: []byte("DATA\r\n"), text: append(text[:len(text):len(text)], ".\r\n"...),
		startTLS: []byte("STARTTLS\r\n"), noop: []byte("NOOP\r\n"), quit: []byte("QUIT\r\n"),
	}
	for len(text) > chunkSize {
		p.chunks = append(p.chunks, fmt.Appendf(nil, "BDAT %d\r\n%s", chunkSize, text[:chunkSize]))
		text = text[chunkSize:]
	}
	p.chunks = append(p.chunks, fmt.Appendf(nil, "BDAT %d LAST\r\n%s", len(text), text))
	return p
}

// benchMail makes a message of so many octets, or of as few as its header needs. No line of
// it begins with a dot.
func benchMail(from, to string, size int) []byte {
	text := []byte("From: " + from + "\r\nTo: " + to + "\r\nSubject: bench\r\n\r\n")
	const line = "What is sent to be counted is as long as what is sent to be read.\r\n"
	for len(text)+2*len(line) < size {
		text = append(text, line...)
	}
	for left := size - len(text) - 2; left > 0; left-- {
		text = append(text, 'x')
		if left > 900 && left%900 == 0 {
			text = append(text, "\r\n"...)
			left -= 2
		}
	}
	return append(text, "\r\n"...)
}

// client is one session.
type client struct {
	*wire
	*generator
	step     string // what is under way, for an error
	starttls bool   // is offered
	chunking bool
}

// failure is what went otherwise than asked.
type failure struct {
	mishap
	text string // the reply, or the error
	over bool   // nothing more can be said
}

func (f failure) Error() string { return f.step + " " + f.what + ": " + f.text }

// open connects a session and brings it to where it may send. How long it took to the
// greeting goes into a histogram.
func (g *generator) open(greeting *histogram) (*client, error) {
	start := time.Now()
	c := &client{generator: g, step: "connect"}
	network := "tcp6"
	if g.target.Addr().Is4() {
		network = "tcp4"
	}
	conn, err := g.dialer.DialTCP(context.Background(), network, netip.AddrPortFrom(g.sourceOf(g.opened.Add(1)-1), 0), g.target)
	if err != nil {
		return nil, c.failed(err)
	}
	c.wire = newWire(conn)
	err = c.welcome()
	if err == nil {
		greeting.add(time.Since(start))
		err = c.introduce()
	}
	if err != nil {
		c.leave(err)
		return nil, err
	}
	return c, nil
}

// sourceOf is where the nth session comes from; none leaves it to the kernel.
func (g *generator) sourceOf(n int64) netip.Addr {
	if !g.source.IsValid() {
		return netip.Addr{}
	}
	first := g.source.Masked().Addr()
	if g.source.IsSingleIP() {
		return first
	}
	// Neither the network's own address nor that for all of it.
	hosts := uint32(1)<<(32-g.source.Bits()) - 2
	if hosts == 0 {
		return first
	}
	a := first.As4()
	host := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	host += 1 + uint32(n%int64(hosts))
	return netip.AddrFrom4([4]byte{byte(host >> 24), byte(host >> 16), byte(host >> 8), byte(host)})
}

func (c *client) welcome() error {
	if c.tls == tlsFirst {
		if err := c.beginTLS(); err != nil {
			return err
		}
	}
	c.step = "greeting"
	if err := c.limit(); err != nil {
		return c.failed(err)
	}
	return c.reply(220)
}

// introduce says EHLO, and begins TLS if that is asked for.
func (c *client) introduce() error {
	if err := c.say("EHLO", c.phrases.ehlo, 250); err != nil {
		return err
	}
	switch {
	case c.tls == tlsMust && !c.starttls:
		return failure{mishap{"STARTTLS", "not offered"}, "EHLO was answered without it", false}
	case (c.tls == tlsMust || c.tls == tlsMay) && c.starttls:
		if err := c.say("STARTTLS", c.phrases.startTLS, 220); err != nil {
			return err
		}
		if err := c.beginTLS(); err != nil {
			return err
		}
		c.starttls, c.chunking = false, false
		if err := c.say("EHLO", c.phrases.ehlo, 250); err != nil {
			return err
		}
	}
	if c.bdat && !c.chunking {
		return failure{mishap{"BDAT", "not offered"}, "EHLO was answered without CHUNKING", false}
	}
	return nil
}

// beginTLS trusts whatever certificate is shown: what is measured is the work.
func (c *client) beginTLS() error {
	c.step = "TLS"
	if err := c.limit(); err != nil {
		return c.failed(err)
	}
	start := time.Now()
	conn := tls.Client(c.Conn, c.tlsConfig)
	if err := c.secure(conn); err != nil {
		return c.failed(err)
	}
	c.tally.handshake.add(time.Since(start))
	c.tally.tls.Add(1)
	if conn.ConnectionState().DidResume {
		c.tally.resumed.Add(1)
	}
	return nil
}

// mail sends one.
func (c *client) mail() error {
	if err := c.say("MAIL", c.phrases.mail, 250); err != nil {
		return err
	}
	if err := c.say("RCPT", c.phrases.rcpt, 250); err != nil {
		return err
	}
	if c.bdat {
		for _, chunk := range c.phrases.chunks[:len(c.phrases.chunks)-1] {
			if err := c.say("BDAT", chunk, 250); err != nil {
				return err
			}
		}
		return c.text("BDAT LAST", c.phrases.chunks[len(c.phrases.chunks)-1])
	}
	if err := c.say("DATA", c.phrases.data, 354); err != nil {
		return err
	}
	return c.text("end of data", c.phrases.text)
}

// text sends what ends a message and hears what became of that.
func (c *client) text(step string, text []byte) error {
	c.step = "text"
	if err := c.limit(); err != nil {
		return c.failed(err)
	}
	last := max(len(text)-lastPiece, 0)
	if last > 0 {
		if _, err := c.Write(text[:last]); err != nil {
			return c.failed(err)
		}
	}
	start := time.Now()
	if err := c.say(step, text[last:], 250); err != nil {
		return err
	}
	c.tally.endOfData.add(time.Since(start))
	c.tally.done.mails.Add(1)
	c.tally.octets.Add(int64(c.octets))
	return nil
}

// say sends a command and hears the reply it is to have.
func (c *client) say(step string, command []byte, want int) error {
	c.step = step
	if err := c.limit(); err != nil {
		return c.failed(err)
	}
	if _, err := c.Write(command); err != nil {
		return c.failed(err)
	}
	return c.reply(want)
}

// limit begins the time that a step may take, with all it reads and writes.
func (c *client) limit() error { return c.SetDeadline(time.Now().Add(c.timeout)) }

// reply hears one, RFC 5321, 4.2.
func (c *client) reply(want int) error {
	first := ""
	for size := 0; size < longestReply; {
		line, err := c.line()
		if err != nil {
			return c.failed(err)
		}
		size += len(line) + 1
		code, more := replyCode(line)
		if code == 0 {
			return failure{mishap{c.step, "no reply"}, excerpt(line), true}
		}
		switch {
		case code != want && first == "":
			first = excerpt(line)
		case c.step == "EHLO" && len(line) > 4:
			c.offered(line[4:])
		}
		if more {
			continue
		}
		if code != want {
			return failure{mishap{c.step, strconv.Itoa(code)}, first, false}
		}
		return nil
	}
	return failure{mishap{c.step, "endless reply"}, first, true}
}

// replyCode reads how a line of a reply begins; 0 if it is none.
func replyCode(line []byte) (code int, more bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' || line[2] < '0' || line[2] > '9' {
		return 0, false
	}
	if len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false
	}
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'), len(line) > 3 && line[3] == '-'
}

func excerpt(line []byte) string { return short(clean(string(line))) }

func (c *client) offered(keyword []byte) {
	switch {
	case strings.EqualFold(string(keyword), "STARTTLS"):
		c.starttls = true
	case strings.EqualFold(string(keyword), "CHUNKING"):
		c.chunking = true
	}
}

// leave ends a session that went well, or after what did not, and tells whether it has gone
// well to the end.
func (c *client) leave(err error) bool {
	defer c.close()
	var f failure
	if errors.As(err, &f) && f.over {
		return false
	}
	// One that was refused goes in good manners: what is answered is no news.
	farewell := c.say("QUIT", c.phrases.quit, 221)
	if farewell != nil && err == nil {
		c.count(farewell)
	}
	return farewell == nil && err == nil
}

// failed is what an error of the connection is called.
func (c *client) failed(err error) error {
	var timeout interface{ Timeout() bool }
	what := "failed"
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		what = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = "closed"
	case errors.Is(err, errLongLine):
		what = "endless reply"
	default:
		for _, known := range []struct {
			errno syscall.Errno
			what  string
		}{
			{syscall.ECONNRESET, "reset"},
			{syscall.EPIPE, "closed"},
			{syscall.ECONNREFUSED, "refused"},
			{syscall.EADDRNOTAVAIL, "no such source"},
			{syscall.EMFILE, "no descriptor left"},
		} {
			if errors.Is(err, known.errno) {
				what = known.what
			}
		}
	}
	return failure{mishap{c.step, what}, short(clean(err.Error())), true}
}

// count tells the tally what went wrong.
func (g *generator) count(err error) {
	var f failure
	if errors.As(err, &f) {
		g.tally.mishap(f.mishap, f.text)
	}
}
