package link

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// polling returns lockd's end of a link that a loop waits for, the file of its far end, and
// what hears how it ends.
func polling(t *testing.T, p loop.Poller, handle Handler) (c *Conn, far *os.File, ended <-chan error) {
	t.Helper()
	near, far, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	end := make(chan error, 1)
	c, err = Poll(p, near, imsg.Lockd, imsg.Session, handle, func(err error) { end <- err })
	if err != nil {
		t.Fatal(err)
	}
	return c, far, end
}

func pollers(t *testing.T, test func(t *testing.T, p loop.Poller)) {
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("loop", func(t *testing.T) { test(t, l) })
	t.Run("goroutines", func(t *testing.T) { test(t, loop.NewGoroutines()) })
}

// TestPolledEnds: however a link ends that a poller has, its owner hears of it, once, and by
// whose fault.
func TestPolledEnds(t *testing.T) { pollers(t, testPolledEnds) }

func testPolledEnds(t *testing.T, p loop.Poller) {
	for name, end := range map[string]struct {
		how func(c *Conn, far *os.File)
		bad bool
	}{
		"closed there": {func(_ *Conn, far *os.File) { far.Close() }, false},
		"nonsense":     {func(_ *Conn, far *os.File) { far.Write([]byte("nonsense")) }, true},
		"closed here, with a queue": {func(c *Conn, _ *os.File) {
			for c.Send(&imsg.Locked{Numbers: []uint64{1}}) == nil {
			}
			c.Close()
		}, false},
		"its answers are not taken": {func(c *Conn, _ *os.File) {
			r := Request{conn: c, id: 1}
			for !c.closed.Load() {
				r.answer(&imsg.Failure{Errno: imsg.Busy})
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				c, far, ended := polling(t, p, func(Request) {})
				end.how(c, far)
				err := imsgtest.Receive(t, "the end", ended)
				if (err != nil) != end.bad || end.bad && !errors.Is(err, ErrBadMessage) {
					t.Fatalf("it ends with %v", err)
				}
				<-c.Done()
				far.Close()
			}
		})
	}
}

// TestPolledBehind: what is done behind the handler may take its time, and so may who hears
// an answer and knows that others wait.
func TestPolledBehind(t *testing.T) { pollers(t, testPolledBehind) }

func testPolledBehind(t *testing.T, p loop.Poller) {
	let, done := make(chan struct{}), make(chan struct{}, 3)
	_, far, _ := polling(t, p, func(r Request) {
		r.Behind(func() {
			done <- struct{}{}
			<-let
		})
	})
	defer close(let)
	session, err := NewConn(far, imsg.Session, imsg.Lockd)
	if err != nil {
		t.Fatal(err)
	}
	for n := range cap(done) {
		if err := session.Send(&imsg.Leave{Number: uint64(n + 1)}); err != nil {
			t.Fatal(err)
		}
		imsgtest.Receive(t, "what is behind", done)
	}
}

// TestPolledTurn: who hears an answer is in the turn of a loop, or of one who passes.
func TestPolledTurn(t *testing.T) { pollers(t, testPolledTurn) }

func testPolledTurn(t *testing.T, p loop.Poller) {
	near, far, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	session, err := Poll(p, near, imsg.Session, imsg.Lockd, func(Request) {}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	lockd, err := NewConn(far, imsg.Lockd, imsg.Session)
	if err != nil {
		t.Fatal(err)
	}
	serve(lockd, func(r Request) { ReplyTo(r, r.Message.(*imsg.Enter)).Answer(&imsg.Admission{Number: 7}) })
	to := new(Peer)
	to.Set(session)
	turns := make(chan *loop.Turn, 1)
	AskThen(t.Context(), to, &imsg.Enter{Client: anybody, Local: anybody}, imsgtest.Patience, func(turn *loop.Turn, _ *imsg.Admission, err error) {
		if err != nil {
			t.Error(err)
		}
		turns <- turn
	})
	if imsgtest.Receive(t, "the answer", turns) == nil {
		t.Error("he would take the goroutine for his own")
	}
}

// TestAllHearOfTheEnd: who goes on with something when a link has ended keeps nobody from
// hearing of it.
func TestAllHearOfTheEnd(t *testing.T) {
	p, lockd, _ := asking(t)
	serve(lockd, func(Request) {})
	heard, let := make(chan error), make(chan struct{})
	defer close(let)
	const all = 8
	for range all {
		AskThen(context.Background(), p, &imsg.Enter{Client: anybody, Local: anybody}, time.Hour, func(_ *loop.Turn, _ *imsg.Admission, err error) {
			heard <- err
			<-let
		})
	}
	lockd.Close()
	for range all {
		if err := imsgtest.Receive(t, "the end", heard); err != imsg.Gone {
			t.Errorf("it hears %v", err)
		}
	}
}
