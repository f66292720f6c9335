// Sockets that only the parent can make: those that may connect from a client's
// address, and those with a firewall mark. This file owns the few of one address
// family that a worker keeps, so that a session seldom waits for one. It never
// connects them.

package session

import (
	"context"
	"os"
	"slices"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// inStock is how many sockets wait for sessions. The first session asks for them:
// a family nobody uses has none.
const inStock = 8

type stock struct {
	ask func(n int) error // the parent, for so many

	mu      sync.Mutex
	free    []*os.File
	asked   int             // on their way
	waiting []chan *os.File // sessions, in their order
}

// take returns a socket, which becomes the caller's. If the parent sends none
// until ctx ends the error is imsg.Resource.
func (s *stock) take(ctx context.Context) (*os.File, error) {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		f := s.free[n-1]
		s.free = s.free[:n-1]
		s.refill()
		s.mu.Unlock()
		return f, nil
	}
	turn := make(chan *os.File, 1)
	s.waiting = append(s.waiting, turn)
	s.refill()
	s.mu.Unlock()

	select {
	case f := <-turn:
		return f, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, turn)
	if i < 0 {
		return <-turn, nil // it came in this moment
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.asked = 0 // what has not come by now will not: the next one asks again
	return nil, imsg.Resource
}

// put takes a socket from the parent.
func (s *stock) put(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = max(s.asked-1, 0)
	switch {
	case len(s.waiting) > 0:
		s.waiting[0] <- f
		s.waiting = s.waiting[1:]
	case len(s.free) < inStock:
		s.free = append(s.free, f)
	default:
		f.Close() // it was late, and another one was asked for in its place
	}
}

// refill asks for what is missing, a few at a time, or at once if a session waits
// for it; mu is held.
func (s *stock) refill() {
	lack := inStock + len(s.waiting) - len(s.free) - s.asked
	if lack < inStock/2 && len(s.waiting) <= s.asked {
		return
	}
	n := min(lack, imsg.MaxSockets)
	if s.ask(n) == nil {
		s.asked += n
	}
}
