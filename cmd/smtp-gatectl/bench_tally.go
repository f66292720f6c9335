// What the command bench has counted: shared by all its sessions, bounded whatever servers
// say. This file owns the numbers and their sums, not how they are shown.

package main

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tally is what became of a load.
type tally struct {
	asked, done struct{ sessions, mails, idle atomic.Int64 }
	tls         atomic.Int64 // sessions
	resumed     atomic.Int64 // of them, those without a full handshake
	octets      atomic.Int64 // of accepted messages
	greeting    histogram    // from the begin of the connection
	endOfData   histogram    // from the last octets of a message
	handshake   histogram    // of TLS

	idleGreeting histogram // of the sessions that are held

	mu       sync.Mutex
	mishaps  map[mishap]*mishaps
	unlisted int64 // those of further kinds than mostKinds
}

// mishap is the kind of what went otherwise than asked.
type mishap struct {
	step string // the command, or what else was done
	what string // the code of the reply, or a word
}

type mishaps struct {
	count int64
	text  string // of the first
}

// mostKinds bounds what a server that answers by dice is remembered by.
const mostKinds = 200

// mishap counts one; text is the reply or the error.
func (t *tally) mishap(kind mishap, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.mishaps[kind]
	if m == nil {
		if len(t.mishaps) == mostKinds {
			t.unlisted++
			return
		}
		if t.mishaps == nil {
			t.mishaps = map[mishap]*mishaps{}
		}
		m = &mishaps{text: text}
		t.mishaps[kind] = m
	}
	m.count++
}

// benchError is a kind in the result.
type benchError struct {
	Step    string `json:"step"`
	What    string `json:"what"`
	Count   int64  `json:"count"`
	Example string `json:"example"`
}

// errors lists the kinds, the most frequent first.
func (t *tally) errors() []benchError {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []benchError{}
	for kind, m := range t.mishaps {
		list = append(list, benchError{kind.step, kind.what, m.count, m.text})
	}
	slices.SortFunc(list, func(a, b benchError) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Step, b.Step), cmp.Compare(a.What, b.What))
	})
	if t.unlisted > 0 {
		list = append(list, benchError{"any", "of further kinds", t.unlisted, ""})
	}
	return list
}

// histogram counts durations in ranges, each a 32nd of its power of two, from 128 ns to
// more than two hours.
type histogram struct {
	ranges [30*rangeParts + 2*rangeParts]atomic.Uint32
	count  atomic.Int64
	most   atomic.Int64 // exactly, ns
}

const (
	rangeParts = 32
	rangeUnit  = 7 // bits of 128 ns
)

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	units := uint64(d) >> rangeUnit
	shift := max(bits.Len64(units)-6, 0)
	h.ranges[min(shift*rangeParts+int(units>>shift), len(h.ranges)-1)].Add(1)
	h.count.Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile returns what a share of the durations, 0 to 1, did not exceed, to a 32nd; 0 if
// there are none.
func (h *histogram) quantile(share float64) time.Duration {
	left := max(int64(share*float64(h.count.Load())+0.5), 1)
	most := time.Duration(h.most.Load())
	for i := range h.ranges {
		if left -= int64(h.ranges[i].Load()); left > 0 {
			continue
		}
		shift := max(i/rangeParts-1, 0)
		return min(time.Duration(uint64(i-shift*rangeParts+1)<<shift<<rangeUnit), most)
	}
	return most
}

// latency is a histogram in the result, in seconds.
type latency struct {
	Count  int64   `json:"count"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

func (h *histogram) latency() latency {
	return latency{h.count.Load(), h.quantile(0.5).Seconds(), h.quantile(0.99).Seconds(), time.Duration(h.most.Load()).Seconds()}
}
