package history

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns the file: a head, and slots of one size, so that it cannot grow beyond
// what the configuration allows, and one that is torn or damaged costs its record alone.

const (
	magic    = "smtp-gated history 1"
	headSize = 4096
	slotSize = 1024
	// overhead is what a slot has before its record: a checksum of the rest, and a length.
	overhead = crc32.Size + 2
)

// store is slots. An empty record frees one.
type store interface {
	write(slot int, record []byte) error
	each(f func(slot int, record []byte)) error
	close()
}

// memory is a store without a file.
type memory struct{ slots [][]byte }

func (m *memory) write(slot int, record []byte) error {
	for len(m.slots) <= slot {
		m.slots = append(m.slots, nil)
	}
	m.slots[slot] = record
	return nil
}

func (m *memory) each(f func(int, []byte)) error {
	for i, b := range m.slots {
		if len(b) > 0 {
			f(i, b)
		}
	}
	return nil
}

func (m *memory) close() {}

// file is a store in a file, of which the lock is ours.
type file struct {
	*os.File
	max int
}

// head is what stands at the file's beginning, as JSON.
type head struct {
	Magic string
	Slot  int
	Key   string // of hashes of senders, in base64
}

var (
	errOther = errors.New("it is none of ours, or damaged at its beginning")
	errBusy  = errors.New("another daemon has it")
)

// openFile takes a file over, and returns the key of its hashes.
func openFile(f *os.File, slots int) (*file, []byte, error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errBusy
		}
		return nil, nil, err
	}
	b := make([]byte, headSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	if n == 0 {
		key := make([]byte, 32)
		rand.Read(key)
		text, err := json.Marshal(head{magic, slotSize, base64.StdEncoding.EncodeToString(key)})
		if err != nil {
			return nil, nil, err
		}
		if _, err := f.WriteAt(append(text, bytes.Repeat([]byte{'\n'}, headSize-len(text))...), 0); err != nil {
			return nil, nil, err
		}
		return &file{f, slots}, key, nil
	}
	var h head
	if json.Unmarshal(bytes.TrimRight(b[:n], "\n"), &h) != nil || h.Magic != magic || h.Slot != slotSize {
		return nil, nil, errOther
	}
	key, err := base64.StdEncoding.DecodeString(h.Key)
	if err != nil || len(key) < 16 {
		return nil, nil, errOther
	}
	if info, err := f.Stat(); err == nil && info.Size() > headSize+int64(slots)*slotSize {
		err = f.Truncate(headSize + int64(slots)*slotSize)
		if err != nil {
			return nil, nil, err
		}
	}
	return &file{f, slots}, key, nil
}

func (f *file) write(slot int, record []byte) error {
	b := make([]byte, slotSize)
	if len(record) > 0 {
		binary.LittleEndian.PutUint16(b[crc32.Size:], uint16(len(record)))
		copy(b[overhead:], record)
		binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[crc32.Size:overhead+len(record)]))
	}
	_, err := f.WriteAt(b, headSize+int64(slot)*slotSize)
	return err
}

func (f *file) each(do func(int, []byte)) error {
	const atOnce = 256
	b := make([]byte, atOnce*slotSize)
	for slot := 0; slot < f.max; slot += atOnce {
		n, err := f.ReadAt(b, headSize+int64(slot)*slotSize)
		for i := 0; i < n/slotSize; i++ {
			if record := inSlot(b[i*slotSize : (i+1)*slotSize]); record != nil && slot+i < f.max {
				do(slot+i, record)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inSlot returns the record in a slot, nil if there is none, or a damaged one.
func inSlot(b []byte) []byte {
	n := int(binary.LittleEndian.Uint16(b[crc32.Size:]))
	if n == 0 || n > slotSize-overhead || crc32.ChecksumIEEE(b[crc32.Size:overhead+n]) != binary.LittleEndian.Uint32(b) {
		return nil
	}
	return b[overhead : overhead+n]
}

func (f *file) close() { f.File.Close() }

// is tells whether another descriptor is of the same file.
func (f *file) is(other *os.File) bool {
	a, err := f.Stat()
	b, errOther := other.Stat()
	return err == nil && errOther == nil && os.SameFile(a, b)
}

// encode writes a record so that it fits a slot: what there is too much of is left out,
// words before quotes, of which those in the middle go first.
func encode(r *imsg.HistoryRecord) []byte {
	short := *r
	short.Quotes = slices.Clone(r.Quotes)
	for {
		b, err := json.Marshal(&short)
		if err != nil {
			return nil // no value of these types is such
		}
		if len(b) <= slotSize-overhead {
			return b
		}
		switch n := len(short.Quotes); {
		case len(short.Event.Text) > 100 && n > 4:
			short.Event.Text = short.Event.Text[:100]
		case n > 4 && slices.ContainsFunc(short.Quotes, func(q imsg.Quote) bool { return q.Sender == short.Event.Sender && q.Sender != "" }):
			for i := range short.Quotes { // which stands in the record
				if short.Quotes[i].Sender == short.Event.Sender {
					short.Quotes[i].Sender = ""
				}
			}
		case n > 2:
			short.Quotes = slices.Delete(short.Quotes, n/2, n/2+1)
		case short.Event.Subject != "":
			short.Event.Subject = ""
		case len(short.Event.Text) > 100:
			short.Event.Text = short.Event.Text[:100]
		case n > 0:
			short.Quotes = short.Quotes[:n-1]
		case short.Event.MessageID != "":
			short.Event.MessageID = ""
		case short.Event.Detail != "":
			short.Event.Detail = ""
		default:
			short.Event.Text, short.Event.Virus, short.Event.Sender, short.Event.ServerName = "", "", "", ""
		}
	}
}

// decode reads a record.
func decode(b []byte) (r imsg.HistoryRecord, ok bool) {
	err := json.Unmarshal(b, &r)
	return r, err == nil
}

// sayable tells whether a record keeps the rules of a message: a file may hold anything.
func sayable(r *imsg.HistoryRecord) bool {
	answer := &imsg.Explanation{Records: []imsg.HistoryRecord{*r}}
	return imsg.Row(answer).Check(answer) == nil
}

// Open takes over a file, which is opened when there is time for it.
func (h *History) Open(f *os.File) {
	h.fileMu.Lock()
	defer h.fileMu.Unlock()
	if h.pending != nil {
		h.pending.Close()
	}
	h.pending = f
}

// openPending opens the file that was handed over, unless another daemon has it still.
func (h *History) openPending() {
	h.fileMu.Lock()
	defer h.fileMu.Unlock()
	if h.pending == nil {
		return
	}
	h.mu.Lock()
	slots := h.settings.Max
	h.mu.Unlock()
	if same, ok := h.store.(*file); ok && same.is(h.pending) {
		if same.max == slots {
			h.pending.Close()
			h.pending = nil
			return
		}
		same.close() // its lock is in our way
		h.store = new(memory)
	}
	f, key, err := openFile(h.pending, slots)
	if err == errBusy {
		return
	}
	if err != nil {
		h.log.Error("history is kept in memory only: its file cannot be used", "error", err)
		h.observe(fmt.Sprint("its file cannot be used: ", err))
		h.pending.Close()
		h.pending = nil
		return
	}
	h.pending = nil
	h.take(f, key, slots)
}

// take goes over to another file. What was in memory alone is written again.
func (h *History) take(f *file, key []byte, slots int) {
	var p places
	p.reset(slots)
	var all []imsg.HistoryRecord
	var at []int
	f.each(func(slot int, b []byte) {
		if r, ok := decode(b); ok {
			r.Quotes = nil
			all, at = append(all, r), append(at, slot)
		}
	})
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if all[a].Event.Time != all[b].Event.Time {
			return cmp.Compare(all[a].Event.Time, all[b].Event.Time)
		}
		return a - b
	})
	h.mu.Lock()
	for _, i := range order {
		p.give(at[i], h.settings.Host(all[i].Event.Client.Addr()))
		p.at = (at[i] + 1) % slots
	}
	h.places, h.hashKey = p, key
	for _, o := range h.open {
		o.slot, o.dirty = -1, true
	}
	h.mu.Unlock()
	h.store.close()
	h.store = f
}
