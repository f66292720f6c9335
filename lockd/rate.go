// The record of one client's uses, and the rules it is held against. This file
// owns what a quota means; it does no I/O and knows no clock.

package lockd

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// maxTargets is how many servers of a client's are remembered.
const maxTargets = 64

// quotas is a number for each counter.
type quotas [imsg.RateCounters]uint64

// rules is what the configuration says of rate limits.
type rules struct {
	period       time.Duration // 0: no limits
	targetPeriod time.Duration // negative: any number of servers
	generation   uint64
	quotas       quotas
}

func newRules(c *imsg.LockdConfig) rules {
	r := rules{period: c.RateExpiration, targetPeriod: c.RateDstExpiration, generation: c.RateGeneration}
	copy(r.quotas[:], c.RateQuotas)
	return r
}

// record is what is remembered of a client.
type record struct {
	generation uint64 // whose quotas these are
	cleared    int64  // Unix nanoseconds
	quotas     quotas // 0: that counter is off
	used       quotas
	tries      quotas // used or refused
	targets    []imsg.RateTarget
}

func newRecord(l *rules, now int64) *record {
	return &record{generation: l.generation, cleared: now, quotas: l.quotas}
}

// renew brings a record up to date: it goes before each use.
func (r *record) renew(l *rules, now int64) {
	if l.generation > r.generation {
		r.generation, r.quotas = l.generation, l.quotas
	}
	switch {
	case r.cleared > now: // the clock was ahead, and would stop the period
		r.cleared = now
	case now-r.cleared > int64(l.period):
		r.used, r.tries, r.cleared = quotas{}, quotas{}, now
	}
}

// use takes n of a quota, or refuses and takes nothing.
func (r *record) use(c imsg.Rate, n uint64) bool {
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
		return false
	}
	r.used[c] += n
	return true
}

// unuse takes a use back, as far as it was of this period.
func (r *record) unuse(c imsg.Rate, n uint64) {
	r.used[c] -= min(n, r.used[c])
	r.tries[c] -= min(n, r.tries[c])
}

// visit remembers a call of target, or refuses it because all the servers
// remembered were called within period.
func (r *record) visit(target netip.Addr, period time.Duration, now int64) bool {
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
	if len(r.targets) < maxTargets {
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
func (r *record) counted() (s imsg.RateSet) {
	for i, q := range r.quotas {
		if q > 0 {
			s |= 1 << i
		}
	}
	return s
}

// idle tells whether a fresh record would say the same at the next use.
func (r *record) idle(l *rules, now int64) bool {
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

// A record on disk: a version, its numbers little-endian, its targets as 16
// octets and a time, and a checksum, for the store has none of its own.
const (
	recordVersion = 1
	recordFixed   = 1 + (2+3*int(imsg.RateCounters))*8
	recordTarget  = 16 + 8
)

var errRecord = errors.New("record of rates is damaged")

// encode is the inverse of decodeRecord.
func (r *record) encode() []byte {
	b := make([]byte, 0, recordFixed+len(r.targets)*recordTarget+crc32.Size)
	b = append(b, recordVersion)
	b = binary.LittleEndian.AppendUint64(b, r.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.cleared))
	for _, q := range [...]*quotas{&r.quotas, &r.used, &r.tries} {
		for _, n := range q {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
	}
	for _, t := range r.targets {
		a := t.Address.As16()
		b = append(b, a[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Last))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// decodeRecord reads what encode wrote, and errRecord what it did not.
func decodeRecord(b []byte) (*record, error) {
	end := len(b) - crc32.Size
	targets := (end - recordFixed) / recordTarget
	if end < recordFixed || (end-recordFixed)%recordTarget != 0 || targets > maxTargets ||
		b[0] != recordVersion || crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, errRecord
	}
	b = b[1:end]
	next := func() (n uint64) {
		n, b = binary.LittleEndian.Uint64(b), b[8:]
		return n
	}
	r := &record{generation: next(), cleared: int64(next())}
	for _, q := range [...]*quotas{&r.quotas, &r.used, &r.tries} {
		for i := range q {
			q[i] = next()
		}
	}
	for range targets {
		a := netip.AddrFrom16([16]byte(b)).Unmap()
		b = b[16:]
		r.targets = append(r.targets, imsg.RateTarget{Address: a, Last: int64(next())})
	}
	return r, nil
}
