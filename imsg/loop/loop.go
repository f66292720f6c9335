// Package loop waits for the news of descriptors: one goroutine waits for all of a room's,
// and tells their owners one after the other.
package loop

import (
	"sync"
	"sync/atomic"
	"time"
)

// News is what may be tried with a descriptor.
type News uint32

// The news.
const (
	Readable News = 1 << iota
	Writable
	Ended // there will be no news that it is readable: it is, to its end
)

// Poller finds out what is new of descriptors. It is a Loop, or Goroutines.
type Poller interface {
	// Add has a descriptor watched until Remove. That it can be read, or has ended, is
	// news from the start.
	Add(fd int, w Watched, as Watch) error
	// Await says that a descriptor could not be read, or written; it is news when it can.
	Await(fd int, n News)
	// Remove is due before it is closed; shared is one that others have, too.
	Remove(fd int, shared bool)
}

// Watched is a descriptor's owner. Turn is nil outside a loop.
type Watched interface{ Happened(turn *Turn, n News) }

// Owner is who is told of the news of what lies between a descriptor and him. Any goroutine
// may do so, and it may be for nothing.
type Owner interface{ News(turn *Turn) }

// Watch is how a descriptor is watched.
type Watch uint8

// The ways to watch.
const (
	Changes Watch = iota // once it can be read is told once, until Await
	Room                 // so is that there is room to write, from the start
	State                // that it can be read is told for as long as it can
)

const (
	// batch is how many news a loop takes at once.
	batch = 128
	// stuckAfter is how often a loop that does something slow is looked at: it goes on
	// without it between one and two of them later.
	stuckAfter = 20 * time.Millisecond
	// wariness is how long nothing slow is done in a loop after that.
	wariness = 5 * time.Second
)

// Loop is the Poller of a process: one goroutine for all.
type Loop struct {
	events events
	n      int     // of them, from the last wait
	next   int     // that is not told yet
	again  []Owner // who has more to do

	mu    sync.Mutex
	slots []slot // by descriptor

	slow     atomic.Uint64 // odd: something slow is being done
	watching atomic.Bool
	wary     atomic.Int64 // until then, in nanoseconds since the epoch
}

type slot struct {
	Watched
	as Watch
}

// New returns a Loop, which runs until the process ends. The error is that of the
// system.
func New() (*Loop, error) {
	l := new(Loop)
	if err := l.events.open(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// Add is a Poller's.
func (l *Loop) Add(fd int, w Watched, as Watch) error {
	l.mu.Lock()
	for len(l.slots) <= fd {
		l.slots = append(l.slots, slot{})
	}
	l.slots[fd] = slot{w, as}
	l.mu.Unlock()
	err := l.events.add(fd, as)
	if err != nil {
		l.Remove(fd, false)
	}
	return err
}

// Await is a Poller's.
func (l *Loop) Await(fd int, n News) {
	if n == Writable {
		l.events.wantRoom(fd, l.how(fd))
	}
}

// Remove is a Poller's.
func (l *Loop) Remove(fd int, shared bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots[fd] = (slot{}); shared {
		l.events.forget(fd)
	}
}

// told is who is to be told of news of a descriptor. That may be another than it is of, who
// hears of it for nothing.
func (l *Loop) told(fd int, n News) Watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.slots[fd]
	if s.as == State && n&Writable != 0 {
		l.events.hasRoom(fd)
	}
	return s.Watched
}

func (l *Loop) how(fd int) Watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots[fd].as
}

// run is the loop. It returns when another goroutine has taken its turn.
func (l *Loop) run() {
	turn := &Turn{loop: l}
	for {
		for l.next < l.n {
			fd, n := l.events.at(l.next)
			l.next++
			if w := l.told(fd, n); w != nil {
				w.Happened(turn, n)
			}
			if turn.lost {
				return
			}
		}
		for range len(l.again) {
			o := l.again[0]
			l.again = l.again[:copy(l.again, l.again[1:])]
			o.News(turn)
			if turn.lost {
				return
			}
		}
		l.n, l.next = l.events.wait(len(l.again) == 0), 0
	}
}

// Turn is a goroutine that serves many, and must not be kept by one: a loop's while it tells
// owners, or Passing. nil is a goroutine of one's own.
type Turn struct {
	loop *Loop
	lost bool
}

// Passing is a goroutine that serves others, too, and is no loop's.
var Passing = new(Turn)

// Again has an owner told once more, behind all others that have news. It tells whether
// it will be: only a loop can do that.
func (t *Turn) Again(o Owner) bool {
	if t == nil || t.loop == nil || t.lost {
		return false
	}
	t.loop.again = append(t.loop.again, o)
	return true
}

// Wary tells whether something slow is to be left to another goroutine: it must not be done
// here, or lately it has kept the loop waiting.
func (t *Turn) Wary() bool {
	return t == Passing || t != nil && !t.lost && time.Now().UnixNano() < t.loop.wary.Load()
}

// Slow does what may take its time, a file's. The loop goes on without this goroutine if it
// does.
func (t *Turn) Slow(f func()) {
	if t == nil || t.loop == nil || t.lost {
		f()
		return
	}
	l := t.loop
	n := l.slow.Add(1)
	defer func() { t.lost = !l.slow.CompareAndSwap(n, n+1) }()
	l.watch()
	f()
}

// watch looks, while slow things are done, whether one takes too long.
func (l *Loop) watch() {
	if l.watching.Load() || !l.watching.CompareAndSwap(false, true) {
		return
	}
	go func() {
		before := uint64(0)
		for same := 0; ; {
			time.Sleep(stuckAfter)
			n := l.slow.Load()
			if n != before {
				before, same = n, 0
				continue
			}
			if n%2 == 1 && l.slow.CompareAndSwap(n, n+1) {
				l.wary.Store(time.Now().Add(wariness).UnixNano())
				go l.run()
				continue
			}
			if same++; same < 50 {
				continue
			}
			l.watching.Store(false)
			if l.slow.Load() != n {
				l.watch()
			}
			return
		}
	}()
}
