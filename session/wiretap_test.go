// A wiretap: what a client says on its way to a server, and how it is read as
// commands and chunks.

package session

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// tap passes connections on and keeps what is said to the far side.
type tap struct {
	addr  string
	heard chan string // what was said in a connection that is over
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tap{addr: l.Addr().String(), heard: make(chan string, 16)}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(near.(*net.TCPConn), to)
		}
	}()
	return p
}

func (p *tap) pass(near *net.TCPConn, to string) {
	defer near.Close()
	conn, err := net.Dial("tcp4", to)
	if err != nil {
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	var said strings.Builder
	over := make(chan bool)
	go func() {
		io.Copy(near, far)
		near.CloseWrite()
		close(over)
	}()
	io.Copy(far, io.TeeReader(near, &said))
	far.CloseWrite()
	<-over
	p.heard <- said.String()
}

// next waits for the end of one more connection, and is what was said in it.
func (p *tap) next(t *testing.T) wire {
	t.Helper()
	return read(t, imsgtest.Receive(t, "a connection's end", p.heard))
}

// wire is what a client said.
type wire struct {
	commands []string
	chunks   []string
}

func read(t *testing.T, said string) (w wire) {
	t.Helper()
	for text := false; said != ""; {
		line, rest, found := strings.Cut(said, "\r\n")
		if !found {
			t.Fatalf("half a line: %.100q", said)
		}
		said = rest
		if text {
			text = line != "."
			continue
		}
		w.commands = append(w.commands, line)
		words := strings.Fields(strings.ToUpper(line))
		text = words[0] == "DATA"
		if words[0] == "BDAT" {
			n, err := strconv.Atoi(words[1])
			if err != nil || n > len(said) {
				t.Fatalf("%q, and %d octets follow", line, len(said))
			}
			w.chunks = append(w.chunks, said[:n])
			said = said[n:]
		}
	}
	return w
}

func (w wire) has(verb string) bool {
	for _, c := range w.commands {
		if first, _, _ := strings.Cut(c, " "); strings.EqualFold(first, verb) {
			return true
		}
	}
	return false
}
