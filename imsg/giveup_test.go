package imsg

import (
	"context"
	"testing"
	"time"
)

// TestGiveUp: who works on a question hears that nobody waits any more, of this
// question alone; the link goes on, and remembers nothing.
func TestGiveUp(t *testing.T) {
	s, l := link(t, Session, Lookupd)
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
		_, err := s.CallUntil(done, &SPF{}, time.Hour)
		failed <- err
	}()
	first := wait(t, asked)
	go func() {
		_, err := s.Call(&SPF{}, time.Hour)
		answered <- err
	}()
	second := wait(t, asked)
	close(done)
	if err := wait(t, failed); err != Gone {
		t.Errorf("given up with %v", err)
	}
	wait(t, first.ctx.Done())
	if second.ctx.Err() != nil {
		t.Error("another question is given up")
	}
	first.r.Answer(&SPFResult{}) // too late
	first.cancel()
	second.r.Answer(&SPFResult{})
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
	if _, err := new(Link).CallUntil(done, &SPF{}, time.Hour); err != Gone {
		t.Errorf("given up with %v", err)
	}
}

func TestLimit(t *testing.T) {
	if Limit(0) != time.Hour || Limit(time.Second) != time.Second || Limit(2*time.Hour) != 2*time.Hour {
		t.Error(Limit(0), Limit(time.Second), Limit(2*time.Hour))
	}
}
