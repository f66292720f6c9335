package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file owns the loop: one goroutine that waits for the news of all connections, and
// tells their owners one after the other.

// Poller finds out what is new of descriptors. It is a Loop, or Goroutines.
type Poller interface {
	// add has a descriptor watched until remove. That it can be read, or has ended, is
	// news from the start, and that it can be written if room is wanted.
	add(fd int, w watched, room bool) error
	// await says that a descriptor could not be read, or written; it is news when it can.
	await(fd int, n News)
	// remove is due before it is closed; shared is one that others have, too.
	remove(fd int, shared bool)
}

// watched is a descriptor's owner. Turn is nil outside a loop.
type watched interface{ happened(turn *Turn, n News) }

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
	slots []watched // by descriptor

	slow     atomic.Uint64 // odd: something slow is being done
	watching atomic.Bool
	wary     atomic.Int64 // until then, in nanoseconds since the epoch
}

// NewLoop returns a Loop, which runs until the process ends. The error is that of the
// system.
func NewLoop() (*Loop, error) {
	l := new(Loop)
	if err := l.events.open(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *Loop) add(fd int, w watched, room bool) error {
	l.mu.Lock()
	for len(l.slots) <= fd {
		l.slots = append(l.slots, nil)
	}
	l.slots[fd] = w
	l.mu.Unlock()
	return l.events.add(fd, room)
}

func (l *Loop) await(fd int, n News) {
	if n == Writable {
		l.events.wantRoom(fd)
	}
}

func (l *Loop) remove(fd int, shared bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots[fd] = nil; shared {
		l.events.forget(fd)
	}
}

// at is who has a descriptor. It may be another than the news is of, who hears of it for
// nothing.
func (l *Loop) at(fd int) watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots[fd]
}

// run is the loop. It returns when another goroutine has taken its turn.
func (l *Loop) run() {
	turn := &Turn{loop: l}
	for {
		for l.next < l.n {
			fd, n := l.events.at(l.next)
			l.next++
			if w := l.at(fd); w != nil {
				w.happened(turn, n)
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
