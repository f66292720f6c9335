package rates

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
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

// TestUseOfPassed: octets that have passed use up what is left, so that the next ones are
// refused, and nothing else is.
func TestUseOfPassed(t *testing.T) {
	const c = imsg.RateTLSBytes
	r := &Record{quotas: quotas{c: 100, imsg.RateMessages: 1}, used: quotas{c: 60}}
	if r.use(c, 41) || r.used[c] != 100 || r.tries[c] != 41 {
		t.Errorf("%+v", r)
	}
	if r.use(c, 1) || r.used[c] != 100 || !r.use(imsg.RateMessages, 1) {
		t.Errorf("%+v", r)
	}
	r.quotas[c] = 50 // lowered: it stands above it now
	if r.use(c, 1) || r.used[c] != 100 {
		t.Errorf("%+v", r)
	}
}

func TestUseServer(t *testing.T) {
	const c = imsg.RateTLSServers
	server := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	r := &Record{quotas: quotas{c: 2}, cleared: 1}
	for _, row := range []struct {
		server        int
		passes, fresh bool
		used          uint64
	}{{1, true, true, 1}, {1, true, false, 1}, {2, true, true, 2}, {3, false, false, 2}, {2, true, false, 2}} {
		if passes, fresh := r.useServer(server(row.server)); passes != row.passes || fresh != row.fresh || r.used[c] != row.used {
			t.Errorf("%+v: passes %v, fresh %v, used %d", row, passes, fresh, r.used[c])
		}
	}
	r.unuseServer(server(3))
	r.unuseServer(server(1))
	if passes, fresh := r.useServer(server(3)); !passes || !fresh || r.used[c] != 2 {
		t.Errorf("one that was given back has no place for another: %+v", r)
	}
	if r.renew(&rules{period: 1}, 3); len(r.tlsServers) > 0 || r.used[c] > 0 {
		t.Errorf("a new period, and servers of the old: %+v", r)
	}
	r = &Record{}
	if passes, fresh := r.useServer(server(1)); !passes || fresh || len(r.tlsServers) > 0 {
		t.Errorf("off, and remembered: %+v", r)
	}
	r = &Record{quotas: quotas{c: math.MaxUint64}}
	for i := range 2 * imsg.MaxRateServers {
		if passes, _ := r.useServer(server(i)); passes != (i < imsg.MaxRateServers) {
			t.Fatalf("server %d passes: %v", i, passes)
		}
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
	c     imsg.Rate
	n     uint64
	taken uint64 // of n
}

func (m *naive) sum(c imsg.Rate, all bool) (n uint64) {
	for _, e := range m.events {
		switch {
		case e.c != c:
		case all:
			n += e.n
		default:
			n += e.taken
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
		e := event{c: c, n: n}
		if left := q - min(q, m.sum(c, false)); passed && n <= left {
			e.taken = n
		} else {
			if passed && c == imsg.RateTLSBytes {
				e.taken = left
			}
			passed = false
		}
		m.events = append(m.events, e)
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
	r.tlsServers = []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}
	return r
}

// first is example as far as the first version can say it.
func first() *Record {
	r := example()
	r.tlsServers = nil
	for _, q := range []*quotas{&r.quotas, &r.used, &r.tries} {
		clear(q[firstCounters:])
	}
	return r
}

// TestFirstVersion: what an older program wrote is read, and what it could say is written
// so that it reads it.
func TestFirstVersion(t *testing.T) {
	want, err := hex.DecodeString(strings.Join(strings.Fields(`
		01 ffffffffffffffff 000064a7b3b6e00d
		0000000000000000 0100000000000000 0200000000000000 0300000000000000 0400000000000000 0500000000000000 0600000000000000
		0000000000000000 0000000000010000 0000000000020000 0000000000030000 0000000000040000 0000000000050000 0000000000060000
		ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff
		00000000000000000000ffffc0000201 ffffffffffffffff
		20010db8000000000000000000000001 000064a7b3b6e00d`), ""))
	if err != nil {
		t.Fatal(err)
	}
	want = binary.LittleEndian.AppendUint32(want, crc32.ChecksumIEEE(want))
	if got := first().encode(); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if r, err := decodeRecord(want); err != nil || !reflect.DeepEqual(r, first()) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestOtherCounters: a record of a program with more counters, or fewer, is read as far as
// there are such.
func TestOtherCounters(t *testing.T) {
	for _, counters := range []int{0, firstCounters + 1, int(imsg.RateCounters), int(imsg.RateCounters) + 2, 255} {
		b := []byte{secondVersion}
		b = append(b, make([]byte, 16)...)
		b = append(b, byte(counters), 0)
		for i := range 3 * counters {
			b = binary.LittleEndian.AppendUint64(b, uint64(1000+i))
		}
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		r, err := decodeRecord(b)
		if err != nil {
			t.Fatalf("%d counters: %v", counters, err)
		}
		for i := range r.tries {
			want := uint64(1000 + 2*counters + i)
			if i >= counters {
				want = 0
			}
			if r.tries[i] != want {
				t.Errorf("%d counters: number %d is %d, want %d", counters, i, r.tries[i], want)
			}
		}
	}
}

func TestRecordCoding(t *testing.T) {
	for _, r := range []*Record{{}, first(), example()} {
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

// FuzzDecodeRecord: what can be read is written so that it reads the same.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(new(Record).encode())
	f.Add(first().encode())
	f.Add(example().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again := r.encode()
		if b[0] == firstVersion && !bytes.Equal(again, b) {
			t.Errorf("%x reads as %+v", b, r)
		}
		if same, err := decodeRecord(again); err != nil || !reflect.DeepEqual(same, r) {
			t.Errorf("%x reads as %+v, which becomes %+v, %v", b, r, same, err)
		}
	})
}
