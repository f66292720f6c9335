// The mail server of the demonstration: it takes every mail and remembers what
// became of each connection.

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// fate is what the mail server saw of a client.
type fate int

const (
	untouched fate = iota // no connection
	connected             // one, without a message
	cutOff                // a message that broke off before its end
	delivered
	deliveredTLS
)

func (f fate) String() string {
	return [...]string{untouched: "no connection", connected: "no mail", cutOff: "nothing: cut off", delivered: "the mail", deliveredTLS: "the mail, in TLS"}[f]
}

type mailServer struct {
	*smtp.Server
	port        int
	certificate tls.Certificate

	mu     sync.Mutex
	fates  []fate // of each connection
	open   int
	change chan struct{} // closed at each change
	last   []string      // NAT header of the last mail, a string a line
}

// serverName is what the mail server is called, and its certificate is for.
const serverName = "mail.demo"

func startServer() (*mailServer, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the mail server: %w", err)
	}
	certificate, err := selfSigned(serverName)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("make the mail server's certificate: %w", err)
	}
	m := &mailServer{port: l.Addr().(*net.TCPAddr).Port, certificate: certificate, change: make(chan struct{})}
	m.Server = smtp.NewServer(m)
	m.Domain = serverName
	m.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	m.ReadTimeout = 5 * time.Minute
	m.MaxMessageBytes = 64 << 20
	m.ErrorLog = log.New(io.Discard, "", 0)
	go m.Serve(listener{l, m})
	return m, nil
}

// listener and its connections tell the server of their coming and going: the
// library speaks of a session only after EHLO.
type listener struct {
	net.Listener
	server *mailServer
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &tapped{Conn: c, server: l.server}
	l.server.note(func() {
		t.n = len(l.server.fates)
		l.server.fates = append(l.server.fates, connected)
		l.server.open++
	})
	return t, nil
}

type tapped struct {
	net.Conn
	server *mailServer
	n      int // index of its fate
	once   sync.Once
}

func (t *tapped) Close() error {
	t.once.Do(func() { t.server.note(func() { t.server.open-- }) })
	return t.Conn.Close()
}

func (m *mailServer) note(what func()) {
	m.mu.Lock()
	what()
	close(m.change)
	m.change = make(chan struct{})
	m.mu.Unlock()
}

// seen is how many connections there have been.
func (m *mailServer) seen() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.fates)
}

// since returns the best that came of the connections after the first n.
func (m *mailServer) since(n int) fate {
	m.mu.Lock()
	defer m.mu.Unlock()
	best := untouched
	for _, f := range m.fates[n:] {
		best = max(best, f)
	}
	return best
}

// received is the header field that the gateway put before the last mail.
func (m *mailServer) received() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// settle waits, with patience but not for ever, until the connections are over
// and at least one came, if one is due.
func (m *mailServer) settle(before int, due fate) {
	patience := time.After(5 * time.Second)
	for {
		m.mu.Lock()
		over := m.open == 0 && (due == untouched || len(m.fates) > before)
		change := m.change
		m.mu.Unlock()
		if over {
			return
		}
		select {
		case <-change:
		case <-patience:
			return
		}
	}
}

// NewSession implements smtp.Backend.
func (m *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	conn, fate := c.Conn(), delivered
	if secured, ok := conn.(*tls.Conn); ok {
		conn, fate = secured.NetConn(), deliveredTLS
	}
	t, ok := conn.(*tapped)
	if !ok {
		return nil, fmt.Errorf("%T is no connection of the demonstration", conn)
	}
	return &mailSession{m, t.n, fate}, nil
}

// mailSession is one connection to the mail server.
type mailSession struct {
	server *mailServer
	n      int  // index of its fate
	fate   fate // what that is when a mail has come
}

func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *mailSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *mailSession) Reset()                               {}
func (s *mailSession) Logout() error                        { return nil }

func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.server.note(func() {
		if err != nil {
			s.server.fates[s.n] = max(s.server.fates[s.n], cutOff)
			return
		}
		s.server.fates[s.n] = s.fate
		s.server.last = natHeader(string(text))
	})
	return err
}

// natHeader returns the gateway's header field with the lines that continue it.
func natHeader(mail string) []string {
	var field []string
	for line := range strings.SplitSeq(mail, "\r\n") {
		if field == nil && strings.HasPrefix(line, "X-Nat-Received:") ||
			field != nil && (strings.HasPrefix(line, "\t") || strings.HasPrefix(line, " ")) {
			field = append(field, line)
			continue
		}
		if field != nil || line == "" {
			break
		}
	}
	return field
}
