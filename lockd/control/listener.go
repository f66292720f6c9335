package control

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// seats is what there is at a socket for those who connect. What they may ask is a matter
// of imsg.Table.
type seats struct {
	role    imsg.Room
	all     int       // connections at once
	streams int       // of those, that follow events
	atOnce  int       // questions that are worked on at once, 0: any number
	pace    imsg.Pace // of the answers to one of them, zero: any
	root    bool      // root finds a seat, whoever has to stand up
}

// seating is the table of them. Who may only look may be anybody's program: all of them
// together have no more of the room's time than lets it admit clients meanwhile.
var seating = map[imsg.Room]seats{
	imsg.Control: {role: imsg.Control, all: 16, streams: 16, root: true},
	imsg.Reader:  {role: imsg.Reader, all: 32, streams: 8, atOnce: 4, pace: imsg.Pace{Burst: 32, Every: 2 * time.Millisecond}},
}

// controlListener accepts the connections of one socket. It owns how many there are, and
// who makes way for a newcomer. Who may connect is a matter of the socket's mode and group.
type controlListener struct {
	mu        sync.Mutex // not held while a connection is opened or closed
	seats                // since it was opened first
	working   chan struct{}
	socket    net.Listener
	operators map[*operator]struct{}

	crowd, nonsense logLimiter // complaints about operators
}

// open serves the listening socket f, which it takes over. An older one is
// closed.
func (l *controlListener) open(f *os.File, s *Service, there seats) error {
	socket, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.role == 0 {
		l.seats, l.working = there, make(chan struct{}, there.atOnce)
	}
	l.mu.Unlock()
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
				s.Log.Error("control connections are not accepted", "error", err, "role", l.role)
			}
			failing = true
			time.Sleep(time.Second) // descriptors or memory ran out: others give some back
			continue
		}
		failing = false
		o, err := s.newOperator(c.(*net.UnixConn), l)
		if err != nil {
			s.Log.Error("control connection is not accepted", "error", err, "role", l.role)
			continue
		}
		way, ok := l.seat(o)
		if way != nil {
			way.conn.Close()
		}
		if !ok {
			if n := l.crowd.due(s.Now()); n > 0 {
				s.Log.Warn("control connections are refused: too many at once", "count", n, "role", l.role)
			}
			o.conn.Close()
			continue
		}
		go o.serve()
	}
}

// seat finds a place for o. If there is none, another's connection makes way, and is to be
// closed.
func (l *controlListener) seat(o *operator) (way *operator, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.operators) >= l.all {
		if way = l.makesWay(o, slices.Collect(maps.Keys(l.operators))); way == nil {
			return nil, false
		}
		delete(l.operators, way)
	}
	if l.operators == nil {
		l.operators = make(map[*operator]struct{})
	}
	o.since = time.Now()
	l.operators[o] = struct{}{}
	return way, true
}

// follow finds a place for o among those who follow events, which it keeps then. As
// with seat, another's connection may have to be closed.
func (l *controlListener) follow(o *operator) (way *operator, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.follows {
		return nil, true
	}
	var others []*operator
	for other := range l.operators {
		if other.follows {
			others = append(others, other)
		}
	}
	if len(others) >= l.streams {
		if way = l.makesWay(o, others); way == nil {
			return nil, false
		}
		delete(l.operators, way)
	}
	o.follows = true
	return way, true
}

// makesWay finds who of others makes way for o; mu is held. It is one that was silent for
// long, and of a user who has many. One that waits for an answer, or follows events, does
// so only for a user who has less, or for root where that finds a seat.
func (l *controlListener) makesWay(o *operator, others []*operator) (way *operator) {
	have := make(map[int]int)
	for _, other := range others {
		have[other.uid]++
	}
	for _, other := range others {
		must := have[other.uid] > have[o.uid]+1 || l.root && o.uid == 0
		if (must || !other.busy()) && (way == nil || compareSeats(other, way, have) < 0) {
			way = other
		}
	}
	return way
}

// compareSeats tells which of two makes way before the other: root does last.
func compareSeats(a, b *operator, have map[int]int) int {
	return cmp.Or(
		compareBool(a.busy(), b.busy()),
		compareBool(a.uid == 0, b.uid == 0),
		cmp.Compare(have[b.uid], have[a.uid]),
		a.since.Compare(b.since),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
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
	o.asking, o.since = true, time.Now()
	return true
}

// answered notes that o waits for nothing any more.
func (l *controlListener) answered(o *operator) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.asking, o.since = false, time.Now()
}

// turn waits until a question may be worked on, and returns what ends the work; nil if its
// asker does not wait any more.
func (l *controlListener) turn(until time.Time) (end func()) {
	if l.atOnce == 0 {
		return func() {}
	}
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case l.working <- struct{}{}:
		return func() { <-l.working }
	case <-late.C:
		return nil
	}
}
