// Package counters keeps what the workers count, and gives out the numbers of
// sessions. Both outlive a crash of lockd in a file that the parent hands to each
// lockd in turn. No number is ever given twice.
package counters

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// numberBlock is how many numbers are reserved at once, before the last such
	// block is half used. A crash loses the rest; numbers need only be unique and
	// grow.
	numberBlock = 512
	// lostNumbers is where numbers go on when a file cannot be read: far above all
	// that can have been given out.
	lostNumbers = 1 << 40
)

// Entry is what is kept. The file holds it twice: the older copy survives a write
// that a crash cut short.
type Entry struct {
	Serial   uint64             // of the write: the larger one counts
	Reserved uint64             // numbers up to this one may have been given out
	LastBug  int64              // Unix nanoseconds, 0 never
	Peak     int64              // most sessions live at once
	Counts   [imsg.Slots]uint64 // of counters and histograms
	Lists    [imsg.MaxLists]list
}

// slot is an entry's place: the entry and its checksum.
var slot = binary.Size(Entry{}) + crc32.Size

// Counters may be used by any goroutine. Nobody but Open and Run waits for the file.
type Counters struct {
	log   *slog.Logger
	dirty chan struct{} // there is something to write

	mu      sync.Mutex
	entry   Entry
	before  uint64 // numbers up to this one may have been given out by a lockd before
	last    uint64 // number given out last
	written uint64 // Reserved, as it stands in the file
	ahead   bool   // numbers were given beyond that; said once
	file    *os.File

	writing     sync.Mutex // one write at a time; nothing else is held over it
	writeFailed bool       // said once
}

// New counts from 0, and in memory only until there is a file.
func New(log *slog.Logger) *Counters { return &Counters{log: log, dirty: make(chan struct{}, 1)} }

// Open takes a file over, reads it, and goes on from there. It comes before the first
// session.
func (c *Counters) Open(f *os.File) {
	var e Entry
	found, used := false, false
	for i := range int64(2) {
		b := make([]byte, slot)
		n, err := f.ReadAt(b, i*int64(slot))
		if err != nil && err != io.EOF {
			c.log.Error("counters cannot be read", "error", err)
		}
		used = used || n > 0
		var one Entry
		if n == slot && decode(b, &one) && one.Serial > e.Serial {
			e, found = one, true
		}
	}
	if used && !found {
		c.log.Error("file of the counters is damaged: they start at zero")
		e.Reserved = lostNumbers
	}
	c.mu.Lock()
	old := c.file
	c.file, c.entry, c.before, c.last = f, e, e.Reserved, e.Reserved
	c.entry.Reserved += numberBlock
	c.mu.Unlock()
	if old != nil {
		old.Close()
	}
	c.write()
}

func decode(b []byte, e *Entry) bool {
	body, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return false
	}
	return binary.Read(bytes.NewReader(body), binary.LittleEndian, e) == nil
}

// Run writes what has changed until end is closed, and then once more.
func (c *Counters) Run(end <-chan struct{}) {
	for {
		select {
		case <-end:
			c.write()
			return
		case <-c.dirty:
			c.write()
		}
	}
}

func (c *Counters) changed() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

func (c *Counters) write() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	file := c.file
	c.entry.Serial++
	e := c.entry
	c.mu.Unlock()
	if file == nil {
		return
	}
	b, err := binary.Append(make([]byte, 0, slot), binary.LittleEndian, e)
	if err == nil {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		_, err = file.WriteAt(b, int64(e.Serial%2)*int64(slot))
	}
	if err == nil {
		c.mu.Lock()
		c.written = e.Reserved
		c.mu.Unlock()
	} else if !c.writeFailed {
		c.log.Error("counters would not survive a crash", "error", err)
	}
	c.writeFailed = err != nil
}

// Number gives out the next session's number.
func (c *Counters) Number() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	if c.entry.Reserved-c.last < numberBlock/2 || c.last > c.entry.Reserved {
		c.entry.Reserved = c.last + numberBlock
		c.changed()
	}
	if c.file != nil && c.last > c.written && !c.ahead {
		c.ahead = true
		c.log.Error("numbers of sessions are given out that would be given again after a crash: the file of the counters is not written")
	}
	return c.last
}

// GivenBefore tells whether a number may have been given out by a lockd before this
// one.
func (c *Counters) GivenBefore(n uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n > 0 && n <= c.before
}

// Add adds what a worker counted, no more than there are counters. A worker says so
// once a second. A counter that is full stays so.
func (c *Counters) Add(add []uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range add {
		c.entry.Counts[i] += min(n, math.MaxUint64-c.entry.Counts[i])
	}
	if len(add) > int(imsg.CountBugs) && add[imsg.CountBugs] > 0 {
		c.entry.LastBug = now.UnixNano()
	}
	c.changed()
}

// list is what a block list did. Its place says nothing: lists come and go.
type list struct {
	Zone             [256]byte
	Answered, Silent uint64
}

func (l *list) named(zone string) bool { return string(bytes.TrimRight(l.Zone[:], "\x00")) == zone }

// AddLists adds what block lists did, of those zones that are configured: no worker can
// make up another.
func (c *Counters) AddLists(add []imsg.ListCount, zones []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range add {
		if !slices.Contains(zones, a.Zone) {
			continue
		}
		l := c.list(a.Zone)
		if l == nil {
			l = c.place(zones)
			*l = list{}
			copy(l.Zone[:], a.Zone)
		}
		l.Answered = min(l.Answered+a.Answered, imsg.MaxReport)
		l.Silent = min(l.Silent+a.Silent, imsg.MaxReport)
	}
}

// list finds a list by its zone; mu is held.
func (c *Counters) list(zone string) *list {
	for i := range c.entry.Lists {
		if l := &c.entry.Lists[i]; l.named(zone) {
			return l
		}
	}
	return nil
}

// place finds one for another list, of which there are no more than places: nobody's, or
// that of a list that is not configured any more. mu is held.
func (c *Counters) place(zones []string) *list {
	i := slices.IndexFunc(c.entry.Lists[:], func(l list) bool {
		return !slices.ContainsFunc(zones, l.named)
	})
	return &c.entry.Lists[max(i, 0)]
}

// Lists returns what the block lists of these zones did.
func (c *Counters) Lists(zones []string) (all []imsg.ListCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, zone := range zones {
		n := imsg.ListCount{Zone: zone}
		if l := c.list(zone); l != nil {
			n.Answered, n.Silent = l.Answered, l.Silent
		}
		all = append(all, n)
	}
	return all
}

// Count counts what is lockd's own to see.
func (c *Counters) Count(n imsg.Counter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entry.Counts[n] += min(1, math.MaxUint64-c.entry.Counts[n])
	c.changed()
}

// Peak notes how many sessions are live. It is written with the next counts.
func (c *Counters) Peak(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entry.Peak = max(c.entry.Peak, int64(n))
}

// Entry returns all of it as it stands.
func (c *Counters) Entry() Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entry
}
