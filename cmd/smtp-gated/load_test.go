package main

import (
	"context"
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
	sends  []verdict
	cancel context.CancelFunc
	wg     sync.WaitGroup

	sent, refused, later, lost atomic.Int64
	mu                         sync.Mutex
	excuse                     string // of the first that was put off
	faults                     []error
}

type verdict struct{ message, reply string }

// verdicts are what each message may be answered: done, or not now.
var verdicts = []verdict{{cleanMail, "250"}, {virusMail, "550"}, {spamMail, "550"}}

// crowd has some clients send, each of the verdicts in turn, with a pause between its
// messages.
func (g *gate) crowd(clients int, pause time.Duration, verdicts ...verdict) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{gate: g, sends: verdicts, cancel: cancel}
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

// send sends one message. A crash may cut the session off or put it off; a
// wrong verdict or silence it may not cause.
func (c *crowd) send(n, i int) {
	v := c.sends[i%len(c.sends)]
	conn, err := dialGate(c.gate.address(0), fmt.Sprintf("127.0.1.%d", n+1))
	if err != nil {
		c.fault(fmt.Errorf("connect: %w", err)) // the listener is the parent's
		return
	}
	defer conn.conn.Close()
	answer, err := conn.deliver([]byte(v.message))
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		c.fault(fmt.Errorf("message %d of client %d: %w", i, n, err))
	case err != nil:
		c.lost.Add(1)
	case strings.HasPrefix(answer, "4"):
		if c.later.Add(1) == 1 {
			c.excuse = answer
		}
	case !strings.HasPrefix(answer, v.reply):
		c.fault(fmt.Errorf("message %d of client %d: got reply %q", i, n, answer))
	case v.reply == "250":
		c.sent.Add(1)
	default:
		c.refused.Add(1)
	}
	conn.send("QUIT")
	conn.conn.SetReadDeadline(time.Now().Add(patience))
	io.Copy(io.Discard, conn.conn)
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

// rehearse is stage before anything is configured or started.
func rehearse(t testing.TB, rooted bool) (*gate, *msa) {
	t.Helper()
	g, err := newGate(t.TempDir(), rooted)
	if err != nil {
		t.Fatal(err)
	}
	m, err := startMSA()
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
				if matches(`FAILED|TIMEOUT|BUG|room said|unasked|error=`, line) {
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

// noneBad looks for what must never be in a mailbox.
func noneBad(t *testing.T, m *msa) {
	t.Helper()
	mails, err := m.box()
	must(t, err)
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
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, busy)
		crowd := g.crowd(10, 0, verdicts...)
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
		t.Logf("delivered %d, refused %d, put off %d, cut off %d", crowd.sent.Load(), crowd.refused.Load(), crowd.later.Load(), crowd.lost.Load())
		noneBad(t, m)
		must(t, sendClean(g))
		must(t, g.terminate())
	})
}

// A reload while mail flows refuses and drops nobody.
func TestReloadUnderLoad(t *testing.T) {
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, busy)
		crowd := g.crowd(10, 0, verdicts...)
		for i := range 10 {
			must(t, crowd.moves())
			must(t, g.configure(fmt.Sprintf("%sabuse abuse%d@gate.test\n", busy, i), false))
			must(t, g.reload())
		}
		must(t, crowd.moves())
		must(t, crowd.stop())
		if n, cut := crowd.later.Load(), crowd.lost.Load(); n > 0 || cut > 0 {
			t.Errorf("%d clients were put off (%s), %d cut off", n, crowd.excuse, cut)
		}
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
