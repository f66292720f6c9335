// A wiretap: what a client says on its way to a server, and how it is read as
// commands and chunks.

package session

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// tap passes connections on and keeps what is said to the far side.
type tap struct {
	addr string

	mu   sync.Mutex
	said []string // one a connection
	live sync.WaitGroup
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tap{addr: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.live.Add(1)
			go p.pass(near.(*net.TCPConn), to)
		}
	}()
	return p
}

func (p *tap) pass(near *net.TCPConn, to string) {
	defer p.live.Done()
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
	p.mu.Lock()
	p.said = append(p.said, said.String())
	p.mu.Unlock()
}

// last is what was said in the last connection; there must be n of them, all over.
func (p *tap) last(t *testing.T, n int) wire {
	t.Helper()
	p.live.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) != n {
		t.Fatalf("%d connections, want %d", len(p.said), n)
	}
	return read(t, p.said[n-1])
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
