package rates

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// A record on disk: a version, its numbers little-endian, its targets as 16
// octets and a time, and a checksum, for the store has none of its own.
const (
	recordVersion = 1
	recordFixed   = 1 + (2+3*int(imsg.RateCounters))*8
	recordTarget  = 16 + 8
)

// encode is the inverse of decodeRecord.
func (r *Record) encode() []byte {
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

// decodeRecord reads what encode wrote, and ErrRecord what it did not.
func decodeRecord(b []byte) (*Record, error) {
	end := len(b) - crc32.Size
	targets := (end - recordFixed) / recordTarget
	if end < recordFixed || (end-recordFixed)%recordTarget != 0 || targets > MaxTargets ||
		b[0] != recordVersion || crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, ErrRecord
	}
	b = b[1:end]
	next := func() (n uint64) {
		n, b = binary.LittleEndian.Uint64(b), b[8:]
		return n
	}
	r := &Record{generation: next(), cleared: int64(next())}
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
