package upstream

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// supplier is a parent that gives pipes for sockets.
type supplier struct {
	socketPool
	t     *testing.T
	mu    sync.Mutex
	sent  int
	slow  bool
	owing int
}

func newSupplier(t *testing.T) *supplier {
	s := &supplier{t: t}
	s.ask = func(n int) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n < 1 || n > imsg.MaxSockets {
			t.Errorf("asked for %d", n)
		}
		s.owing += n
		if !s.slow {
			go s.deliver()
		}
		return nil
	}
	return s
}

func (s *supplier) deliver() {
	s.mu.Lock()
	n := s.owing
	s.owing = 0
	s.sent += n
	s.mu.Unlock()
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.put(f)
	}
}

func TestPool(t *testing.T) {
	s := newSupplier(t)
	const sessions = 500
	var all sync.WaitGroup
	for range sessions {
		all.Go(func() {
			f, err := s.get(soon(t, imsgtest.Patience))
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	all.Wait()
	var free int
	imsgtest.Until(t, "all that was asked for is there", func() bool {
		s.socketPool.mu.Lock()
		defer s.socketPool.mu.Unlock()
		free = len(s.free)
		return s.asked == 0 && len(s.waiting) == 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent != sessions+free || free > poolSize || free <= poolSize/2 {
		t.Errorf("%d sent to %d sessions, %d in the pool", s.sent, sessions, free)
	}
}

func TestPoolRunsOut(t *testing.T) {
	s := newSupplier(t)
	s.slow = true
	for range 2 { // the second asks again
		if _, err := s.get(soon(t, 10*time.Millisecond)); !errors.Is(err, imsg.Resource) {
			t.Errorf("error %v", err)
		}
	}
	if s.owing != 2*(poolSize+1) {
		t.Errorf("%d asked for", s.owing)
	}
	s.deliver()
	if len(s.free) != poolSize || s.asked != 0 {
		t.Errorf("%d in the pool, %d asked for", len(s.free), s.asked)
	}
	f, err := s.get(soon(t, imsgtest.Patience))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// soon ends after a while.
func soon(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
