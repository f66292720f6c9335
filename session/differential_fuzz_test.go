// The relay as a whole under octets nobody chose, from either side.

package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// cutBy cuts a stream into pieces whose lengths the octets of cuts give, over and over.
func cutBy(cuts []byte) cutting {
	i := 0
	return cutting{name: "cut by the fuzzer", next: func(_ *rand.Rand, rest int) int {
		if len(cuts) == 0 {
			return rest
		}
		i++
		return min(rest, 1+int(cuts[i%len(cuts)]))
	}}
}

// forFuzz has no limit that the time between two octets could decide on.
func forFuzz(c *imsg.SessionConfig) {
	c.ScanChunks = true
	c.PipelineSize = least
	c.EarlyTalk = false
}

// FuzzClient holds that for any stream of a client, cut anywhere, the same
// messages are scanned, the same are taken by every kind of server, and the same
// commands acted on.
func FuzzClient(f *testing.F) {
	for _, h := range corpus() {
		if text := strings.Join(h.talk, ""); len(text) < 1000 && len(h.talk) == 1 {
			f.Add([]byte(text), []byte{0, 7, 30})
		}
	}
	x := newMX(f, readings[2])
	l := newLab(f, x.addr, forFuzz)
	round := 0
	pass := func(t *testing.T, stream []byte, cut cutting) (*call, *passage) {
		round++
		tag := strconv.Itoa(round) + ".example"
		p := l.pass(hostile{talk: []string{string(stream)}}, tag, cut, nil)
		if p.err != nil {
			t.Fatalf("%q: %v", stream, p.err)
		}
		c := x.call(t, tag)
		l.scans(p)
		x.mu.Lock()
		delete(x.calls, tag)
		x.mu.Unlock()
		if c == nil {
			t.Fatalf("%q: the server was not called", stream)
		}
		for _, hole := range c.holes(p, false) {
			t.Errorf("%q: %s", stream, hole)
		}
		return c, p
	}
	texts := func(c *call, p *passage) []string {
		var list []string
		for _, m := range c.messages {
			text, _ := received(m, p.src)
			list = append(list, text)
		}
		return list
	}
	settled := newLeakCheck(f)
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if len(stream) > 20_000 {
			t.Skip("longer than is worth the time")
		}
		whole, scans := pass(t, stream, inOnePiece)
		if bytes.Contains(bytes.ToUpper(stream), []byte("STARTTLS")) {
			// What comes before the 220 is refused, what comes behind it
			// is nobody's business: here the time does decide.
			return
		}
		cut, cutScans := pass(t, stream, cutBy(cuts))
		if !slices.Equal(whole.acted(), cut.acted()) || !slices.Equal(texts(whole, scans), texts(cut, cutScans)) ||
			!slices.Equal(scans.clean, cutScans.clean) || !slices.Equal(scans.caught, cutScans.caught) {
			t.Errorf("%q cut by %v:\n did %.600q, taken %.600q, scanned %.600q, caught %.600q\nwhole:\n did %.600q, taken %.600q, scanned %.600q, caught %.600q",
				stream, cuts, cut.did, texts(cut, cutScans), cutScans.clean, cutScans.caught, whole.did, texts(whole, scans), scans.clean, scans.caught)
		}
		settled(t)
	})
}

// FuzzRelay has the server talk nonsense, too: no panic, no session that stays,
// and not a malformed line to the server.
func FuzzRelay(f *testing.F) {
	replies := "220 mx\r\n250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n221 bye\r\n"
	for _, script := range []string{
		replies, strings.ReplaceAll(replies, "\r\n", "\n"), strings.ReplaceAll(replies, "354", "250"), strings.ReplaceAll(replies, "250 ok", "421 no"),
		"220-a\r\n221 b\r\n", "220 a\r\n334 \r\n", "220 a\r\n250 surprise\r\n", "220 a\r\n250-x\r\n", "rubbish\r\n", "\x00\r\n", strings.Repeat("2", 5000), "",
		strings.ReplaceAll(replies, "354 go", "354 go\r\n552-too\r\n552 big"), strings.ReplaceAll(replies, "354 go", "354 go\r\n250 no"), "220 a\r\n554 bye\r\n", "220 a\r\n250 ok\r\n451-bye\r\n451 bye\r\n250 ok\r\n",
		"220 a\r\n220 go\r\n\x16\x03", "220 a\r\n334 \r\n235 ok\r\n", "220 a\r\n250 ok\r\n250 ok\r\n452 no\r\n250 ok\r\n",
	} {
		for _, stream := range []string{"EHLO c\r\n" + later + bye, envelope + "BDAT 5\r\n12345BDAT 5 LAST\r\n54321" + bye, "STARTTLS\r\n", "AUTH LOGIN\r\na\r\nb\r\n", opening + "a\n.\n\r.\r\x00", "NOOP\r\n\r\n"} {
			f.Add([]byte(stream), []byte(script), []byte{3, 50})
			f.Add([]byte(stream), []byte(script), []byte{2, 0})
		}
	}
	calls := make(chan *net.TCPConn)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			calls <- c.(*net.TCPConn)
		}
	}()
	l := newLab(f, listener.Addr().String(), forFuzz)
	settled := newLeakCheck(f)
	f.Fuzz(func(t *testing.T, stream, script, cuts []byte) {
		if len(stream) > 20_000 || len(script) > 20_000 {
			t.Skip("longer than is worth the time")
		}
		done := make(chan *passage, 1)
		go func() {
			done <- l.pass(hostile{talk: []string{string(stream)}, early: true}, "c", cutBy(cuts), nil)
		}()
		heard, late := playScript(wait(t, calls), script, cuts)
		if p := wait(t, done); p.err != nil {
			t.Fatalf("%v: client %q, server %q", p.err, stream, script)
		}
		if late {
			t.Fatalf("the server is not let go: client %q, server %q", stream, script)
		}
		l.set(func() {
			if n := l.counts[imsg.CountBugs]; n > 0 {
				t.Fatalf("%d sessions panicked", n)
			}
		})
		settled(t)
		said := bytes.ToUpper(stream)
		if bytes.Contains(said, []byte("BDAT")) || bytes.Contains(said, []byte("STARTTLS")) {
			return // octets may pass as they are
		}
		for i, c := range heard {
			if c == 0 || c == '\n' && (i == 0 || heard[i-1] != '\r') || c == '\r' && i+1 < len(heard) && heard[i+1] != '\n' {
				t.Fatalf("the server heard %q: client %q, server %q", heard, stream, script)
			}
		}
	})
}

// playScript is a server that says script whatever it hears, line by line as it
// is spoken to, or cut anyhow. It returns what it heard, and whether the gateway
// failed to end the connection.
func playScript(c *net.TCPConn, script, cuts []byte) (heard []byte, late bool) {
	defer c.Close()
	var pieces [][]byte
	if len(cuts) > 0 && cuts[0]%2 == 1 {
		pieces = bytes.SplitAfter(script, []byte("\n"))
	} else {
		for next := cutBy(cuts).next; len(script) > 0; {
			n := next(nil, len(script))
			pieces = append(pieces, script[:n])
			script = script[n:]
		}
	}
	if many := 30; len(pieces) > many {
		pieces = append(pieces[:many], bytes.Join(pieces[many:], nil))
	}
	for b := make([]byte, 64<<10); ; {
		more := len(pieces) > 0
		if more {
			c.Write(pieces[0])
			pieces = pieces[1:]
			// Silence means that the gateway waits for more.
			c.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
		} else {
			c.CloseWrite()
			c.SetReadDeadline(imsgtest.Deadline())
		}
		n, err := c.Read(b)
		heard = append(heard, b[:n]...)
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !(more && late) {
			return heard, late
		}
	}
}

// newLeakCheck returns a check that goroutines and descriptors come back to what
// they were. It looks now and then only: it waits.
func newLeakCheck(f *testing.F) func(*testing.T) {
	goroutines, files, round := runtime.NumGoroutine(), openFiles(), 0
	return func(t *testing.T) {
		if round++; round%64 != 0 {
			return
		}
		var g, n int
		if err := imsgtest.Eventually("something is left", func() bool {
			g, n = runtime.NumGoroutine(), openFiles()
			return g <= goroutines+16 && n <= files+16
		}); err != nil {
			t.Fatalf("%v: %d goroutines, %d open files; there were %d and %d", err, g, n, goroutines, files)
		}
	}
}

// openFiles counts descriptors, where the system tells.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
