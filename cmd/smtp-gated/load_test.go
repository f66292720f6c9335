package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is clients who keep sending until they are told to stop. They use
// addresses of their own, so that a lock hits one of them alone.
type crowd struct {
	gate   *gate
	post   *post
	tls    *tls.Config // it starts with TLS; nil: it does not
	sends  []verdict
	cancel context.CancelFunc
	wg     sync.WaitGroup

	tried, sent, refused, later, cut, unreached atomic.Int64

	mu     sync.Mutex
	excuse string // of the first that was put off
	faults []error
}

type verdict struct{ message, reply string }

// verdicts are what each message may be answered: done, or not now.
var verdicts = []verdict{{cleanMail, "250"}, {virusMail, "550"}, {spamMail, "550"}}

// crowd has some clients send to a server, each of the verdicts in turn, with a pause
// between its messages.
func (g *gate) crowd(m *msa, clients int, pause time.Duration, verdicts ...verdict) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{gate: g, post: m.post, tls: g.tls, sends: verdicts, cancel: cancel}
	for n := range clients {
		c.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c.send(n, i)
				time.Sleep(pause)
			}
		})
	}
	return c
}

// send sends one message. Trouble may cut the session off or put it off; a wrong verdict
// or silence it may not cause.
func (c *crowd) send(n, i int) {
	v := c.sends[i%len(c.sends)]
	c.tried.Add(1)
	conn, err := dialGate(c.gate.address(0), fmt.Sprintf("127.0.1.%d", n+1))
	if err != nil {
		c.unreached.Add(1)
		time.Sleep(10 * time.Millisecond)
		return
	}
	defer conn.conn.Close()
	conn.tls = c.tls
	var kind mark
	if v.reply != "250" {
		kind = isBad
	}
	number, text := c.post.stamp(v.message, kind)
	answer, err := conn.deliver([]byte(text))
	c.heard(number, v.reply, answer, err)
	if err == nil {
		conn.send("QUIT")
		conn.conn.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, conn.conn)
	}
}

// heard notes what a client has heard of its message: the answer to its end, or why there
// was none.
func (c *crowd) heard(number int, want, answer string, err error) {
	complain := func(format string, args ...any) {
		c.fault(fmt.Errorf("mail %d: "+format, append([]any{number}, args...)...))
	}
	var timeout interface{ Timeout() bool }
	var early *unexpected
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		complain("%w", err)
	case errors.As(err, &early):
		c.putOff(early.got)
		if !strings.HasPrefix(early.got, "4") && ours(early.got) {
			complain("%w", err)
		}
	case err != nil:
		c.post.note(number, isCut)
		c.cut.Add(1)
	case strings.HasPrefix(answer, "250"):
		c.post.note(number, isAccepted)
		c.sent.Add(1)
		if want != "250" {
			complain("got reply %q", answer)
		}
	case ours(answer) && strings.HasPrefix(answer, "421"):
		c.post.note(number, isClosed)
		c.putOff(answer)
	case ours(answer):
		c.post.note(number, isDenied)
		if strings.HasPrefix(answer, want) {
			c.refused.Add(1)
			break
		}
		c.putOff(answer)
		if !strings.HasPrefix(answer, "4") {
			complain("got reply %q", answer)
		}
	default:
		c.putOff(answer)
	}
}

// ours tells whether a reply is one of the gateway's own.
func ours(reply string) bool { return strings.Contains(reply, " gate.test ") }

// putOff counts a client that is to come again.
func (c *crowd) putOff(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.later.Add(1) == 1 {
		c.excuse = reply
	}
}

func (c *crowd) fault(err error) {
	c.mu.Lock()
	c.faults = append(c.faults, err)
	c.mu.Unlock()
}

// moves waits until clean mail has got through since, and other mail has not.
func (c *crowd) moves() error {
	before, refused := c.sent.Load(), c.refused.Load()
	return eventually("no mail gets through", func() bool {
		return c.sent.Load() > before+3 && (len(c.sends) == 1 || c.refused.Load() > refused+3)
	})
}

func (c *crowd) stop() error {
	c.cancel()
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * patience):
		return errors.New("a client hangs")
	}
	return errors.Join(c.faults...)
}

// undisturbed tells of a crowd that has stopped whether nobody had to come again.
func (c *crowd) undisturbed() error {
	if c.later.Load()+c.cut.Load()+c.unreached.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%v", c)
}

func (c *crowd) String() string {
	return fmt.Sprintf("accepted %d, refused %d, put off %d (%s), cut off %d, not reached %d",
		c.sent.Load(), c.refused.Load(), c.later.Load(), c.excuse, c.cut.Load(), c.unreached.Load())
}

// stage is a gate with its server, without a script, that serves.
func stage(t testing.TB, rooted bool, configuration string) (*gate, *msa) {
	t.Helper()
	return stageOf(t, program("smtp-gated"), rooted, configuration)
}

// stageOf is a stage whose daemon is another program.
func stageOf(t testing.TB, daemon string, rooted bool, configuration string) (*gate, *msa) {
	t.Helper()
	g, m := rehearse(t, rooted)
	g.daemon = daemon
	must(t, g.configure(configuration, false))
	must(t, g.start())
	return g, m
}

// rehearse is stage before anything is configured or started. The features are the server's.
func rehearse(t testing.TB, rooted bool, features ...string) (*gate, *msa) {
	t.Helper()
	g, err := newGate(t.TempDir(), rooted)
	if err != nil {
		t.Fatal(err)
	}
	m, err := startMSA(features...)
	if err != nil {
		t.Fatal(err)
	}
	g.server = m.port()
	t.Cleanup(func() {
		g.end()
		m.stop()
		if err := m.check(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log := strings.SplitAfter(g.log(), "\n")
			t.Logf("the end of the log:\n%s", strings.Join(log[max(0, len(log)-30):], ""))
			for i, line := range log {
				if matches(`FAILED|TIMEOUT|BUG|room said|room hangs|does not get ready|unasked|error=`, line) {
					t.Logf("line %d of the log: %s", i, line)
				}
			}
		}
	})
	return g, m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noneBad looks for what must never be in a mailbox, nor become of a crowd's mail.
func noneBad(t *testing.T, m *msa) {
	t.Helper()
	mails, err := m.box()
	must(t, err)
	must(t, m.post.judge())
	for _, mail := range mails {
		if strings.Contains(mail, "ANTIVIRUS-TEST") || strings.Contains(mail, "GTUBE") {
			t.Fatalf("delivered: %q", mail)
		}
		if _, text := split(mail); text != string(wire([]byte(cleanMail))) {
			t.Fatalf("delivered: %q", mail)
		}
	}
}

const busy = "max_per_host 0\nlock_on spam\nlock_duration 0\naction_script /bin/true\n"

// While mail flows each room is killed in turn: the family heals, no bad mail
// passes, nobody waits for ever.
func TestRoomsDieUnderLoad(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, busy)
		crowd := g.crowd(m, 10, 0, verdicts...)
		must(t, crowd.moves())
		for _, room := range []string{"session", "scand", "lockd", "lookupd", "action", "session", "lockd", "scand"} {
			if err := g.kill(room); err != nil {
				crowd.stop()
				t.Fatalf("kill %s: %v", room, err)
			}
			if err := crowd.moves(); err != nil {
				crowd.stop()
				t.Fatalf("after %s: %v", room, err)
			}
		}
		must(t, crowd.stop())
		if crowd.unreached.Load() > 0 { // the listener is the parent's
			t.Error("not everybody could connect")
		}
		t.Log(crowd)
		noneBad(t, m)
		must(t, sendClean(g))
		must(t, g.terminate())
	})
}

// A reload while mail flows refuses and drops nobody.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, busy)
		crowd := g.crowd(m, 10, 0, verdicts...)
		for i := range 10 {
			must(t, crowd.moves())
			must(t, g.configure(fmt.Sprintf("%sabuse abuse%d@gate.test\n", busy, i), false))
			must(t, g.reload())
		}
		must(t, crowd.moves())
		must(t, crowd.stop())
		must(t, crowd.undisturbed())
		noneBad(t, m)
		r, err := g.ask()
		must(t, err)
		if r.Crashes > 0 {
			t.Errorf("%d rooms crashed", r.Crashes)
		}
		must(t, g.terminate())
	})
}

func sendClean(g *gate) error {
	c, err := dialGate(g.address(0), "")
	if err != nil {
		return err
	}
	defer c.conn.Close()
	answer, err := c.deliver([]byte(cleanMail))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "250") {
		return fmt.Errorf("got reply %q", answer)
	}
	return c.quit()
}
