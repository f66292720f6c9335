package rates

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what a quota means; it does no I/O and knows no clock.

// MaxTargets is how many servers of a client's are remembered.
const MaxTargets = 64

// Record is what is remembered of a client.
type Record struct {
	generation uint64 // whose quotas these are
	cleared    int64  // Unix nanoseconds
	quotas     quotas // 0: that counter is off
	used       quotas
	tries      quotas // used or refused
	targets    []imsg.RateTarget
	tlsServers []netip.Addr // those that the used ones of imsg.RateTLSServers are
}

func newRecord(l *rules, now int64) *Record {
	return &Record{generation: l.generation, cleared: now, quotas: l.quotas}
}

// renew brings a record up to date: it goes before each use.
func (r *Record) renew(l *rules, now int64) {
	if l.generation > r.generation {
		r.generation, r.quotas = l.generation, l.quotas
	}
	switch {
	case r.cleared > now: // the clock was ahead, and would stop the period
		r.cleared = now
	case now-r.cleared > int64(l.period):
		r.used, r.tries, r.tlsServers, r.cleared = quotas{}, quotas{}, nil, now
	}
}

// restarted is a record whose period begins now, with r's quotas.
func (r *Record) restarted(now int64) *Record {
	return &Record{generation: r.generation, cleared: now, quotas: r.quotas}
}

func (r *Record) clone() *Record {
	c := *r
	c.targets, c.tlsServers = slices.Clone(r.targets), slices.Clone(r.tlsServers)
	return &c
}

// use takes n of a quota, or refuses and takes nothing. Octets that have passed already
// take what is left.
func (r *Record) use(c imsg.Rate, n uint64) bool {
	over := false // a quota was lowered under what is used
	for i, q := range r.quotas {
		over = over || q > 0 && r.used[i] > q
	}
	if r.quotas[c] == 0 {
		return !over
	}
	if r.tries[c] += n; r.tries[c] < n {
		r.tries[c] = math.MaxUint64
	}
	if over || n > r.quotas[c]-r.used[c] {
		if !over && c == imsg.RateTLSBytes {
			r.used[c] = r.quotas[c]
		}
		return false
	}
	r.used[c] += n
	return true
}

// unuse takes a use back, as far as it was of this period.
func (r *Record) unuse(c imsg.Rate, n uint64) {
	r.used[c] -= min(n, r.used[c])
	r.tries[c] -= min(n, r.tries[c])
}

// useServer is use for a server that is called with TLS; fresh tells that it was not
// before in this period.
func (r *Record) useServer(server netip.Addr) (passes, fresh bool) {
	const c = imsg.RateTLSServers
	switch {
	case slices.Contains(r.tlsServers, server):
		return r.use(c, 0), false
	case r.quotas[c] == 0 || len(r.tlsServers) >= imsg.MaxRateServers:
		return r.use(c, 0) && r.quotas[c] == 0, false
	case !r.use(c, 1):
		return false, false
	}
	r.tlsServers = append(r.tlsServers, server)
	return true, true
}

// unuseServer takes that back, as far as it was of this period.
func (r *Record) unuseServer(server netip.Addr) {
	if i := slices.Index(r.tlsServers, server); i >= 0 {
		r.tlsServers = slices.Delete(r.tlsServers, i, i+1)
		r.unuse(imsg.RateTLSServers, 1)
	}
}

// visit remembers a call of target, or refuses it because all the servers
// remembered were called within period.
func (r *Record) visit(target netip.Addr, period time.Duration, now int64) bool {
	oldest := 0
	for i := range r.targets {
		t := &r.targets[i]
		t.Last = min(t.Last, now)
		if t.Address == target {
			t.Last = now
			return true
		}
		if t.Last < r.targets[oldest].Last {
			oldest = i
		}
	}
	this := imsg.RateTarget{Address: target, Last: now}
	if len(r.targets) < MaxTargets {
		r.targets = append(r.targets, this)
		return true
	}
	if now-r.targets[oldest].Last < int64(period) {
		return false
	}
	r.targets[oldest] = this
	return true
}

// counted is the set of counters that are on.
func (r *Record) counted() (s imsg.RateSet) {
	for i, q := range r.quotas {
		if q > 0 {
			s |= 1 << i
		}
	}
	return s
}

// idle tells whether a fresh record would say the same at the next use.
func (r *Record) idle(l *rules, now int64) bool {
	if now-r.cleared <= int64(l.period) || r.generation > l.generation || r.generation == l.generation && r.quotas != l.quotas {
		return false
	}
	if l.targetPeriod >= 0 {
		for _, t := range r.targets {
			if now-t.Last < int64(l.targetPeriod) {
				return false
			}
		}
	}
	return true
}
