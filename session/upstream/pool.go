// Sockets that only the parent can make: those that may connect from a client's
// address, and those with a firewall mark. This file owns the few of one address
// family that a worker keeps, so that a session seldom waits for one. It never
// connects them.

package upstream

import (
	"context"
	"os"
	"slices"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// poolSize is how many sockets wait for sessions. The first session asks for them:
// a family nobody uses has none.
const poolSize = 8

type socketPool struct {
	ask func(n int) error // the parent, for so many

	mu      sync.Mutex
	free    []*os.File
	asked   int             // on their way
	waiting []chan *os.File // sessions, in their order
}

// get returns a socket, which becomes the caller's. If the parent sends none
// until ctx ends the error is imsg.Resource.
func (p *socketPool) get(ctx context.Context) (*os.File, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		f := p.free[n-1]
		p.free = p.free[:n-1]
		p.refill()
		p.mu.Unlock()
		return f, nil
	}
	turn := make(chan *os.File, 1)
	p.waiting = append(p.waiting, turn)
	p.refill()
	p.mu.Unlock()

	select {
	case f := <-turn:
		return f, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, turn)
	if i < 0 {
		return <-turn, nil // it came in this moment
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.asked = 0 // what has not come by now will not: the next one asks again
	return nil, imsg.Resource
}

// put takes a socket from the parent.
func (p *socketPool) put(f *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = max(p.asked-1, 0)
	switch {
	case len(p.waiting) > 0:
		p.waiting[0] <- f
		p.waiting = p.waiting[1:]
	case len(p.free) < poolSize:
		p.free = append(p.free, f)
	default:
		f.Close() // it was late, and another one was asked for in its place
	}
}

// refill asks for what is missing, a few at a time, or at once if a session waits
// for it; mu is held.
func (p *socketPool) refill() {
	lack := poolSize + len(p.waiting) - len(p.free) - p.asked
	if lack < poolSize/2 && len(p.waiting) <= p.asked {
		return
	}
	n := min(lack, imsg.MaxSockets)
	if p.ask(n) == nil {
		p.asked += n
	}
}
