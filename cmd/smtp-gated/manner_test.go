package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// manners are how the servers of a story misbehave: the mail server at a point of its
// sessions, a scanner, or a name server.
type manners struct {
	mu   sync.Mutex
	how  string
	at   string
	met  int           // times somebody met it
	over chan struct{} // closed when it behaves again
}

// behave has what is at this place misbehave so from now on. No how: it is well again.
func (m *manners) behave(how, at string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over != nil {
		close(m.over)
	}
	m.how, m.at, m.met, m.over = how, at, 0, make(chan struct{})
}

// meet tells how what is at this place behaves, "" if well, and what is closed when it no
// more does.
func (m *manners) meet(at string) (how string, over <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.how == "" || m.at != at {
		return "", nil
	}
	m.met++
	return m.how, m.over
}

// wasMet waits until it has been met so often.
func (m *manners) wasMet(times int) error {
	return eventually(fmt.Sprintf("nobody meets what %s at %s", m.how, m.at), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.met >= times
	})
}

// misbehave says a reply, or what is said instead.
func (s *service) misbehave(how string, over <-chan struct{}, reply string) {
	switch how {
	case "refuses":
		reply = "451 4.3.2 msa.test is not well\r\n"
	case "hangs":
		<-over
	case "resets":
		if c, ok := s.conn.(*net.TCPConn); ok {
			c.SetLinger(0)
		}
		s.conn.Close()
	case "half-closes":
		s.conn.(interface{ CloseWrite() error }).CloseWrite()
	case "talks":
		reply += "250 2.0.0 msa.test likes to talk\r\n"
	case "babbles":
		reply = "\x00\xff babble\r\n" + reply
	case "hides-tls":
		reply = strings.Replace(reply, "250-STARTTLS\r\n", "", 1)
	case "hides-xclient":
		reply = strings.Replace(reply, "250-XCLIENT ADDR\r\n", "", 1)
	case "demands-tls":
		reply = "530 5.7.0 Must issue a STARTTLS command first\r\n"
	case "goes-on":
		// Up to its end a reply has one code.
		code := append([]byte(reply[:min(3, len(reply))]), "250"[min(3, len(reply)):]...)
		for line := string(code) + "-msa.test goes on and on\r\n"; !isOver(over); {
			if _, err := io.WriteString(s.conn, line); err != nil {
				return
			}
		}
	}
	io.WriteString(s.conn, reply)
}

// isOver tells whether a channel is closed.
func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
