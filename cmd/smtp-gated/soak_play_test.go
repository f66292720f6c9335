//go:build linux

// What clients of a long run do. This file owns the kinds of sessions, and how often each
// is had.

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// play is one session of a client, with an address to come from. Errors are what must not
// be; what became of its mails is noted.
type play func(s *soaker, from string) error

// rounds are what a client does in turn. What is rarer on earth is here, too.
var rounds = func() (all []play) {
	for _, k := range []struct {
		times int
		play  play
	}{
		{20, mails(1, (*client).inOrder, good)},
		{4, mails(30, (*client).inOrder, good)},
		{3, mails(10, (*client).pipelined, good)},
		{3, mails(5, (*client).chunked, good)},
		{2, mails(1, (*client).chunked, infected)},
		{3, mails(1, (*client).inOrder, infected)},
		{1, mails(1, (*client).inOrder, longInfected)},
		{1, locked},
		{1, secret},
		{2, leaves},
	} {
		for range k.times {
			all = append(all, k.play)
		}
	}
	// A client that comes later begins elsewhere: neighbours should differ.
	const step = 7
	mixed := make([]play, len(all))
	for i := range all {
		mixed[i] = all[i*step%len(all)]
	}
	return mixed
}()

var (
	good     = verdict{cleanMail, "250"}
	infected = verdict{virusMail, "550"}
	spam     = verdict{spamMail, "550"}
	// longInfected is longer than what the kernel holds of a connection.
	longInfected = verdict{virusMail + strings.Repeat(strings.Repeat("all work and no play ", 3)+"\n", 1<<14), "550"}
)

// enter connects and says EHLO, and again under TLS whoever speaks that.
func (s *soaker) enter(from string) (*client, error) {
	c, err := dialGate(s.address, from)
	if err != nil {
		s.unreached.Add(1)
		return nil, err
	}
	if err = c.expect("220 "); err == nil {
		if err = c.send("EHLO client.test"); err == nil {
			err = c.expect("250")
		}
	}
	if err == nil && (strings.HasPrefix(from, endedFrom) || strings.HasPrefix(from, passedFrom)) {
		err = s.hide(c, from)
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// hide goes on under TLS. Every other session may be one that is resumed.
func (s *soaker) hide(c *client, from string) error {
	count := &s.passed
	if strings.HasPrefix(from, endedFrom) {
		if count = &s.ended; count.Load()%2 == 0 {
			c.tls = s.remembers
		}
	}
	if err := errors.Join(c.send("STARTTLS"), c.expect("220 ")); err != nil {
		return err
	}
	if err := c.startTLS(); err != nil {
		return err
	}
	count.Add(1)
	if c.conn.(*tls.Conn).ConnectionState().DidResume {
		s.resumed.Add(1)
	}
	if err := c.send("EHLO client.test"); err != nil {
		return err
	}
	return c.expect("250")
}

// leave ends a session, if it goes on.
func (c *client) leave(err error) error {
	if err == nil {
		err = c.quit()
	}
	c.conn.Close()
	return err
}

// mail sends a mail in a session and notes what is heard of it.
func (s *soaker) mail(c *client, v verdict, send func(*client, []byte) (string, error)) error {
	var kind mark
	if v.reply != good.reply {
		kind = isBad
	}
	number, text := s.post.stamp(v.message, kind)
	answer, err := send(c, []byte(text))
	s.heard(number, v.reply, answer, err)
	return err
}

// inOrder sends a message, and each command when the one before was answered.
func (c *client) inOrder(message []byte) (string, error) {
	for _, step := range []struct{ say, hear string }{
		{"MAIL FROM:<alice@client.test>", "250 "}, {"RCPT TO:<bob@msa.test>", "250 "}, {"DATA", "354 "},
	} {
		if err := c.send(step.say); err != nil {
			return "", err
		}
		if err := c.expect(step.hear); err != nil {
			return "", err
		}
	}
	return c.finish(message)
}

// pipelined sends all commands at once (RFC 2920).
func (c *client) pipelined(message []byte) (string, error) {
	if err := c.send("RSET", "MAIL FROM:<alice@client.test>", "RCPT TO:<bob@msa.test>", "RCPT TO:<eve@msa.test>", "DATA"); err != nil {
		return "", err
	}
	for _, hear := range []string{"250 ", "250 ", "250 ", "250 ", "354 "} {
		if err := c.expect(hear); err != nil {
			return "", err
		}
	}
	return c.finish(message)
}

// chunked sends a message in two parts (RFC 3030).
func (c *client) chunked(message []byte) (string, error) {
	message = wire(message)
	half := len(message) / 2
	first := fmt.Sprintf("MAIL FROM:<alice@client.test>\r\nRCPT TO:<bob@msa.test>\r\nBDAT %d\r\n%s", half, message[:half])
	if err := c.write([]byte(first)); err != nil {
		return "", err
	}
	for range 3 {
		if err := c.expect("250 "); err != nil {
			return "", err
		}
	}
	if err := c.write(fmt.Appendf(nil, "BDAT %d LAST\r\n%s", len(message)-half, message[half:])); err != nil {
		return "", err
	}
	return c.reply()
}

// mails sends some in one session. Behind a bad one there is no server any more.
func mails(n int, send func(*client, []byte) (string, error), v verdict) play {
	return func(s *soaker, from string) error {
		c, err := s.enter(from)
		if err != nil {
			return err
		}
		for i := 0; i < n && err == nil; i++ {
			err = s.mail(c, v, send)
		}
		return c.leave(err)
	}
}

// locked sends spam, for which its address is locked out, and comes again.
func locked(s *soaker, _ string) error {
	n := s.guests.Add(1) % (1 << 12)
	from := fmt.Sprintf("127.0.%d.%d", 16+n>>8, n&255)
	c, err := s.enter(from)
	if err != nil {
		return err
	}
	if err = c.leave(s.mail(c, spam, (*client).inOrder)); err != nil {
		return err
	}
	caught := time.Now()
	if c, err = dialGate(s.address, from); err != nil {
		return err
	}
	defer c.conn.Close()
	err = c.expect("554 ")
	if time.Since(caught) > 5*time.Second {
		return nil // the lock may be over
	}
	return err
}

// secret sends a mail under TLS, of which the gateway sees nothing.
func secret(s *soaker, from string) error {
	c, err := s.enter(passedFrom + from[len(clearFrom):])
	if err != nil {
		return err
	}
	return c.leave(s.mail(c, good, (*client).inOrder))
}

// leaves goes away in the middle of a message.
func leaves(s *soaker, from string) error {
	c, err := s.enter(from)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	number, text := s.post.stamp(cleanMail, 0)
	s.post.note(number, isCut)
	return errors.Join(c.mail("354 "), c.text([]byte(text)))
}

// idles does nothing until the load is taken away, through whatever happens meanwhile.
func idles(s *soaker, from string) error {
	c, err := s.enter(from)
	if err != nil {
		return err
	}
	<-s.over
	if err = c.send("NOOP"); err == nil {
		err = errors.Join(c.expect("250 "), s.mail(c, good, (*client).inOrder))
	}
	return c.leave(err)
}
