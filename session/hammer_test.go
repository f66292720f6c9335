package session

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// descriptors counts those that this process has open; 0 where nobody can tell.
func descriptors() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d)
}

// TestNothingIsLeft has hundreds of sessions whose clients and servers vanish at any
// moment, read late or not at all, and say what they like: nothing of them stays.
func TestNothingIsLeft(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*imsg.SessionConfig)
	}{
		{"fixed", func(*imsg.SessionConfig) {}},
		{"quick clock", func(c *imsg.SessionConfig) {
			c.TimeoutIdle, c.TimeoutSession, c.TimeoutDirect = time.Second, time.Second, time.Second
		}},
		{"XCLIENT", func(c *imsg.SessionConfig) { c.Mode = imsg.ModeFixedXclient }},
	} {
		t.Run(tc.name, func(t *testing.T) { hammer(t, tc.change) })
	}
}

func hammer(t *testing.T, change func(*imsg.SessionConfig)) {
	const sessions, together = 200, 60
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := newHouse(t, l.Addr().String(), func(c *imsg.SessionConfig) {
		c.MaxConnections, c.ScanChunks, c.EarlyTalk = sessions, true, false
		c.DNSBL, c.AuthSkip = true, imsg.SkipDNSBL
		c.TakeoverCmds = 1000
		change(c)
	})
	h.set(func() {
		h.uses = 1<<imsg.RateRecipients | 1<<imsg.RateRcptToRejects | 1<<imsg.RateBytes | 1<<imsg.RateAuthRejects
		h.lookup = func(imsg.Message) imsg.Message {
			if rand.IntN(4) == 0 {
				return &imsg.Failure{Errno: imsg.Timeout}
			}
			return &imsg.DNSBLResult{}
		}
	})
	first := h.dial() // the worker is all there once it has served somebody
	first.conn.Close()
	if c, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		c.Close()
	}
	h.seen("the first Leave", func() bool { return len(h.left) == 1 })
	before, open := runtime.NumGoroutine(), descriptors()
	var peers sync.WaitGroup
	peers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			peers.Go(func() { wildServer(c.(*net.TCPConn)) })
		}
	})
	var clients sync.WaitGroup
	turns := make(chan bool, together)
	for range sessions {
		turns <- true
		clients.Go(func() {
			defer func() { <-turns }()
			c, err := net.Dial("tcp4", h.addr)
			if err != nil {
				t.Error(err)
				return
			}
			wildClient(c.(*net.TCPConn))
		})
	}
	clients.Wait()
	h.seen("every Leave", func() bool { return len(h.left) >= 1+sessions })
	l.Close()
	peers.Wait()
	imsgtest.Until(t, "the goroutines before", func() bool { return runtime.NumGoroutine() <= before })
	imsgtest.Until(t, "the descriptors before", func() bool { return descriptors() <= open })
	h.set(func() {
		seen := make(map[uint64]bool)
		for _, n := range h.left {
			if seen[n] {
				t.Errorf("%d left twice", n)
			}
			seen[n] = true
		}
	})
	if parts, _ := filepath.Glob("*.part"); len(parts) > 0 {
		t.Errorf("spool files left: %v", parts)
	}
	if strings.Contains(h.Text(), "BUG") {
		t.Error("a session panicked")
	}
}

func reads(c *net.TCPConn) {
	switch rand.IntN(4) {
	case 0: // never
	case 1:
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		io.Copy(io.Discard, c)
	default:
		io.Copy(io.Discard, c)
	}
}

func ends(c *net.TCPConn) {
	switch rand.IntN(4) {
	case 0:
		c.SetLinger(0)
	case 1:
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		io.Copy(io.Discard, c)
	}
	c.Close()
}

// wildClient says what it likes, and goes.
func wildClient(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(time.Duration(1+rand.IntN(1000)) * time.Millisecond))
	go reads(c)
	text := strings.Repeat("An ordinary line of text.\r\n", 1+rand.IntN(4000))
	words := []string{
		"EHLO c\r\n", "NOOP\r\n", strings.Repeat("NOOP\r\n", 5000), strings.Repeat("BURL x\r\n", 5000), "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", text + ".\r\n", text,
		"BDAT 10\r\n0123456789", "BDAT 20 LAST\r\n01234567890123456789", "BDAT 1000000\r\n" + text, "STARTTLS\r\n", "AUTH PLAIN x\r\n", "RSET\r\n", "QUIT\r\n", "HALF a comm",
	}
	for range rand.IntN(12) {
		if rand.IntN(3) == 0 {
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
		if _, err := io.WriteString(c, words[rand.IntN(len(words))]); err != nil {
			break
		}
	}
	ends(c)
}

// wildServer answers what it likes, and goes.
func wildServer(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(time.Duration(1+rand.IntN(1500)) * time.Millisecond))
	go reads(c)
	words := []string{
		"220 mx ESMTP\r\n", "250-mx\r\n250-CHUNKING\r\n250-XCLIENT ADDR\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "354 go\r\n",
		"550 no\r\n", "334 more\r\n", "235 in\r\n", strings.Repeat("250 ok\r\n", 50), "250-" + strings.Repeat("x", 4000) + "\r\n250 ok\r\n", "421 bye\r\n", "25",
	}
	io.WriteString(c, "220 mx ESMTP\r\n")
	for range rand.IntN(30) {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		if _, err := io.WriteString(c, words[rand.IntN(len(words))]); err != nil {
			break
		}
	}
	ends(c)
}
