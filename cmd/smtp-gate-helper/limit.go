// How often a proxy may ask: a bucket each, that fills with time.

package main

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory for addresses that may be forged.
const maxBuckets = 4096

type limits struct {
	rate float64 // questions a second, and how many at once
	now  func() time.Time

	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimits(rate float64) *limits {
	return &limits{rate: rate, now: time.Now, buckets: make(map[netip.Addr]bucket)}
}

// take reports whether a may ask one more question now.
func (l *limits) take(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, ok := l.buckets[a]
	if !ok {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		if len(l.buckets) >= maxBuckets {
			return false
		}
		b.left = l.rate
	}
	b.left = min(l.rate, b.left+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	l.buckets[a] = b
	return ok
}

// sweep forgets the buckets that are full again: one second fills any.
func (l *limits) sweep(now time.Time) {
	for a, b := range l.buckets {
		if now.Sub(b.at) >= time.Second {
			delete(l.buckets, a)
		}
	}
}
