package link

import (
	"context"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestGiveUp: who works on a question hears that nobody waits any more, of this
// question alone; the link goes on, and remembers nothing.
func TestGiveUp(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lookupd)
	serve(s, func(Request) {})
	type work struct {
		r      Request
		ctx    context.Context
		cancel context.CancelFunc
	}
	asked := make(chan work, 2)
	serve(l, func(r Request) {
		ctx, cancel := r.Context(t.Context())
		asked <- work{r, ctx, cancel}
	})
	done, failed, answered := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := AskUntil(s, done, &imsg.SPF{}, time.Hour)
		failed <- err
	}()
	first := wait(t, asked)
	go func() {
		_, err := Ask(s, &imsg.SPF{}, time.Hour)
		answered <- err
	}()
	second := wait(t, asked)
	close(done)
	if err := wait(t, failed); err != imsg.Gone {
		t.Errorf("given up with %v", err)
	}
	wait(t, first.ctx.Done())
	if second.ctx.Err() != nil {
		t.Error("another question is given up")
	}
	first.r.answer(&imsg.SPFResult{}) // too late
	first.cancel()
	second.r.answer(&imsg.SPFResult{})
	second.cancel()
	if err := wait(t, answered); err != nil {
		t.Error(err)
	}
	l.callMu.Lock()
	defer l.callMu.Unlock()
	if len(l.working) != 0 {
		t.Errorf("%d questions are remembered", len(l.working))
	}
}

// A peer that is not there is not waited for either.
func TestGiveUpBeforeThereIsALink(t *testing.T) {
	done := make(chan struct{})
	close(done)
	if _, err := AskUntil(new(Peer), done, &imsg.SPF{}, time.Hour); err != imsg.Gone {
		t.Errorf("given up with %v", err)
	}
}

func TestLimit(t *testing.T) {
	if imsg.Limit(0) != time.Hour || imsg.Limit(time.Second) != time.Second || imsg.Limit(2*time.Hour) != 2*time.Hour {
		t.Error(imsg.Limit(0), imsg.Limit(time.Second), imsg.Limit(2*time.Hour))
	}
}
