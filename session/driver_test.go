package session

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
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
	r.set(func() {
		r.server.say("535 no\r\n")
		time.Sleep(wait / 2) // it was asked by now
		before := processorTime(t)
		time.Sleep(wait)
		if used := processorTime(t) - before; used > wait/2 {
			t.Errorf("%v of processor time in %v", used, wait)
		}
	})
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
