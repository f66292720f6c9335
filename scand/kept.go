// The connections to clamd that no scan uses. This file owns how long they are kept.

package scand

import (
	"context"
	"slices"
	"sync"
	"time"
)

// maxIdle is far less than what clamd allows a client to say nothing (CommandReadTimeout,
// 30 seconds), and long enough for whoever is busy.
const maxIdle = 5 * time.Second

// kept are the connections, the one used last at the end: it is the next to be used, so
// that a quiet time leaves few. There are never more than scans at once.
type kept struct {
	mu    sync.Mutex
	all   []*idsession
	aging bool // a timer runs
	ended bool
}

// take returns a connection that is attached to ctx, or nil if there is none. What clamd
// has closed, or says anything on unasked, is of no use.
func (k *kept) take(ctx context.Context) *idsession {
	for {
		s := k.last()
		switch {
		case s == nil:
			return nil
		case s.quiet():
			s.attach(ctx)
			return s
		}
		s.close()
	}
}

func (k *kept) last() *idsession {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.all)
	if n == 0 {
		return nil
	}
	s := k.all[n-1]
	k.all = k.all[:n-1]
	return s
}

// put keeps a connection on which nothing is owed.
func (k *kept) put(s *idsession) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		s.end()
		return
	}
	s.idle = time.Now()
	k.all = append(k.all, s)
	if !k.aging {
		k.aging = true
		time.AfterFunc(maxIdle, k.age)
	}
}

// age ends what has been idle for too long.
func (k *kept) age() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(k.all) && now.Sub(k.all[n].idle) >= maxIdle {
		k.all[n].end()
		n++
	}
	k.all = slices.Delete(k.all, 0, n)
	if k.aging = len(k.all) > 0; k.aging {
		time.AfterFunc(maxIdle-now.Sub(k.all[0].idle), k.age)
	}
}

// end ends all, and whatever is put later.
func (k *kept) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	for _, s := range k.all {
		s.end()
	}
	k.all = nil
}
