package rates

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// A record on disk: a version, its numbers little-endian, its targets as 16
// octets and a time, and a checksum, for the store has none of its own.
//
// The first version has the counters up to imsg.RateAuthRejects. A second one says how
// many it has, and of how many servers there are addresses behind its numbers. What can
// be said in the first is said so: a program that knows no other may follow on this one.
const (
	firstVersion  = 1
	secondVersion = 2

	firstCounters = int(imsg.RateAuthRejects) + 1

	recordHead   = 1 + 2*8
	recordServer = 16
	recordTarget = 16 + 8
)

// encode is the inverse of decodeRecord.
func (r *Record) encode() []byte {
	counters, version := firstCounters, byte(firstVersion)
	if !r.isFirst() {
		counters, version = int(imsg.RateCounters), secondVersion
	}
	b := make([]byte, 0, recordHead+2+3*counters*8+len(r.tlsServers)*recordServer+len(r.targets)*recordTarget+crc32.Size)
	b = append(b, version)
	b = binary.LittleEndian.AppendUint64(b, r.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.cleared))
	if version == secondVersion {
		b = append(b, byte(counters), byte(len(r.tlsServers)))
	}
	for _, q := range [...]*quotas{&r.quotas, &r.used, &r.tries} {
		for _, n := range q[:counters] {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
	}
	for _, s := range r.tlsServers {
		a := s.As16()
		b = append(b, a[:]...)
	}
	for _, t := range r.targets {
		a := t.Address.As16()
		b = append(b, a[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Last))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// isFirst tells whether the first version says all there is.
func (r *Record) isFirst() bool {
	var none [int(imsg.RateCounters) - firstCounters]uint64
	return len(r.tlsServers) == 0 && [len(none)]uint64(r.quotas[firstCounters:]) == none &&
		[len(none)]uint64(r.used[firstCounters:]) == none && [len(none)]uint64(r.tries[firstCounters:]) == none
}

// decodeRecord reads what encode wrote, be it of another number of counters, and
// ErrRecord what it did not.
func decodeRecord(b []byte) (*Record, error) {
	end := len(b) - crc32.Size
	if end < recordHead || crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, ErrRecord
	}
	version, b := b[0], b[1:end]
	next := func() (n uint64) {
		n, b = binary.LittleEndian.Uint64(b), b[8:]
		return n
	}
	r := &Record{generation: next(), cleared: int64(next())}
	counters, servers := firstCounters, 0
	switch {
	case version == firstVersion:
	case version == secondVersion && len(b) >= 2:
		counters, servers, b = int(b[0]), int(b[1]), b[2:]
	default:
		return nil, ErrRecord
	}
	rest := len(b) - 3*counters*8 - servers*recordServer
	targets := rest / recordTarget
	if rest < 0 || rest%recordTarget != 0 || targets > MaxTargets || servers > imsg.MaxRateServers {
		return nil, ErrRecord
	}
	for _, q := range [...]*quotas{&r.quotas, &r.used, &r.tries} {
		for i := range counters {
			if n := next(); i < len(q) {
				q[i] = n
			}
		}
	}
	address := func() (a netip.Addr) {
		a, b = netip.AddrFrom16([16]byte(b)).Unmap(), b[16:]
		return a
	}
	for range servers {
		r.tlsServers = append(r.tlsServers, address())
	}
	for range targets {
		a := address()
		r.targets = append(r.targets, imsg.RateTarget{Address: a, Last: int64(next())})
	}
	return r, nil
}
