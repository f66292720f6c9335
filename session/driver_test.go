package session

import (
	"bytes"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// processorTime is the processor time that this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestWaitingCostsNothing: neither side is read while lockd thinks about a refusal that
// the client waits for, and nobody wakes anybody meanwhile.
func TestWaitingCostsNothing(t *testing.T) {
	const wait = 400 * time.Millisecond
	r := quotas(t, nil, nil, imsg.RateAuthRejects)
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("AUTH PLAIN AGEAYg==\r\n")
	r.set(func() { r.holds = true })
	r.server.say("535 no\r\n")
	r.seen("the question", func() bool { return len(r.held) == 1 })
	before := processorTime(t)
	time.Sleep(wait)
	if used := processorTime(t) - before; used > wait/2 {
		t.Errorf("%v of processor time in %v", used, wait)
	}
	family.Answer(r.held[0], &imsg.QuotaResult{QuotaUse: *r.held[0].Message.(*imsg.QuotaUse)})
	r.client.hears("535 no\r\n")
}

// TestBufferedCommand: a command that has been read off the connection is decided on,
// though its client has closed its half before anything more of it could be looked at.
func TestBufferedCommand(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("NOOP 1\r\n")
	// More than the client takes: the replies that are behind wait in the gateway.
	long := strings.Repeat("250-"+strings.Repeat("x", 1018)+"\r\n", 16)
	said := make(chan int, 1)
	go func() {
		n := 0
		r.server.conn.SetWriteDeadline(time.Now().Add(time.Second))
		for err := error(nil); err == nil; {
			var k int
			k, err = io.WriteString(r.server.conn, long)
			n += k
		}
		said <- n
	}()
	n := <-said
	r.client.say("NOOP 2\r\n")
	r.client.conn.(*net.TCPConn).CloseWrite()
	time.Sleep(4 * lookInterval)
	r.server.conn.SetWriteDeadline(time.Time{})
	go io.WriteString(r.server.conn, (long + long)[n%len(long):]+"250 end\r\n")
	go io.Copy(io.Discard, r.client.r)
	r.server.hears("NOOP 2\r\n")
}

// TestServerEndsFirst: what becomes of the server does not wait for a client that does
// not listen.
func TestServerEndsFirst(t *testing.T) {
	w, _ := refusing(t)
	conn, other := connected(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	small := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
		return err
	}}
	client, err := small.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{w: w}
	in.(*net.TCPConn).SetWriteBuffer(1)
	s.open(t, &s.client, in)
	s.facts = relay.Facts{Config: config("127.0.0.1:1"), Rules: new(relay.Rules), Client: addrPort(client.LocalAddr())}
	s.open(t, &s.server, other)
	server := newTalker(t, "server", conn)
	w.open++
	s.refs.Store(1)
	s.start(relay.New(&s.facts, s))
	s.unref()
	server.say("220 mx.example\r\n")
	c := newTalker(t, "client", client)
	c.hears("220 mx.example\r\n")
	c.say("NOOP\r\n")
	server.hears("NOOP\r\n")
	server.say(strings.Repeat("250-"+strings.Repeat("x", 1018)+"\r\n", 24) + "250 ok\r\n554 enough\r\n")
	server.end()
	client.Close()
	imsgtest.Until(t, "the place", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.open == 0
	})
}

// TestFirehoses: clients that never stop talking, to a server that always answers, keep
// nobody else from it.
func TestFirehoses(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, "220 mx.example\r\n")
				buf, answers := make([]byte, 32<<10), bytes.Repeat([]byte("250 ok\r\n"), 32<<10/len("NOOP\r\n")+1)
				for part := 0; ; {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					whole := (part + n) / len("NOOP\r\n")
					part = (part + n) % len("NOOP\r\n")
					if _, err := c.Write(answers[:whole*len("250 ok\r\n")]); err != nil {
						return
					}
				}
			}()
		}
	}()
	h := newHouse(t, l.Addr().String(), func(c *imsg.SessionConfig) { c.EarlyTalk, c.PipelineSize = false, 1<<20 })
	noops := bytes.Repeat([]byte("NOOP\r\n"), 10_000)
	for range 4 {
		c, err := net.Dial("tcp4", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go io.Copy(io.Discard, c)
		go func() {
			for err := error(nil); err == nil; {
				_, err = c.Write(noops)
			}
		}()
	}
	for range 20 {
		c := h.dial()
		c.hears("220 mx.example\r\n")
		c.say("NOOP\r\n")
		c.hears("250 ok\r\n")
		c.conn.Close()
	}
}
