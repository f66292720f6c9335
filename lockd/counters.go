// The family's counters, which the workers count and we keep, and the numbers of
// sessions. This file owns the ledger, an unlinked file of the parent's in which
// both outlive a crash of lockd. It must never give a number twice.

package lockd

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// numberBlock is how many numbers are reserved at once. A crash loses the
	// rest of a block; numbers need only be unique and grow.
	numberBlock = 256
	// lostNumbers is where numbers go on when a ledger cannot be read: far
	// above all that can have been given out.
	lostNumbers = 1 << 40
)

// entry is what the ledger holds, twice: the older copy survives a write that a
// crash cut short.
type entry struct {
	Serial   uint64 // of the write: the larger one counts
	Reserved uint64 // numbers up to this one may have been given out
	LastBug  int64  // Unix nanoseconds, 0 never
	Peak     int64  // most sessions live at once
	Counts   [imsg.Counters]uint64
}

// slot is an entry's place: the entry and its checksum.
var slot = binary.Size(entry{}) + crc32.Size

type counters struct {
	entry
	last uint64 // number given out last
	file *os.File
	log  *slog.Logger
	sick bool // writing failed; said once
}

func newCounters(log *slog.Logger) *counters { return &counters{log: log} }

// open takes the ledger over and reads it. It comes before the first session.
func (c *counters) open(f *os.File) {
	if c.file != nil {
		c.file.Close()
	}
	c.file = f
	found, used := false, false
	for i := range int64(2) {
		b := make([]byte, slot)
		n, err := f.ReadAt(b, i*int64(slot))
		if err != nil && err != io.EOF {
			c.log.Error("ledger cannot be read", "error", err)
		}
		used = used || n > 0
		var e entry
		if n == slot && decodeEntry(b, &e) && e.Serial > c.Serial {
			c.entry = e
			found = true
		}
	}
	if used && !found {
		c.log.Error("ledger is damaged: counters start at zero")
		c.Reserved = lostNumbers
	}
	c.last = c.Reserved
}

func decodeEntry(b []byte, e *entry) bool {
	body, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return false
	}
	return binary.Read(bytes.NewReader(body), binary.LittleEndian, e) == nil
}

// save writes the ledger. A worker says what it counted once a second, so that
// this may happen each time.
func (c *counters) save() {
	if c.file == nil {
		return
	}
	c.Serial++
	b, err := binary.Append(make([]byte, 0, slot), binary.LittleEndian, c.entry)
	if err == nil {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		_, err = c.file.WriteAt(b, int64(c.Serial%2)*int64(slot))
	}
	if err != nil && !c.sick {
		c.log.Error("counters would not survive a crash", "error", err)
	}
	c.sick = err != nil
}

// number gives out the next session's number.
func (c *counters) number() uint64 {
	c.last++
	if c.last > c.Reserved {
		c.Reserved = c.last + numberBlock - 1
		c.save()
	}
	return c.last
}

// given tells whether a number may have been given out, by us or a lockd before.
func (c *counters) given(n uint64) bool { return n > 0 && n <= c.Reserved }

// add adds what a worker counted.
func (c *counters) add(add []uint64, now time.Time) {
	for i, n := range add {
		c.Counts[i] += n
	}
	if len(add) > int(imsg.CountBugs) && add[imsg.CountBugs] > 0 {
		c.LastBug = now.UnixNano()
	}
	c.save()
}

// peak notes how many sessions are live. It is written with the next counts.
func (c *counters) peak(n int) { c.Peak = max(c.Peak, int64(n)) }
