// The proof that nothing is taken that was not scanned: hostile streams go
// through the gateway to servers that read them differently. What a server took
// as messages is what was scanned clean, octet for octet, and what it acted on
// is what the gateway parsed.
//
// Two things are made equal before they are compared, and no more: our own
// header lines are taken off, and a server that knows several line ends writes
// each of them as CRLF (a strict one writes what it got).

package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// cutting says in which pieces a stream is written.
type cutting struct {
	name     string
	next     func(r *rand.Rand, rest int) int
	patience time.Duration // not 0: pieces are lines, and this long an answer is waited for
}

var (
	inOnePiece    = cutting{"in one piece", func(_ *rand.Rand, rest int) int { return rest }, 0}
	octetByOctet  = cutting{"octet by octet", func(*rand.Rand, int) int { return 1 }, 0}
	atRandom      = cutting{"cut at random", func(r *rand.Rand, rest int) int { return 1 + r.IntN(min(rest, 1+r.IntN(200))) }, 0}
	lineByLine    = cutting{"line by line", inOnePiece.next, 10 * time.Millisecond}
	tooLongToDrip = 4096 // octets; longer streams are not sent one by one
)

var ways = []struct {
	name   string
	cuts   []cutting
	change func(*imsg.SessionConfig)
	tls    [2]bool // whose connection has TLS: the client's, the server's
	alone  bool    // each connection waits by itself, there is no loop
}{
	{"normalize, strip, scan", []cutting{inOnePiece, octetByOctet, atRandom}, func(c *imsg.SessionConfig) { c.ScanChunks = true }, [2]bool{}, false},
	{"reject, strip, scan", []cutting{atRandom}, func(c *imsg.SessionConfig) { c.ScanChunks, c.BareNewline = true, imsg.NewlineReject }, [2]bool{}, false},
	{"normalize, reject, scan", []cutting{inOnePiece}, func(c *imsg.SessionConfig) { c.ScanChunks, c.RejectNUL = true, true }, [2]bool{}, false},
	{"normalize, strip, filter", []cutting{inOnePiece, atRandom}, nil, [2]bool{}, false},
	{"reject, reject, filter", []cutting{inOnePiece}, func(c *imsg.SessionConfig) { c.BareNewline, c.RejectNUL = imsg.NewlineReject, true }, [2]bool{}, false},
	{byXclient, []cutting{inOnePiece, atRandom}, func(c *imsg.SessionConfig) { c.ScanChunks = true; withXclient(c) }, [2]bool{}, false},
	{"TLS of the client", []cutting{inOnePiece, atRandom}, underTLS(imsg.TLSNever), [2]bool{true, false}, false},
	{"TLS of the server", []cutting{inOnePiece}, underTLS(imsg.TLSAlways), [2]bool{false, true}, false},
	{"TLS of both", []cutting{inOnePiece, octetByOctet}, underTLS(imsg.TLSLockstep), [2]bool{true, true}, false},
	{"no loop", []cutting{inOnePiece, octetByOctet, atRandom}, func(c *imsg.SessionConfig) { c.ScanChunks = true }, [2]bool{}, true},
	{"no loop, TLS of both", []cutting{atRandom}, underTLS(imsg.TLSLockstep), [2]bool{true, true}, true},
}

func underTLS(upstream imsg.TLSUpstream) func(*imsg.SessionConfig) {
	return func(c *imsg.SessionConfig) {
		terminates(c)
		c.ScanChunks, c.TLS.Upstream = true, upstream
	}
}

// byXclient is the way that needs a server which knows XCLIENT.
const byXclient = "normalize, strip, scan, XCLIENT"

// score counts what a group of streams came to.
type score struct{ streams, taken, scanned, caught, differences int }

// table is the scores by group and server.
type table struct {
	mu     sync.Mutex
	scores map[string]map[string]*score
}

func (b *table) add(group, server string, s score) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scores == nil {
		b.scores = make(map[string]map[string]*score)
	}
	if b.scores[group] == nil {
		b.scores[group] = make(map[string]*score)
	}
	sum := b.scores[group][server]
	if sum == nil {
		sum = new(score)
		b.scores[group][server] = sum
	}
	sum.streams += s.streams
	sum.taken += s.taken
	sum.scanned += s.scanned
	sum.caught += s.caught
	sum.differences += s.differences
}

func (b *table) log(t *testing.T, servers []string) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "group\tserver\tstreams\ttaken\tscanned clean\tcaught\tdifferences\t")
	var groups []string
	for _, h := range append(corpus(), earlyCorpus()...) {
		groups = append(groups, h.group)
	}
	for _, g := range slices.Compact(groups) {
		for _, name := range servers {
			if s := b.scores[g][name]; s != nil {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", g, name, s.streams, s.taken, s.scanned, s.caught, s.differences)
			}
		}
	}
	w.Flush()
	t.Logf("\n%s", &text)
}

func TestDifferential(t *testing.T) {
	streams := corpus()
	if len(streams) < 150 {
		t.Errorf("only %d streams", len(streams))
	}
	var scores table
	var names []string
	for _, r := range readings {
		names = append(names, r.name)
		streams := streams
		if r.early != nil {
			streams = append(earlyCorpus(), streams...)
		}
		t.Run(r.name, func(t *testing.T) {
			for i, way := range ways {
				if testing.Short() && i > 0 {
					break
				}
				t.Run(way.name, func(t *testing.T) {
					if way.alone {
						withoutLoop(t)
					}
					x := newMX(t, r)
					x.secure = way.tls[1]
					l := newLabWith(t, x.addr, way.tls[0], way.change)
					streams := streams
					if way.tls[0] { // where STARTTLS is a command like another
						streams = slices.DeleteFunc(slices.Clone(streams), func(h hostile) bool { return strings.Contains(strings.Join(h.talk, ""), "STARTTLS") })
					}
					for _, cut := range way.cuts {
						l.run(streams, cut, func(h hostile, tag string, p *passage) score {
							return judgeModel(t, l, x, h, tag, p, cut)
						}, r.name, &scores)
					}
					x.strays(t)
				})
			}
		})
	}
	scores.log(t, names)
}

// lab is a house whose scanner refuses EVIL, and which knows what it scanned for whom.
type lab struct {
	*house
	clean, caught map[string][]string // by the client's address
	tls           bool                // clients begin with TLS
}

func newLab(t testing.TB, server string, change func(*imsg.SessionConfig)) *lab {
	return newLabWith(t, server, false, change)
}

// newLabWith is newLab, be it for clients that begin with TLS.
func newLabWith(t testing.TB, server string, tls bool, change func(*imsg.SessionConfig)) *lab {
	l := &lab{clean: make(map[string][]string), caught: make(map[string][]string), tls: tls}
	l.house = newHouseWith(t, server, tls, func(c *imsg.SessionConfig) {
		c.SizeLimit = 200_000
		c.TakeoverCmds, c.PipelineSize = 30, least
		c.SpamRefuse = false
		if change != nil {
			change(c)
		}
	})
	l.set(func() {
		l.onScan = func(uint64) {
			text := l.scanned[len(l.scanned)-1]
			l.scanned = nil
			first, rest, _ := strings.Cut(text, "\r\n")
			src, _, _ := strings.Cut(strings.TrimPrefix(first, "X-Proxy-Spool-Info: src="), ",")
			l.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean})
			if strings.Contains(rest, "EVIL") {
				l.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Evil"}, imsg.Finding{Outcome: imsg.Clean})
				l.caught[src] = append(l.caught[src], rest)
				return
			}
			l.clean[src] = append(l.clean[src], rest)
		}
	})
	return l
}

// clientLine is a client's connection.
type clientLine interface {
	net.Conn
	CloseWrite() error
}

// passage is how one stream went through.
type passage struct {
	src           string
	clean, caught []string // texts that were scanned
	heard         string   // what the client was told
	err           error
}

// run sends all streams, several at a time, and has each judged.
func (l *lab) run(streams []hostile, cut cutting, judge func(hostile, string, *passage) score, server string, scores *table) {
	l.t.Helper()
	var wg sync.WaitGroup
	places := make(chan bool, 8)
	for i, h := range streams {
		size := 0
		for _, part := range h.talk {
			size += len(part)
		}
		if (cut.name == octetByOctet.name || cut.patience > 0) && size > tooLongToDrip {
			continue
		}
		places <- true
		wg.Go(func() {
			defer func() { <-places }()
			tag := fmt.Sprintf("%d.%d.example", i, len(cut.name))
			p := l.pass(h, tag, cut, rand.New(rand.NewPCG(uint64(i), 1)))
			s := judge(h, tag, p)
			s.streams, s.scanned, s.caught = 1, len(p.clean), len(p.caught)
			scores.add(h.group, server, s)
		})
	}
	wg.Wait()
}

// pass plays the client.
func (l *lab) pass(h hostile, tag string, cut cutting, r *rand.Rand) *passage {
	p := new(passage)
	c, err := net.Dial("tcp4", l.addr)
	if err != nil {
		p.err = err
		return p
	}
	conn := c.(*net.TCPConn)
	defer conn.Close()
	conn.SetDeadline(imsgtest.Deadline())
	p.src = conn.LocalAddr().String()
	line := clientLine(conn)
	if l.tls {
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if p.err = secured.Handshake(); p.err != nil {
			return p
		}
		line = secured
	}
	ear := listen(line)
	hello := "EHLO " + tag + "\r\n"
	talk := h.talk
	if h.early {
		talk = []string{hello + talk[0]}
	} else {
		talk = append([]string{"", "220", hello, "250"}, talk...)
	}
	for i, part := range talk {
		if i%2 == 1 {
			if !ear.awaits(part) {
				break
			}
			continue
		}
		for len(part) > 0 {
			n := cut.next(r, len(part))
			if lf := strings.IndexByte(part, '\n'); cut.patience > 0 && lf >= 0 {
				n = lf + 1
			}
			if _, err := io.WriteString(line, part[:n]); err != nil {
				break // the gateway has hung up; the ear hears why
			}
			if cut.patience > 0 {
				ear.listens(cut.patience)
			}
			part = part[n:]
		}
	}
	if h.abort {
		conn.SetLinger(0)
		conn.Close()
		<-ear.done
	} else {
		line.CloseWrite()
		<-ear.done
		if errors.Is(ear.err, os.ErrDeadlineExceeded) {
			p.err = ear.err
		}
	}
	p.heard = string(ear.text)
	return p
}

// scans fetches what was scanned of a passage; it is complete once the server
// side of the session is over.
func (l *lab) scans(p *passage) {
	l.set(func() { p.clean, p.caught = l.clean[p.src], l.caught[p.src] })
	l.set(func() { delete(l.clean, p.src); delete(l.caught, p.src) })
}

// ear reads what the client is told.
type ear struct {
	mu   sync.Mutex
	cond *sync.Cond
	text []byte
	read int // of text, by awaits
	err  error
	done chan bool
}

func listen(conn net.Conn) *ear {
	e := &ear{done: make(chan bool)}
	e.cond = sync.NewCond(&e.mu)
	go func() {
		defer close(e.done)
		for b := make([]byte, 16<<10); ; {
			n, err := conn.Read(b)
			e.mu.Lock()
			e.text = append(e.text, b[:n]...)
			e.err = err
			e.cond.Broadcast()
			e.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return e
}

// listens waits until something is said, but not for ever.
func (e *ear) listens(patience time.Duration) {
	until := time.Now().Add(patience) // before the alarm goes off, not behind
	alarm := time.AfterFunc(patience, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.cond.Broadcast()
	})
	defer alarm.Stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for had := len(e.text); len(e.text) == had && e.err == nil && time.Now().Before(until); {
		e.cond.Wait()
	}
}

// awaits tells whether a reply with this code came, before any refusal.
func (e *ear) awaits(code string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for {
			line, _, ok := bytes.Cut(e.text[e.read:], []byte("\n"))
			if !ok {
				break
			}
			e.read += len(line) + 1
			switch {
			case bytes.HasPrefix(line, []byte(code+" ")):
				return true
			case len(line) > 0 && line[0] >= '4':
				return false
			}
		}
		if e.err != nil {
			return false
		}
		e.cond.Wait()
	}
}

var natHeader = regexp.MustCompile(`^X-Nat-Received: from \[127\.0\.0\.1\]:(\d+) \[ident-empty\]\r?\n\tby gate\.example with TPROXY id \d+\.\d+\r?\n`)

// received takes our header off a message a server took; false if it is not
// there, or names another client.
func received(message, src string) (string, bool) {
	m := natHeader.FindStringSubmatch(message)
	if m == nil || "127.0.0.1:"+m[1] != src {
		return message, false
	}
	return message[len(m[0]):], true
}

// judgeModel compares what a model server did with what the gateway meant it to.
func judgeModel(t *testing.T, l *lab, x *mx, h hostile, tag string, p *passage, cut cutting) (s score) {
	fail := func(format string, args ...any) {
		s.differences++
		t.Errorf("%s: %s, %s: %s\nstream %.400q\nclient heard %.600q", h.group, h.name, cut.name, fmt.Sprintf(format, args...), h.talk, p.heard)
	}
	if p.err != nil {
		fail("%v", p.err)
		return s
	}
	c := x.call(t, tag)
	l.scans(p)
	if c == nil {
		if !h.early && !h.abort {
			fail("the server was not called")
		}
		return s
	}
	s.taken = len(c.messages)
	for _, hole := range c.holes(p, h.abort) {
		fail("%s", hole)
	}
	for _, line := range c.did {
		if strings.HasPrefix(strings.ToUpper(line), "MAIL") && strings.Contains(line, "smuggled") {
			fail("the server acted on %.200q: it stood in a message", line)
		}
	}
	if h.group == answeredEarly {
		for _, hole := range c.heardMore(h, p) {
			fail("%s", hole)
		}
	}
	// What was there before the server's 220 was said in clear.
	if len(c.tls) > 0 && len(h.talk) == 1 && cut.name == inOnePiece.name {
		fail("%.200q is to be said under TLS", c.tls)
	}
	return s
}

// holes tells what a server took or did that it should not have.
func (c *call) holes(p *passage, abort bool) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	var taken []string
	for _, m := range c.messages {
		text, ok := received(m, p.src)
		if !ok {
			add("taken without our header: %.200q", m)
		}
		if strings.Contains(text, "EVIL") {
			add("EVIL was taken: %.200q", m)
		}
		taken = append(taken, text)
	}
	clean := p.clean
	if abort { // it may have vanished before the end was released
		clean = clean[:min(len(clean), len(taken))]
	}
	if !slices.Equal(taken, clean) {
		add("taken %.600q\nscanned %.600q", taken, clean)
	}
	for _, r := range readings {
		other := newMTA(r)
		other.chunking, other.fickle = c.chunking, c.fickle
		other.feed(c.heard)
		other.finish()
		if !slices.Equal(other.messages, c.messages) || !slices.Equal(other.did, c.did) {
			add("a %s server would have done\n%.600q, taken %.600q\nthis one did\n%.600q, taken %.600q", r.name, other.did, other.messages, c.did, c.messages)
		}
	}
	for i, line := range c.did {
		if why := unwritten(line); why != "" {
			add("the server acted on %.200q: %s", line, why)
		}
		if i > 1 && strings.HasPrefix(line, "XCLIENT") && c.did[0] == "EHLO gate.example" {
			add("the gateway said XCLIENT more than once: %.600q", c.did)
		}
	}
	return found
}

// heardMore tells what is wrong with the end of a message that was answered early.
func (c *call) heardMore(h hostile, p *passage) (found []string) {
	if last := []byte(tooBig + "\r\n"); !bytes.HasSuffix(c.heard, last) || bytes.Count(c.heard, last) != 1 {
		found = append(found, fmt.Sprintf("behind its answer the server heard more: %.300q", c.heard[max(0, len(c.heard)-300):]))
	}
	if answer := "552-5.3.4 too big\r\n552 5.3.4 for me\r\n"; strings.Count(p.heard, answer) != 1 || strings.Count(p.heard, "\n552") != 2 {
		found = append(found, "the client did not hear the answer once")
	}
	return found
}

// unwritten tells why a line cannot have been written by the gateway as it
// parsed a command.
func unwritten(line string) string {
	if response, ok := strings.CutPrefix(line, "response: "); ok {
		if strings.ContainsAny(response, "\x00\r\n") || len(response) > smtp.AuthLimit-2 {
			return "no AUTH response"
		}
		return ""
	}
	cmd, err := smtp.ParseCommand([]byte(line))
	limit := smtp.CommandLimit
	if cmd.Verb == smtp.AUTH {
		limit = smtp.AuthLimit
	}
	switch {
	case err != nil:
		return err.Error()
	case string(cmd.Line) != line:
		return "it would have been written otherwise"
	case len(line)+2 > limit:
		return "too long"
	case cmd.Verb == smtp.Masked:
		return "masked"
	case cmd.Verb == smtp.MAIL || cmd.Verb == smtp.RCPT:
		_, params := smtp.Address(cmd.Arg)
		if keyword, found := (smtp.Offer{}).Refused(params); found {
			return keyword + " is masked"
		}
	}
	return ""
}

// strays sees to it that connections without an EHLO saw nothing at all.
func (x *mx) strays(t *testing.T) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.stray {
		if len(c.messages) > 0 || slices.ContainsFunc(c.did, func(line string) bool {
			return line != "QUIT" && line != "EHLO gate.example" && !strings.HasPrefix(line, "XCLIENT ADDR=")
		}) {
			t.Errorf("a client without EHLO had the server do %q, take %q", c.did, c.messages)
		}
	}
}
