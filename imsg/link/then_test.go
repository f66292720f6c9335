package link

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// heard is what then heard.
type heard struct {
	number uint64
	err    error
}

// asking returns a peer of a worker's, its far end, and what asks there for entrance.
func asking(t *testing.T) (p *Peer, lockd *Conn, ask func(ctx context.Context, timeout time.Duration) (<-chan heard, bool)) {
	t.Helper()
	session, lockd := link(t, imsg.Session, imsg.Lockd)
	serve(session, func(Request) {})
	p = new(Peer)
	p.Set(session)
	return p, lockd, func(ctx context.Context, timeout time.Duration) (<-chan heard, bool) {
		c := make(chan heard, 2)
		asked := AskThen(ctx, p, &imsg.Enter{Client: anybody, Local: anybody}, timeout, func(_ *loop.Turn, a *imsg.Admission, err error) {
			h := heard{err: err}
			if err == nil {
				h.number = a.Number
			}
			c <- h
		})
		return c, asked
	}
}

// TestAskThen: who does not wait hears once, be it of the answer, a failure, the end of
// the time or of the link, and keeps no place then.
func TestAskThen(t *testing.T) {
	for name, c := range map[string]struct {
		answer  func(r Request)
		timeout time.Duration
		want    heard
	}{
		"an answer": {func(r Request) { ReplyTo(r, r.Message.(*imsg.Enter)).Answer(&imsg.Admission{Number: 7}) }, imsgtest.Patience, heard{7, nil}},
		"a failure": {func(r Request) { r.Fail(imsg.Busy) }, imsgtest.Patience, heard{0, imsg.Busy}},
		"silence":   {func(Request) {}, time.Millisecond, heard{0, imsg.Timeout}},
		"the end":   {func(r Request) { r.conn.Close() }, imsgtest.Patience, heard{0, imsg.Gone}},
		"rubbish": {func(r Request) {
			m := &imsg.Done{}
			r.conn.send(imsg.Row(m), m, header{id: r.id}, nil)
		}, imsgtest.Patience, heard{0, imsg.Gone}},
	} {
		t.Run(name, func(t *testing.T) {
			p, lockd, ask := asking(t)
			serve(lockd, c.answer)
			told, asked := ask(t.Context(), c.timeout)
			if !asked {
				t.Fatal("it is not asked")
			}
			if got := wait(t, told); got != c.want {
				t.Errorf("it hears %+v, want %+v", got, c.want)
			}
			imsgtest.Until(t, "nobody holds the link", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.held == 0 && len(p.conn.flight) == 0 && len(p.conn.calls) == 0
			})
			if len(told) > 0 {
				t.Errorf("it hears again: %+v", <-told)
			}
		})
	}
}

// TestAskThenGivenUp: who does not wait any more hears so, and the other room may stop.
func TestAskThenGivenUp(t *testing.T) {
	session, lookupd := link(t, imsg.Session, imsg.Lookupd)
	serve(session, func(Request) {})
	p := new(Peer)
	p.Set(session)
	working := make(chan context.Context, 2)
	serve(lookupd, func(r Request) {
		ctx, _ := r.Context(t.Context())
		working <- ctx
	})
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 2)
	ask := func() bool {
		return AskThen(ctx, p, &imsg.SPF{}, imsgtest.Patience, func(_ *loop.Turn, _ *imsg.SPFResult, err error) { told <- err })
	}
	if !ask() {
		t.Fatal("it is not asked")
	}
	work := wait(t, working)
	cancel()
	if err := wait(t, told); err != imsg.Gone {
		t.Errorf("it hears %v", err)
	}
	wait(t, work.Done())
	if ask() { // what is over before it is asked
		if err := wait(t, told); err != imsg.Gone {
			t.Errorf("it hears %v", err)
		}
	}
}

// TestAskThenNot: what cannot be asked without waiting is not, and nobody hears of it.
func TestAskThenNot(t *testing.T) {
	_, lockd, ask := asking(t)
	for range maxFlight {
		if _, asked := ask(t.Context(), imsgtest.Patience); !asked {
			t.Fatal("it is not asked")
		}
	}
	if told, asked := ask(t.Context(), imsgtest.Patience); asked || len(told) > 0 {
		t.Error("one more is asked than may be")
	}
	lockd.Close()
	p, _, ask := asking(t)
	p.Get().Close()
	if _, asked := ask(t.Context(), imsgtest.Patience); asked {
		t.Error("nobody is asked")
	}
	if p.held != 0 {
		t.Error("the link is held")
	}
}

// TestAskThenAndReplace: what follows from an answer is done before another peer takes
// the place of the one that gave it.
func TestAskThenAndReplace(t *testing.T) {
	p, lockd, _ := asking(t)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	let := make(chan bool)
	serve(lockd, func(r Request) {
		go func() {
			<-let
			ReplyTo(r, r.Message.(*imsg.Enter)).Answer(&imsg.Admission{Number: 7})
		}()
	})
	AskThen(t.Context(), p, &imsg.Enter{Client: anybody, Local: anybody}, imsgtest.Patience, func(*loop.Turn, *imsg.Admission, error) {
		time.Sleep(10 * time.Millisecond)
		note("answer")
	})
	fresh, other := link(t, imsg.Session, imsg.Lockd)
	_ = other
	replaced := make(chan bool)
	p.Replace(fresh, imsgtest.Patience, func() { note("greeting"); close(replaced) })
	if AskThen(t.Context(), p, &imsg.Enter{Client: anybody, Local: anybody}, imsgtest.Patience, func(*loop.Turn, *imsg.Admission, error) {}) {
		t.Error("it is asked while another takes over")
	}
	close(let)
	wait(t, replaced)
	mu.Lock()
	defer mu.Unlock()
	if len(order) != 2 || order[0] != "answer" {
		t.Errorf("it came in the order %q", order)
	}
}
