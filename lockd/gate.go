// The control socket: accepts operators' connections. This file owns how many
// there are, how long one may say nothing, and that each asks one thing at a
// time. Who may connect is a matter of the socket's mode and group.

package lockd

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	maxOperators = 16
	// idleTime is how long a connection may stay without a question.
	idleTime = time.Minute
)

type gate struct {
	mu       sync.Mutex
	listener net.Listener
	seats    chan struct{}

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

func newGate() *gate { return &gate{seats: make(chan struct{}, maxOperators)} }

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
		select {
		case g.seats <- struct{}{}:
			go func() {
				defer func() { <-g.seats }()
				k.operator(c)
			}()
		default:
			if n := g.crowd.due(k.machine.now()); n > 0 {
				k.log.Warn("control connections are refused: too many at once", "count", n)
			}
			c.Close()
		}
	}
}

// operator serves one connection until it ends or stays silent.
func (k *keeper) operator(c net.Conn) {
	f, err := c.(*net.UnixConn).File()
	c.Close()
	if err != nil {
		k.log.Error("control connection is not accepted", "error", err)
		return
	}
	conn, err := imsg.NewConn(f, imsg.Lockd, imsg.Control)
	if err != nil {
		k.log.Error("control connection is not accepted", "error", err)
		return
	}
	idle := time.AfterFunc(idleTime, func() { conn.Close() })
	defer idle.Stop()
	var asked atomic.Bool
	err = conn.Serve(func(r imsg.Request) {
		if !asked.CompareAndSwap(false, true) {
			r.Fail(imsg.Busy)
			return
		}
		idle.Stop()
		go func() {
			m := k.answer(r.Message)
			asked.Store(false)
			idle.Reset(idleTime)
			r.Answer(m)
		}()
	})
	if err == nil {
		return
	}
	if n := k.gate.nonsense.due(k.machine.now()); n > 0 {
		k.log.Warn("control connections are closed", "count", n, "error", err)
	}
}
