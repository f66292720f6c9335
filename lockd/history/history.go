// Package history keeps what clients were refused and locked for, for who asks later: an
// abuse desk with an id that somebody quoted, an administrator with an address.
//
// Records lie in a file of slots that the parent hands over, or, without one, in memory.
// Who adds an event waits for no disk: what is new is written once a second, and what the
// disk does not take is counted as lost. No client has more than a hundredth of it.
package history

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// span is the time in which events of one client and rule are one record.
	span = time.Minute

	// maxOpen is how many records may be under way, not written or still growing.
	maxOpen = 1 << 13

	// inMemory is how many records there are without a file.
	inMemory = 1 << 12
)

// Kept are the kinds of events that are kept.
var Kept = imsg.EventKindSet(0).With(imsg.EventRefuse).With(imsg.EventReject).With(imsg.EventDefer).With(imsg.EventWould).
	With(imsg.EventLock).With(imsg.EventUnlock).With(imsg.EventExpire)

// Settings are what a configuration says of the history.
type Settings struct {
	Max  int           // records in the file, 0: there is none
	Keep time.Duration // how long they are shown
	Hash bool          // senders are kept as their hash
	Host func(netip.Addr) netip.Addr
}

// key is what makes one record of many events.
type key struct {
	kind   imsg.EventKind
	rule   imsg.PolicyRule
	client netip.Addr // that stands for all of one client's
	lock   string     // of a lock's events
}

// open is a record that is under way.
type open struct {
	record imsg.HistoryRecord
	client netip.Addr
	slot   int    // -1: it has none
	turn   uint64 // of its slot
	dirty  bool
}

// History may be used by any goroutine.
type History struct {
	log     *slog.Logger
	now     func() time.Time
	observe func(problem string) // hears whether records can be kept; empty: they can

	mu       sync.Mutex // held for moments, and over no file call
	settings Settings
	hashKey  []byte
	open     map[key]*open
	over     []*open // those that others have followed, and that are not written
	lost     uint64
	places   places

	fileMu  sync.Mutex // held over file calls; taken before mu
	store   store
	pending *os.File // handed over, and not opened yet
}

// New returns a history that keeps records in memory until there is a file.
func New(now func() time.Time, log *slog.Logger, observe func(problem string)) *History {
	h := &History{log: log, now: now, observe: observe, open: make(map[key]*open), store: new(memory), hashKey: make([]byte, sha256.Size)}
	h.settings.Host = func(a netip.Addr) netip.Addr { return a }
	rand.Read(h.hashKey)
	h.places.reset(inMemory)
	return h
}

// Configure puts settings in force. Another number of records is so with the next file.
func (h *History) Configure(s Settings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settings = s
}

// Sender is what is to be kept and shown of a sender.
func (h *History) Sender(sender string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sender(sender)
}

func (h *History) sender(sender string) string {
	if !h.settings.Hash || sender == "" {
		return sender
	}
	mac := hmac.New(sha256.New, h.hashKey)
	mac.Write([]byte(sender))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// Add keeps an event, if it is of a kind that is kept. It waits for nothing.
func (h *History) Add(e *imsg.Event) {
	if !Kept.Has(e.Kind) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := key{kind: e.Kind, rule: e.Rule, client: h.settings.Host(e.Client.Addr())}
	if e.Kind == imsg.EventLock || e.Kind == imsg.EventUnlock || e.Kind == imsg.EventExpire {
		k.lock = e.Detail
	}
	o := h.open[k]
	if o == nil || e.Time-o.record.First >= int64(span) {
		if len(h.open)+len(h.over) >= maxOpen {
			h.lost++
			return
		}
		if o != nil && o.dirty {
			h.over = append(h.over, o)
		}
		o = &open{client: k.client, slot: -1, record: imsg.HistoryRecord{First: e.Time}}
		h.open[k] = o
	}
	r := &o.record
	r.Event, o.dirty = *e, true
	r.Count++
	// The first ones, and of the others the last.
	quote := imsg.Quote{ID: e.ID, Sender: e.Sender}
	if len(r.Quotes) < imsg.MaxQuotes {
		r.Quotes = append(r.Quotes, quote)
	} else {
		r.Quotes[imsg.MaxQuotes/2+int(r.Count)%(imsg.MaxQuotes/2)] = quote
	}
}

// Run writes what is new once a second, until end is closed, and then once more.
func (h *History) Run(end <-chan struct{}) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end:
			h.flush()
			h.fileMu.Lock()
			h.store.close()
			h.fileMu.Unlock()
			return
		case <-second.C:
			h.openPending()
			h.flush()
		}
	}
}

// flush writes what is new.
func (h *History) flush() {
	h.fileMu.Lock()
	defer h.fileMu.Unlock()
	batch, lost := h.collect()
	var problem error
	for _, w := range batch {
		b := encode(&w.record)
		if err := h.store.write(w.slot, b); err != nil {
			problem = err
			lost++
		}
	}
	switch {
	case problem != nil:
		h.observe(problem.Error())
	case lost > 0:
		h.observe("there is more than can be written")
	case len(batch) > 0:
		h.observe("")
	}
}

// written is one record that is to be written, and where.
type written struct {
	slot   int
	record imsg.HistoryRecord
}

// collect takes what is new, gives it places, and lets go of what will not grow any more.
func (h *History) collect() (batch []written, lost uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost, h.lost = h.lost, 0
	for _, o := range h.over {
		batch = append(batch, h.place(o))
	}
	h.over = nil
	begun := h.now().Add(-span).UnixNano()
	for k, o := range h.open {
		if o.dirty {
			batch = append(batch, h.place(o))
		} else if o.record.First < begun {
			delete(h.open, k)
		}
	}
	slices.SortFunc(batch, func(a, b written) int { return a.slot - b.slot })
	return batch, lost
}

// place says where a record is to be written as it is now; mu is held.
func (h *History) place(o *open) written {
	o.dirty = false
	if !h.places.keeps(o.slot, o.turn) {
		o.slot, o.turn = h.places.next(o.client)
	}
	w := written{slot: o.slot, record: o.record}
	w.record.Quotes = slices.Clone(o.record.Quotes)
	return w
}

// Search returns the records that are wanted, newest first, but for the first skip; at
// most n. It may take as long as a disk takes.
func (h *History) Search(wanted func(*imsg.HistoryRecord) bool, skip, n int) (page []imsg.HistoryRecord, more bool, err error) {
	h.openPending()
	h.flush()
	h.fileMu.Lock()
	defer h.fileMu.Unlock()
	h.mu.Lock()
	oldest := h.now().Add(-h.settings.Keep).UnixNano()
	h.mu.Unlock()
	var all []imsg.HistoryRecord
	err = h.store.each(func(_ int, b []byte) {
		if r, ok := decode(b); ok && r.Event.Time >= oldest && wanted(&r) && sayable(&r) {
			all = append(all, r)
		}
	})
	slices.SortStableFunc(all, func(a, b imsg.HistoryRecord) int { return cmp.Compare(b.Event.Time, a.Event.Time) })
	all = all[min(skip, len(all)):]
	return all[:min(n, len(all))], len(all) > n, err
}

// Forget erases the records that which says, and returns how many.
func (h *History) Forget(which func(*imsg.HistoryRecord) bool) (n int, err error) {
	h.openPending()
	h.flush()
	h.fileMu.Lock()
	defer h.fileMu.Unlock()
	var slots []int
	err = h.store.each(func(slot int, b []byte) {
		if r, ok := decode(b); ok && which(&r) {
			slots = append(slots, slot)
		}
	})
	for _, slot := range slots {
		if e := h.store.write(slot, nil); e != nil {
			err = e
			continue
		}
		n++
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, o := range h.open {
		if which(&o.record) {
			delete(h.open, k)
		}
	}
	return n, err
}
