// The control socket: accepts operators' connections. This file owns how many
// there are, and who makes way for a newcomer. Who may connect is a matter of the
// socket's mode and group.

package lockd

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const maxOperators = 16

type gate struct {
	mu        sync.Mutex
	listener  net.Listener
	operators map[*operator]struct{}

	crowd, nonsense seldom // complaints about operators
}

// seldom keeps a complaint that anybody can cause from filling the log.
type seldom struct {
	mu    sync.Mutex
	said  time.Time
	since int // causes that were not told yet
}

// due counts one more cause. It returns how many there were if it is time to
// tell, else 0.
func (s *seldom) due(now time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since++
	if now.Sub(s.said) < time.Minute {
		return 0
	}
	n, s.since, s.said = s.since, 0, now
	return n
}

func newGate() *gate { return &gate{operators: make(map[*operator]struct{})} }

// open serves the listening socket f, which it takes over. An older one is
// closed.
func (g *gate) open(f *os.File, k *keeper) error {
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return err
	}
	g.mu.Lock()
	old := g.listener
	g.listener = l
	g.mu.Unlock()
	if old != nil {
		old.Close()
	}
	go g.accept(l, k)
	return nil
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		g.listener.Close()
	}
}

func (g *gate) accept(l net.Listener, k *keeper) {
	failing := false // and that was said
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !failing {
				k.log.Error("control connections are not accepted", "error", err)
			}
			failing = true
			time.Sleep(time.Second) // descriptors or memory ran out: others give some back
			continue
		}
		failing = false
		o, err := k.newOperator(c.(*net.UnixConn))
		if err != nil {
			k.log.Error("control connection is not accepted", "error", err)
			continue
		}
		if !g.seat(o) {
			if n := g.crowd.due(k.machine.now()); n > 0 {
				k.log.Warn("control connections are refused: too many at once", "count", n)
			}
			o.conn.Close()
			continue
		}
		go o.serve()
	}
}

// seat finds a place for o. If there is none, the connection that was silent for
// the longest time makes way; none that waits for an answer does.
func (g *gate) seat(o *operator) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.operators) >= maxOperators {
		var idle *operator
		for other := range g.operators {
			if !other.asking && (idle == nil || other.since.Before(idle.since)) {
				idle = other
			}
		}
		if idle == nil {
			return false
		}
		delete(g.operators, idle)
		idle.conn.Close()
	}
	o.since = time.Now()
	g.operators[o] = struct{}{}
	return true
}

func (g *gate) leave(o *operator) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.operators, o)
}

// asks notes that o waits for an answer; false if it does so already.
func (g *gate) asks(o *operator) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.asking {
		return false
	}
	o.asking = true
	return true
}

// answered notes that o waits for nothing any more.
func (g *gate) answered(o *operator) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o.asking, o.since = false, time.Now()
}
