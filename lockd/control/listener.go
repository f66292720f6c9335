package control

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// maxOperators is how many operators may be connected at once.
const maxOperators = 16

// controlListener accepts operators' connections. It owns how many there are, and who
// makes way for a newcomer. Who may connect is a matter of the socket's mode and group.
type controlListener struct {
	mu        sync.Mutex // not held while a connection is opened or closed
	socket    net.Listener
	operators map[*operator]struct{}

	crowd, nonsense logLimiter // complaints about operators
}

// open serves the listening socket f, which it takes over. An older one is
// closed.
func (l *controlListener) open(f *os.File, s *Service) error {
	socket, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return err
	}
	l.exchange(socket)
	go l.accept(socket, s)
	return nil
}

func (l *controlListener) close() { l.exchange(nil) }

// exchange puts a socket in the place of an older one, which is closed.
func (l *controlListener) exchange(socket net.Listener) {
	l.mu.Lock()
	old := l.socket
	l.socket = socket
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func (l *controlListener) accept(socket net.Listener, s *Service) {
	failing := false // and that was said
	for {
		c, err := socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !failing {
				s.Log.Error("control connections are not accepted", "error", err)
			}
			failing = true
			time.Sleep(time.Second) // descriptors or memory ran out: others give some back
			continue
		}
		failing = false
		o, err := s.newOperator(c.(*net.UnixConn))
		if err != nil {
			s.Log.Error("control connection is not accepted", "error", err)
			continue
		}
		idle, ok := l.seat(o)
		if idle != nil {
			idle.conn.Close()
		}
		if !ok {
			if n := l.crowd.due(s.Now()); n > 0 {
				s.Log.Warn("control connections are refused: too many at once", "count", n)
			}
			o.conn.Close()
			continue
		}
		go o.serve()
	}
}

// seat finds a place for o. If there is none, the connection that was silent for
// the longest time makes way, and is to be closed; none that waits for an answer does.
func (l *controlListener) seat(o *operator) (idle *operator, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.operators) >= maxOperators {
		for other := range l.operators {
			if !other.asking && (idle == nil || other.since.Before(idle.since)) {
				idle = other
			}
		}
		if idle == nil {
			return nil, false
		}
		delete(l.operators, idle)
	}
	if l.operators == nil {
		l.operators = make(map[*operator]struct{})
	}
	o.since = time.Now()
	l.operators[o] = struct{}{}
	return idle, true
}

func (l *controlListener) leave(o *operator) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.operators, o)
}

// asks notes that o waits for an answer; false if it does so already.
func (l *controlListener) asks(o *operator) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.asking {
		return false
	}
	o.asking = true
	return true
}

// answered notes that o waits for nothing any more.
func (l *controlListener) answered(o *operator) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.asking, o.since = false, time.Now()
}
