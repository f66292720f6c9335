package history

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// shelf is a history of which the test holds the clock and the file.
type shelf struct {
	*History
	t        *testing.T
	clock    time.Time
	problems []string
	path     string
}

func newShelf(t *testing.T, s Settings) *shelf {
	h := &shelf{t: t, clock: time.Unix(1700000000, 0), path: filepath.Join(t.TempDir(), "history")}
	h.begin(s)
	return h
}

// begin starts another life, with the file as it is.
func (h *shelf) begin(s Settings) {
	h.History = New(func() time.Time { return h.clock }, slog.New(slog.DiscardHandler), func(problem string) { h.problems = append(h.problems, problem) })
	if s.Host == nil {
		s.Host = func(a netip.Addr) netip.Addr { return a }
	}
	if s.Keep == 0 {
		s.Keep = 24 * time.Hour
	}
	h.Configure(s)
	if s.Max > 0 {
		h.hand()
		h.openPending()
	}
}

func (h *shelf) hand() {
	f, err := os.OpenFile(h.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Open(f)
}

func (h *shelf) end() {
	end := make(chan struct{})
	close(end)
	h.Run(end)
}

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 25)
}

func (h *shelf) refuse(c int, id string) {
	h.Add(&imsg.Event{Time: h.clock.UnixNano(), Kind: imsg.EventReject, Rule: imsg.RuleVirus, Client: client(c), ID: id, Sender: "s" + id + "@x", Text: "text", Code: 550})
}

func (h *shelf) of(c int) []imsg.HistoryRecord {
	h.t.Helper()
	all, _, err := h.Search(func(r *imsg.HistoryRecord) bool { return r.Event.Client == client(c) }, 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// each has a test run with a file and without.
func each(t *testing.T, f func(t *testing.T, limit int)) {
	t.Run("file", func(t *testing.T) { f(t, 1000) })
	t.Run("memory", func(t *testing.T) { f(t, 0) })
}

// TestOneRecordAMinute: events of a client and a rule within a minute are one record,
// written or not.
func TestOneRecordAMinute(t *testing.T) {
	each(t, func(t *testing.T, limit int) {
		h := newShelf(t, Settings{Max: limit})
		for i := range 130 {
			h.refuse(1, fmt.Sprintf("1.%d", i))
			if h.clock = h.clock.Add(time.Second); i%7 == 0 {
				h.flush()
			}
		}
		got := h.of(1)
		if len(got) != 3 || got[2].Count != 60 || got[1].Count != 60 || got[0].Count != 10 {
			t.Fatalf("%d records: %+v", len(got), got)
		}
		if q := got[2].Quotes; len(q) != imsg.MaxQuotes || q[0].ID != "1.0" || q[0].Sender != "s1.0@x" {
			t.Errorf("%+v", q)
		}
		if span := time.Duration(got[1].Event.Time - got[1].First); span != 59*time.Second {
			t.Errorf("it spans %v", span)
		}
	})
}

// TestKeep: what is too old is not shown, and what was kept is there in the next life.
func TestKeep(t *testing.T) {
	h := newShelf(t, Settings{Max: 100, Keep: time.Hour})
	h.refuse(1, "1.1")
	h.end()
	h.clock = h.clock.Add(59 * time.Minute)
	h.begin(Settings{Max: 100, Keep: time.Hour})
	h.refuse(2, "1.2")
	if len(h.of(1)) != 1 || len(h.of(2)) != 1 {
		t.Errorf("%v, %v", h.of(1), h.of(2))
	}
	h.clock = h.clock.Add(2 * time.Minute)
	if len(h.of(1)) != 0 || len(h.of(2)) != 1 {
		t.Errorf("%v, %v", h.of(1), h.of(2))
	}
	if info, err := os.Stat(h.path); err != nil || info.Size() != headSize+2*slotSize {
		t.Errorf("the file has %d octets, %v", info.Size(), err)
	}
}

// TestShare: one client's records push out no others.
func TestShare(t *testing.T) {
	for _, limit := range []int{500, 0} {
		h := newShelf(t, Settings{Max: limit})
		h.refuse(1, "1.1")
		for i := range 300 {
			h.refuse(2, fmt.Sprintf("2.%d", i))
			h.clock = h.clock.Add(time.Minute)
			h.flush()
		}
		share := 5
		if limit == 0 {
			share = inMemory / 100
		}
		if mine, its := h.of(1), h.of(2); len(mine) != 1 || len(its) != share || its[0].Event.ID != "2.299" {
			t.Errorf("%d of one, %d of the other: %v", len(mine), len(its), its[0])
		}
	}
}

// TestAround: the oldest make way when the file is full, in each life.
func TestAround(t *testing.T) {
	h := newShelf(t, Settings{Max: 200})
	for i := range 450 {
		h.refuse(i, fmt.Sprintf("1.%d", i))
		h.clock = h.clock.Add(time.Second)
		if h.flush(); i%100 == 99 {
			h.end()
			h.begin(Settings{Max: 200})
		}
	}
	for i := range 450 {
		if n := len(h.of(i)); (n == 1) != (i >= 250) || n > 1 {
			t.Fatalf("%d records of client %d", n, i)
		}
	}
	h.end()
	h.begin(Settings{Max: 50})
	if info, _ := os.Stat(h.path); info.Size() != headSize+50*slotSize {
		t.Errorf("the file has %d octets", info.Size())
	}
}

// TestForget: what is erased is nowhere any more.
func TestForget(t *testing.T) {
	each(t, func(t *testing.T, limit int) {
		h := newShelf(t, Settings{Max: limit})
		h.refuse(1, "1.1")
		h.flush()
		h.refuse(1, "1.2")
		h.refuse(2, "1.3")
		n, err := h.Forget(func(r *imsg.HistoryRecord) bool { return r.Event.Client == client(1) })
		if n != 1 || err != nil || len(h.of(1)) != 0 || len(h.of(2)) != 1 {
			t.Errorf("%d, %v: %v, %v", n, err, h.of(1), h.of(2))
		}
		h.end()
		if b, _ := os.ReadFile(h.path); bytes.Contains(b, []byte("1.2")) {
			t.Errorf("the file still has it")
		}
	})
}

// TestHash: with the key of the file, a sender has the same hash in each life.
func TestHash(t *testing.T) {
	h := newShelf(t, Settings{Max: 100, Hash: true})
	was := h.Sender("a@b")
	h.end()
	h.begin(Settings{Max: 100, Hash: true})
	if is := h.Sender("a@b"); is != was || is == "a@b" || h.Sender("") != "" || h.Sender("b@b") == is {
		t.Errorf("%q, then %q", was, is)
	}
}

// failing is a store whose disk does.
type failing struct{ memory }

func (*failing) write(int, []byte) error { return errors.New("no space") }

// TestLost: what the disk does not take is told of, and again when it does.
func TestLost(t *testing.T) {
	h := newShelf(t, Settings{})
	h.store = new(failing)
	h.refuse(1, "1.1")
	h.flush()
	h.store = new(memory)
	h.refuse(1, "1.2")
	h.flush()
	for i := range maxOpen + 10 {
		h.refuse(100+i, "1.3")
	}
	h.flush()
	if want := []string{"no space", "", "there is more than can be written"}; strings.Join(h.problems, ";") != strings.Join(want, ";") {
		t.Errorf("%q", h.problems)
	}
}

// TestDamaged: a damaged slot costs its record, a damaged head leaves the file alone, and
// a file that another has is waited for.
func TestDamaged(t *testing.T) {
	h := newShelf(t, Settings{Max: 100})
	for i := range 3 {
		h.refuse(i, "1.1")
		h.flush() // each in the next slot
	}
	h.end()
	b, err := os.ReadFile(h.path)
	if err != nil {
		t.Fatal(err)
	}
	b[headSize+slotSize+20] ^= 1
	os.WriteFile(h.path, b, 0o600)
	h.begin(Settings{Max: 100})
	if len(h.of(0)) != 1 || len(h.of(1)) != 0 || len(h.of(2)) != 1 {
		t.Errorf("%v, %v, %v", h.of(0), h.of(1), h.of(2))
	}
	first := h.History
	h.begin(Settings{Max: 100})
	if len(h.of(0)) != 0 || h.pending == nil {
		t.Errorf("two have the file")
	}
	first.store.close()
	if h.openPending(); len(h.of(0)) != 1 {
		t.Errorf("the file is not taken over")
	}
	h.hand() // the same one again
	if h.openPending(); len(h.of(0)) != 1 || h.pending != nil {
		t.Errorf("the same file is not gone on with")
	}
	h.end()
	b[3] ^= 1
	os.WriteFile(h.path, b, 0o600)
	h.begin(Settings{Max: 100})
	h.refuse(9, "1.1")
	h.end()
	if now, _ := os.ReadFile(h.path); !bytes.Equal(now, b) {
		t.Errorf("a foreign file was written")
	}
}

// TestEncode: the longest record fits its slot, and keeps who and why.
func TestEncode(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\"", n) }
	r := imsg.HistoryRecord{First: 1, Count: 99, Event: imsg.Event{
		Time: 2, Kind: imsg.EventReject, ID: strings.Repeat("1", 64), Client: client(1), Ident: strings.Repeat("i", 64), Target: client(2), Rule: imsg.RuleVirus,
		Detail: long(255), Code: 550, Text: long(512), Engine: long(32), Virus: long(255), Scored: true, Score: 1, Size: 1, MessageID: long(255), Sender: long(320), Subject: long(200), Until: 1, Count: 1,
		Login: strings.Repeat("l", imsg.MaxLogin), Claimed: strings.Repeat("c", imsg.MaxLogin), ServerName: long(255),
	}}
	for range imsg.MaxQuotes {
		r.Quotes = append(r.Quotes, imsg.Quote{ID: strings.Repeat("1", 64), Sender: long(320)})
	}
	b := encode(&r)
	got, ok := decode(b)
	if len(b) > slotSize-overhead || !ok || !sayable(&got) || got.Event.Rule != r.Event.Rule || got.Event.Client != r.Event.Client || got.Event.Login != r.Event.Login || got.Count != 99 {
		t.Errorf("%d octets, %v: %+v", len(b), ok, got)
	}
}

// FuzzOpen: no file makes a history fail, and none is read as what lockd could not say.
func FuzzOpen(f *testing.F) {
	h := &shelf{path: filepath.Join(f.TempDir(), "history")}
	h.t = new(testing.T)
	h.clock = time.Unix(1700000000, 0)
	h.begin(Settings{Max: 3})
	h.refuse(1, "1.1")
	h.end()
	whole, err := os.ReadFile(h.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:headSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newShelf(t, Settings{})
		os.WriteFile(h.path, b, 0o600)
		h.begin(Settings{Max: 3})
		h.refuse(7, "7.7")
		if len(h.of(7)) != 1 {
			t.Errorf("a record is not found")
		}
		h.end()
	})
}

// FuzzDecode: what is read keeps the rules of what is said.
func FuzzDecode(f *testing.F) {
	f.Add(encode(&imsg.HistoryRecord{First: 1, Count: 1, Event: imsg.Event{Kind: imsg.EventLock, Client: client(1)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := decode(b); ok && sayable(&r) {
			if again, ok := decode(encode(&r)); !ok || again.Event.Client != r.Event.Client {
				t.Errorf("%+v", r)
			}
		}
	})
}
