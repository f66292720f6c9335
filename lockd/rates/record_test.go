package rates

import (
	"bytes"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestUse(t *testing.T) {
	for _, row := range []struct {
		name        string
		quota, used uint64
		other       [2]uint64 // quota and used of another counter
		amount      uint64
		passes      bool
		wantUsed    uint64
		wantTries   uint64
	}{
		{"first", 2, 0, [2]uint64{}, 1, true, 1, 1},
		{"last", 2, 1, [2]uint64{}, 1, true, 2, 1},
		{"one too many", 2, 2, [2]uint64{}, 1, false, 2, 1},
		{"would pass the quota", 100, 60, [2]uint64{}, 41, false, 60, 41},
		{"just reaches it", 100, 60, [2]uint64{}, 40, true, 100, 40},
		{"nothing, at the quota", 2, 2, [2]uint64{}, 0, true, 2, 0},
		{"off", 0, 0, [2]uint64{}, 1000, true, 0, 0},
		{"above its quota", 2, 3, [2]uint64{}, 0, false, 3, 0},
		{"another at its quota", 2, 0, [2]uint64{5, 5}, 1, true, 1, 1},
		{"another above its quota", 2, 0, [2]uint64{5, 6}, 1, false, 0, 1},
		{"off, another above its quota", 0, 0, [2]uint64{5, 6}, 1, false, 0, 0},
		{"another above, but off", 2, 0, [2]uint64{0, 6}, 1, true, 1, 1},
		{"no wrap", 100, 60, [2]uint64{}, math.MaxUint64, false, 60, math.MaxUint64},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := new(Record)
			r.quotas[imsg.RateMessages], r.used[imsg.RateMessages] = row.quota, row.used
			r.quotas[imsg.RateBytes], r.used[imsg.RateBytes] = row.other[0], row.other[1]
			if got := r.use(imsg.RateMessages, row.amount); got != row.passes {
				t.Errorf("passes: %v", got)
			}
			if r.used[imsg.RateMessages] != row.wantUsed || r.tries[imsg.RateMessages] != row.wantTries || r.used[imsg.RateBytes] != row.other[1] {
				t.Errorf("%+v", r)
			}
		})
	}
	r := &Record{tries: quotas{imsg.RateBytes: math.MaxUint64}, quotas: quotas{imsg.RateBytes: 1}}
	if r.use(imsg.RateBytes, 7); r.tries[imsg.RateBytes] != math.MaxUint64 {
		t.Errorf("tries went round to %d", r.tries[imsg.RateBytes])
	}
}

func TestRenew(t *testing.T) {
	l := &rules{period: 10 * time.Second, generation: 5, quotas: quotas{3}}
	const start = int64(1000 * time.Second)
	old := Record{generation: 5, cleared: start, quotas: quotas{1}, used: quotas{1}, tries: quotas{2}}
	for _, row := range []struct {
		name       string
		generation uint64
		after      time.Duration
		want       Record
	}{
		{"within the period", 5, 10 * time.Second, old},
		{"behind it", 5, 10*time.Second + 1, Record{generation: 5, cleared: start + int64(10*time.Second) + 1, quotas: quotas{1}}},
		{"the clock was ahead", 5, -time.Hour, Record{generation: 5, cleared: start - int64(time.Hour), quotas: quotas{1}, used: quotas{1}, tries: quotas{2}}},
		{"older generation", 4, 0, Record{generation: 5, cleared: start, quotas: quotas{3}, used: quotas{1}, tries: quotas{2}}},
		{"personal", 6, 0, Record{generation: 6, cleared: start, quotas: quotas{1}, used: quotas{1}, tries: quotas{2}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := old
			r.generation = row.generation
			if r.renew(l, start+int64(row.after)); !reflect.DeepEqual(r, row.want) {
				t.Errorf("%+v, want %+v", r, row.want)
			}
		})
	}
}

func TestVisit(t *testing.T) {
	const period = time.Minute
	r := new(Record)
	target := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	now := int64(time.Hour)
	for i := range MaxTargets {
		now++
		if !r.visit(target(i), period, now) {
			t.Fatal(i)
		}
	}
	if r.visit(target(100), period, now) {
		t.Error("a full table of young ones takes another")
	}
	if !r.visit(target(0), period, now) {
		t.Error("a known one is refused")
	}
	if !r.visit(target(100), 0, now) {
		t.Error("refused, though none is younger than no time")
	}
	// 1 was the oldest and is gone; 0 had been renewed.
	known := func(a netip.Addr) bool {
		return slices.ContainsFunc(r.targets, func(t imsg.RateTarget) bool { return t.Address == a })
	}
	if known(target(1)) || !known(target(0)) || len(r.targets) != MaxTargets {
		t.Errorf("%+v", r.targets)
	}
	now += int64(period)
	if !r.visit(target(1), period, now) {
		t.Error("refused when the oldest is old enough")
	}
	if !r.visit(target(1), period, now-int64(time.Hour)) || !r.visit(target(101), period, now-int64(time.Hour)+int64(period)) {
		t.Error("a clock that was ahead keeps targets for too long")
	}
}

// naive is the limiter as its manual tells it: it writes down all that happened
// and adds up.
type naive struct {
	generation uint64
	quotas     quotas
	cleared    int64
	events     []event
}

type event struct {
	c      imsg.Rate
	n      uint64
	passed bool
}

func (m *naive) sum(c imsg.Rate, all bool) (n uint64) {
	for _, e := range m.events {
		if e.c == c && (all || e.passed) {
			n += e.n
		}
	}
	return n
}

func (m *naive) use(l *rules, c imsg.Rate, n uint64, now int64) bool {
	if l.generation > m.generation {
		m.generation, m.quotas = l.generation, l.quotas
	}
	if now-m.cleared > int64(l.period) {
		m.events, m.cleared = nil, now
	}
	passed := true
	for i, q := range m.quotas {
		if q > 0 && m.sum(imsg.Rate(i), false) > q {
			passed = false
		}
	}
	if q := m.quotas[c]; q > 0 {
		passed = passed && m.sum(c, false)+n <= q
		m.events = append(m.events, event{c, n, passed})
	}
	return passed
}

func TestLimiterAgainstNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Uint64Range(0, 6)
		counter := rapid.Custom(func(t *rapid.T) imsg.Rate {
			return imsg.Rate(rapid.IntRange(0, int(imsg.RateCounters)-1).Draw(t, "counter"))
		})
		draw := func(t *rapid.T) (q quotas) {
			for i := range q {
				q[i] = small.Draw(t, "quota")
			}
			return q
		}
		now := int64(1e15)
		l := &rules{period: 10 * time.Second, generation: small.Draw(t, "generation"), quotas: draw(t)}
		r := newRecord(l, now)
		m := &naive{generation: l.generation, quotas: l.quotas, cleared: now}
		t.Repeat(map[string]func(*rapid.T){
			"use": func(t *rapid.T) {
				c, n := counter.Draw(t, "counter"), small.Draw(t, "amount")
				r.renew(l, now)
				if got, want := r.use(c, n), m.use(l, c, n, now); got != want {
					t.Fatalf("%s +%d: %v, want %v: %+v", c, n, got, want, r)
				}
			},
			"wait": func(t *rapid.T) { now += rapid.Int64Range(0, int64(6*time.Second)).Draw(t, "time") },
			"reload": func(t *rapid.T) {
				l = &rules{period: time.Duration(rapid.IntRange(1, 20).Draw(t, "period")) * time.Second, generation: small.Draw(t, "generation"), quotas: draw(t)}
			},
			"personal": func(t *rapid.T) {
				r.generation, r.quotas = 1000, draw(t)
				m.generation, m.quotas = r.generation, r.quotas
			},
			"restart": func(t *rapid.T) {
				again, err := decodeRecord(r.encode())
				if err != nil {
					t.Fatal(err)
				}
				r = again
			},
			"sweep": func(t *rapid.T) {
				if r.idle(l, now) {
					r = newRecord(l, now)
					// A longer period does not bring back what was over, nor an
					// older generation the quotas before.
					m.generation, m.quotas, m.events, m.cleared = l.generation, l.quotas, nil, now
				}
			},
			"": func(t *rapid.T) {
				for i := range r.used {
					c := imsg.Rate(i)
					if now-m.cleared <= int64(l.period) && (r.used[i] != m.sum(c, false) || r.tries[i] != m.sum(c, true)) {
						t.Fatalf("%s: used %d, tries %d; want %d, %d", c, r.used[i], r.tries[i], m.sum(c, false), m.sum(c, true))
					}
				}
			},
		})
	})
}

func example() *Record {
	r := &Record{generation: math.MaxUint64, cleared: 1e18}
	for i := range r.quotas {
		r.quotas[i], r.used[i], r.tries[i] = uint64(i), uint64(i)<<40, math.MaxUint64
	}
	r.targets = []imsg.RateTarget{{Address: netip.MustParseAddr("192.0.2.1"), Last: -1}, {Address: netip.MustParseAddr("2001:db8::1"), Last: 1e18}}
	return r
}

func TestRecordCoding(t *testing.T) {
	for _, r := range []*Record{{}, example()} {
		b := r.encode()
		got, err := decodeRecord(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v, want %+v", got, err, r)
		}
		for i := range b {
			bad := slices.Clone(b)
			bad[i] ^= 0x10
			if _, err := decodeRecord(bad); err == nil {
				t.Fatalf("octet %d may be changed", i)
			}
			if _, err := decodeRecord(b[:i]); err == nil {
				t.Fatalf("may be cut to %d octets", i)
			}
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(new(Record).encode())
	f.Add(example().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRecord(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x reads as %+v", b, r)
		}
	})
}
