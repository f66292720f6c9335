// The sink of the command bench: a mail server that takes everything, keeps nothing and
// counts. This file owns its side of SMTP.

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// sinkQuiet is how long a client may say nothing: longer than anybody holds idle ones.
	sinkQuiet = time.Hour
	// sinkPause is between two tries to accept when descriptors have run out.
	sinkPause = 10 * time.Millisecond
)

// sink counts what it took before it says so: no mail is accepted that is not counted.
type sink struct {
	listener net.Listener
	tls      *tls.Config

	sessions, mails, octets, secured, broken atomic.Int64
}

// sinkResult is what a sink has seen: its fields are the JSON form.
type sinkResult struct {
	Sessions int64 `json:"sessions"`
	TLS      int64 `json:"tls"`
	Mails    int64 `json:"mails"`
	Octets   int64 `json:"octets"`
	Broken   int64 `json:"broken_off"` // messages without an end
}

func (s *sink) result() *sinkResult {
	return &sinkResult{s.sessions.Load(), s.secured.Load(), s.mails.Load(), s.octets.Load(), s.broken.Load()}
}

// newSink listens at an address; serve answers.
func newSink(address string) (*sink, error) {
	certificate, err := selfSigned("sink.bench.invalid")
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &sink{listener: l, tls: &tls.Config{Certificates: []tls.Certificate{certificate}}}, nil
}

// selfSigned makes a certificate that nobody should trust; its key is nowhere but in memory.
func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	text, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{text}, PrivateKey: key}, err
}

// serve answers clients until the listener is closed.
func (s *sink) serve() {
	for {
		c, err := s.listener.Accept()
		switch {
		case err == nil:
			s.sessions.Add(1)
			go s.answer(c)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(sinkPause)
		}
	}
}

func (s *sink) close() { s.listener.Close() }

// writeCertificate writes the certificate that clients are shown to a new file, in PEM.
func (s *sink) writeCertificate(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, certificateBlock(s.tls.Certificates[0])), f.Close())
}

// certificateBlock is the one certificate of a chain of one.
func certificateBlock(c tls.Certificate) *pem.Block {
	return &pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}
}

// sinkSession is one client.
type sinkSession struct {
	*wire
	sink    *sink
	secured bool
	chunks  int64  // octets of a message that comes in chunks
	out     []byte // replies that are not sent yet: those to a group go together, RFC 2920, 3.2
}

var (
	errQuit      = errors.New("the client has said QUIT")
	errBrokenOff = errors.New("a message broke off")
)

func (s *sink) answer(c net.Conn) {
	one := sinkSession{wire: newWire(c), sink: s}
	one.quiet = sinkQuiet
	defer one.close()
	one.say("220 sink.bench.invalid ESMTP")
	for {
		if !one.lineAhead() && one.flush() != nil {
			return
		}
		line, err := one.line()
		if err == nil {
			err = one.command(line)
		}
		if err != nil {
			if one.chunks > 0 || errors.Is(err, errBrokenOff) {
				s.broken.Add(1)
			}
			one.flush()
			return
		}
	}
}

func (s *sinkSession) say(reply string) { s.out = append(append(s.out, reply...), "\r\n"...) }

func (s *sinkSession) flush() error {
	_, err := s.Write(s.out)
	s.out = s.out[:0]
	return err
}

// command answers one; an error ends the session.
func (s *sinkSession) command(line []byte) error {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	var verb [len("STARTTLS") + 1]byte // one more, or it would be what begins with it, too
	n := copy(verb[:], word)
	for i, c := range verb {
		if 'a' <= c && c <= 'z' {
			verb[i] = c - 'a' + 'A'
		}
	}
	switch string(verb[:n]) {
	case "EHLO":
		s.say("250-sink.bench.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING")
		if !s.secured {
			s.say("250-STARTTLS")
		}
		s.say("250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	case "DATA":
		s.say("354 go on")
		if err := s.flush(); err != nil {
			return err
		}
		octets, err := s.skipText()
		if err != nil {
			return fmt.Errorf("%w: %w", errBrokenOff, err)
		}
		s.took(octets)
	case "BDAT":
		return s.chunk(rest)
	case "HELO", "MAIL", "RCPT", "NOOP":
		s.say("250 ok")
	case "RSET":
		s.chunks = 0
		s.say("250 ok")
	case "STARTTLS":
		return s.startTLS()
	case "XCLIENT":
		s.say("220 sink.bench.invalid ESMTP")
	case "QUIT":
		s.say("221 bye")
		return errQuit
	default:
		s.say("500 unknown command")
	}
	return nil
}

func (s *sinkSession) took(octets int64) {
	s.sink.mails.Add(1)
	s.sink.octets.Add(octets)
	s.say("250 taken")
}

// chunk takes one, RFC 3030, 2.
func (s *sinkSession) chunk(arguments []byte) error {
	size, word, _ := bytes.Cut(arguments, []byte(" "))
	last := bytes.EqualFold(word, []byte("LAST")) // the line goes with what is read behind it
	n, err := strconv.ParseInt(string(size), 10, 64)
	if err != nil || n < 0 {
		s.say("501 no size of a chunk")
		return errBrokenOff // what follows is no command
	}
	if err := s.skip(n); err != nil {
		return fmt.Errorf("%w: %w", errBrokenOff, err)
	}
	s.chunks += n
	if last {
		s.took(s.chunks)
		s.chunks = 0
		return nil
	}
	s.say("250 go on")
	return nil
}

func (s *sinkSession) startTLS() error {
	if s.secured {
		s.say("503 TLS is there")
		return nil
	}
	s.say("220 begin")
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.secure(tls.Server(s.Conn, s.sink.tls)); err != nil {
		return err
	}
	s.secured = true
	s.sink.secured.Add(1)
	return nil
}
