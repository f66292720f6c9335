package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// msa is the mail server behind the gateway: strict, with a mailbox, and with a
// memory for what was said to it.
type msa struct {
	features []string // words of the command server
	listener net.Listener
	post     *post    // knows the mails of crowds, which go into no mailbox
	manners  *manners // how it misbehaves, and where: greeting, a verb, text, end

	mu      sync.Mutex
	mails   []string
	said    []string  // "N from ADDRESS" and every command, N being its connection
	writing int       // messages under way
	answers chan bool // nil, or what the answer to each waits for
	next    int
	faults  []error // breaches of the protocol by the gateway
	conns   map[net.Conn]bool
}

// startMSA starts a server. The features are tls, auth, logins, xclient, v6, and mute: it takes
// connections and says nothing; full: its queue is full; narrow: little waits to be read
// by it; forgets: it does not keep what was said to it.
func startMSA(features ...string) (*msa, error) {
	m := &msa{features: features, post: new(post), manners: new(manners), conns: map[net.Conn]bool{}}
	address := "127.0.0.1:0"
	if m.has("v6") {
		address = "[::1]:0"
	}
	var err error
	if m.listener, err = net.Listen("tcp", address); err != nil {
		return nil, err
	}
	if m.has("full") {
		return m, m.fill()
	}
	go m.accept(m.listener)
	return m, nil
}

func (m *msa) has(feature string) bool { return slices.Contains(m.features, feature) }

func (m *msa) port() int { return m.listener.Addr().(*net.TCPAddr).Port }

// fill makes the kernel drop further connections: the queue is as short as can
// be, and nobody takes any out.
func (m *msa) fill() error {
	raw, err := m.listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) })
	for err == nil {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", m.listener.Addr().String(), 300*time.Millisecond); err == nil {
			m.keep(c)
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return err
}

// hear keeps what was said in a connection. The lock is held.
func (m *msa) hear(number int, what string) {
	if !m.has("forgets") {
		m.said = append(m.said, fmt.Sprintf("%d %s", number, what))
	}
}

func (m *msa) keep(c net.Conn) {
	m.mu.Lock()
	m.conns[c] = true
	m.mu.Unlock()
}

// shut closes the door and ends every session.
func (m *msa) shut() error {
	m.stop()
	// A process that is just being started has the listener, too, until its exec.
	return eventually("the server is there still", func() bool {
		c, err := net.Dial("tcp", m.listener.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// open opens it again, where it was.
func (m *msa) open() (err error) {
	m.listener, err = net.Listen("tcp", m.listener.Addr().String())
	if err == nil {
		go m.accept(m.listener)
	}
	return err
}

// stop ends the server and every session with it.
func (m *msa) stop() {
	m.listener.Close()
	m.mu.Lock()
	for c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
}

func (m *msa) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		m.keep(c)
		if m.has("mute") {
			continue
		}
		if m.has("narrow") {
			c.(*net.TCPConn).SetReadBuffer(16 << 10)
		}
		m.mu.Lock()
		m.next++
		m.hear(m.next, fmt.Sprint("from ", c.RemoteAddr().(*net.TCPAddr).IP))
		s := &service{msa: m, number: m.next, conn: c, in: bufio.NewReaderSize(c, 64<<10)}
		m.mu.Unlock()
		go func() {
			defer func() {
				s.conn.Close()
				m.mu.Lock()
				delete(m.conns, c)
				m.mu.Unlock()
			}()
			if m.has("proxy") {
				if _, err := proxyproto.Read(s.in); err != nil {
					return
				}
			}
			if err := s.serve(); err != nil {
				m.mu.Lock()
				m.faults = append(m.faults, fmt.Errorf("server connection %d: %w", s.number, err))
				m.mu.Unlock()
			}
		}()
	}
}

// check tells what the gateway did that no client may.
func (m *msa) check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.faults...)
}

// box waits until nothing is under way and returns all mails.
func (m *msa) box() ([]string, error) {
	var mails []string
	err := eventually("a message is still under way to the server", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		mails = slices.Clone(m.mails)
		return m.writing == 0
	})
	return mails, err
}

// saw waits for a command.
func (m *msa) saw(pattern string, want bool) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	found := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.ContainsFunc(m.said, re.MatchString)
	}
	if !want {
		if found() {
			return fmt.Errorf("the server got a command like %s", pattern)
		}
		return nil
	}
	return eventually("the server got no command like "+pattern, found)
}

// service is one connection to the server.
type service struct {
	*msa
	number int
	conn   net.Conn
	in     *bufio.Reader
	secret bool            // under TLS
	at     string          // the point it is at
	chunks strings.Builder // of the message under way
}

// errCut says that the client went away, as it may.
var errCut = errors.New("cut off")

// line reads a line as RFC 5321 has it: CR and LF only together.
func (s *service) line() (string, error) {
	line, err := s.in.ReadString('\n')
	if err != nil {
		return "", errCut
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("line %q", line)
	}
	return text, nil
}

func (s *service) say(lines ...string) {
	how, over := s.manners.meet(s.at)
	s.misbehave(how, over, strings.Join(lines, "\r\n")+"\r\n")
}

func (s *service) serve() error {
	s.at = "greeting"
	s.say("220 msa.test ESMTP")
	for {
		line, err := s.line()
		if err == errCut {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.hear(s.number, line)
		s.mu.Unlock()
		verb, arg, _ := strings.Cut(line, " ")
		s.at = strings.ToUpper(verb)
		switch s.at {
		case "EHLO":
			s.say(s.offer()...)
		case "RSET":
			s.chunks.Reset()
			s.say("250 ok")
		case "HELO", "NOOP":
			s.say("250 ok")
		case "MAIL", "RCPT":
			if strings.Contains(arg, "<refused@") {
				s.say("550 5.1.1 not here")
				continue
			}
			s.say("250 2.1.0 " + strings.ToLower(verb) + " ok")
		case "DATA":
			if err := s.data(); err != nil {
				return err
			}
		case "BDAT":
			if err := s.chunk(arg); err != nil {
				return err
			}
		case "AUTH":
			if s.has("logins") {
				if err := s.authenticate(arg); err != nil {
					return err
				}
				continue
			}
			if arg == "PLAIN good" {
				s.say("235 2.7.0 welcome")
				continue
			}
			s.say("535 5.7.8 no")
		case "STARTTLS":
			if !s.has("tls") || s.secret {
				s.say("502 no")
				continue
			}
			s.say("220 go ahead")
			c := tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{certificate()}})
			s.conn, s.in, s.secret = c, bufio.NewReader(c), true
		case "XCLIENT":
			s.say("220 msa.test ESMTP")
		case "SLEEP": // a server that does not answer
		case "QUIT":
			s.say("221 bye")
			return nil
		default:
			s.say("500 what")
		}
	}
}

func (s *service) offer() []string {
	lines := []string{"250-msa.test", "250-PIPELINING", "250-SIZE 100000000", "250-8BITMIME", "250-CHUNKING", "250-ENHANCEDSTATUSCODES"}
	if s.has("tls") && !s.secret {
		lines = append(lines, "250-STARTTLS")
	}
	if s.has("xclient") {
		lines = append(lines, "250-XCLIENT ADDR")
	}
	if s.has("auth") {
		lines = append(lines, "250-AUTH PLAIN")
	}
	if s.has("logins") {
		lines = append(lines, "250-AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER")
	}
	return append(lines, "250 HELP")
}

// data takes a message. Nothing but a whole one gets into the mailbox.
func (s *service) data() error {
	s.mu.Lock()
	s.writing++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.writing--
		s.mu.Unlock()
	}()
	s.say("354 go on")
	s.at = "text"
	if how, over := s.manners.meet(s.at); how != "" {
		s.misbehave(how, over, "")
	}
	var text strings.Builder
	for {
		line, err := s.line()
		if err == errCut {
			return nil
		}
		if err != nil {
			return err
		}
		if line == "." {
			break
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	s.deliver(text.String())
	return nil
}

// chunk takes a part of a message (RFC 3030), and the message with the last.
func (s *service) chunk(arg string) error {
	size, last := strings.CutSuffix(arg, " LAST")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return fmt.Errorf("BDAT %q", arg)
	}
	if _, err := io.CopyN(&s.chunks, s.in, n); err != nil {
		return nil // cut off
	}
	if !last {
		s.say("250 2.0.0 go on")
		return nil
	}
	s.deliver(s.chunks.String())
	s.chunks.Reset()
	return nil
}

// deliver puts a whole message into the mailbox and says so.
func (s *service) deliver(text string) {
	s.at = "end"
	how, over := s.manners.meet(s.at)
	if how == "refuses" {
		s.misbehave(how, over, "")
		return
	}
	numbered := s.post.take(text)
	s.mu.Lock()
	if !numbered {
		s.mails = append(s.mails, text)
	}
	answers := s.answers
	s.mu.Unlock()
	if answers != nil {
		<-answers
	}
	s.misbehave(how, over, "250 2.0.0 taken\r\n")
}

// certificate is good for a server nobody checks.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"msa.test"}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// split takes a delivered mail apart: the gateway's header field, and the rest.
func split(mail string) (header, rest string) {
	lines := strings.SplitAfter(mail, "\r\n")
	n := 0
	if strings.HasPrefix(lines[0], "X-Nat-Received:") || strings.Contains(lines[0], "[ident-empty]") {
		n = 1
		for n < len(lines) && strings.HasPrefix(lines[n], "\t") {
			n++
		}
	}
	return strings.Join(lines[:n], ""), strings.Join(lines[n:], "")
}

// wire gives a text the line ends of the wire.
func wire(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}
