package lockd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// traceWord is what a worker hears of a trace: its file, or without one its end.
type traceWord struct {
	id    uint64
	share int
	file  *os.File
}

// traceFile is one as smtp-gatectl makes it.
func traceFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "trace"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func orderTrace(t *testing.T, c *link.Conn, client string, sessions int, f *os.File) *imsg.Done {
	t.Helper()
	p := netip.MustParsePrefix(client)
	d, err := link.Ask(c, &imsg.Trace{Client: p.Addr(), Bits: p.Bits(), Sessions: sessions, For: time.Hour}, patience, f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// handed waits for a trace's file, and tells whether that is f.
func (w *testWorker) handed(f *os.File) traceWord {
	w.t.Helper()
	word := receive(w.t, w.traces)
	if word.file == nil {
		w.t.Fatalf("the end of trace %d", word.id)
	}
	defer word.file.Close()
	one, _ := f.Stat()
	if other, err := word.file.Stat(); err != nil || !os.SameFile(one, other) {
		w.t.Errorf("another file came: %v", err)
	}
	return word
}

// over waits for the end of a trace.
func (w *testWorker) over(id uint64) {
	w.t.Helper()
	if word := receive(w.t, w.traces); word.id != id || word.file != nil {
		w.t.Errorf("%+v in place of the end of %d", word, id)
	}
}

// TestTrace: so many sessions are traced as were asked for, of all workers together, and
// each worker has the file before the first of them.
func TestTrace(t *testing.T) {
	h := open(t, plan{config: usual()})
	one, two := h.worker(0), h.worker(1)
	c := h.operators()()
	before := one.enter("192.0.2.7")
	f := traceFile(t)
	if d := orderTrace(t, c, "192.0.2.0/24", 3, f); d.Errno != 0 {
		t.Fatalf("%+v", d)
	}
	word := one.handed(f)
	if two.handed(f).id != word.id || word.share != (imsg.MaxTrace-imsg.TraceHead)/3 {
		t.Errorf("%+v", word)
	}
	if a := one.enter("198.51.100.7"); a.Trace != 0 {
		t.Error("another's session is traced")
	}
	first, second := one.enter("192.0.2.7"), two.enter("::ffff:192.0.2.8")
	late := h.worker(2)
	late.handed(f)
	third := late.enter("192.0.2.9")
	for _, a := range []*imsg.Admission{first, second, third} {
		if a.Trace != word.id {
			t.Errorf("%+v", a)
		}
	}
	if a := one.enter("192.0.2.7"); a.Trace != 0 || before.Trace != 0 {
		t.Error("too many are traced")
	}
	s := ask(t, c, &imsg.Status{})
	if len(s.Traces) != 1 || s.Traces[0].Left != 0 || s.Traces[0].Running != 3 || s.Traces[0].UID != os.Getuid() || s.Traces[0].Bits != 24 ||
		s.Traces[0].Until != h.clock.now().Add(time.Hour).UnixNano() {
		t.Errorf("%+v", s.Traces)
	}
	// A session that nobody waited for any more was none.
	late.say(&imsg.Leave{Number: third.Number, Late: true})
	eventually(t, "its place", func() bool { return ask(t, c, &imsg.Status{}).Traces[0].Left == 1 })
	if third = one.enter("192.0.2.9"); third.Trace != word.id {
		t.Error("a session that was none was counted")
	}
	one.say(&imsg.Leave{Number: first.Number})
	two.say(&imsg.Leave{Number: second.Number})
	one.say(&imsg.Leave{Number: third.Number})
	for _, w := range []*testWorker{one, two, late} {
		w.over(word.id)
	}
	if s := ask(t, c, &imsg.Status{}); len(s.Traces) != 0 {
		t.Errorf("%+v", s.Traces)
	}
	h.log.Has(t, `msg="trace is over" client=192.0.2.0/24 reason="its sessions are over" sessions=3 uid=`)
}

// TestTraceEnds: by the clock, with the worker, and with lockd.
func TestTraceEnds(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	c := h.operators()()
	f := traceFile(t)
	d, err := link.Ask(c, &imsg.Trace{Client: netip.MustParseAddr("2001:db8::7"), Bits: 128, Sessions: 1, For: time.Second}, patience, f)
	if err != nil || d.Errno != 0 {
		t.Fatal(d, err)
	}
	w.over(w.handed(f).id)
	if a := w.enter("2001:db8::7"); a.Trace != 0 {
		t.Error("a session is traced when the time is over")
	}
	h.log.Has(t, `client=2001:db8::7 reason="its time is over" sessions=0`)

	// The sessions of a worker that is no more are over.
	h.Tell(&imsg.Family{Rooms: []imsg.Member{{Room: imsg.Session, Member: 0}, {Room: imsg.Session, Member: 1}}})
	orderTrace(t, c, "192.0.2.7/32", 1, f)
	word := w.handed(f)
	dies := h.worker(1)
	dies.handed(f)
	if a := dies.enter("192.0.2.7"); a.Trace != word.id {
		t.Errorf("%+v", a)
	}
	dies.Close()
	h.Tell(&imsg.Family{Rooms: []imsg.Member{{Room: imsg.Session, Member: 0}}})
	w.over(word.id)

	orderTrace(t, c, "192.0.2.7/32", 1, f)
	word = w.handed(f)
	h.Tell(&imsg.Drain{})
	w.over(word.id)
	h.log.Has(t, `reason="another lockd takes over"`)
}

// TestTraceRefused: what cannot be traced is refused, with a reason.
func TestTraceRefused(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	c := h.operators()()
	reads, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer reads.Close()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer pipe.Close()
	f := traceFile(t)
	only, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	for what, bad := range map[string]*os.File{"a device": reads, "a pipe": pipe, "a file that is read": only, "a file that is not appended to": imsgtest.TempFile(t)} {
		if d := orderTrace(t, c, "192.0.2.7/32", 1, bad); d.Errno != imsg.Invalid || !strings.Contains(d.Detail, "regular file") {
			t.Errorf("%s: %+v", what, d)
		}
	}
	for _, m := range []*imsg.Trace{
		{Client: netip.MustParseAddr("192.0.2.7"), Bits: 33, Sessions: 1, For: time.Hour},
		{Client: netip.MustParseAddr("192.0.2.7"), Bits: 32, Sessions: 1, For: time.Millisecond},
	} {
		if d, err := link.Ask(c, m, patience, f); err != nil || d.Errno != imsg.Invalid || d.Detail == "" {
			t.Errorf("%+v: %+v, %v", m, d, err)
		}
	}
	silent(t, w.traces)
	for range imsg.MaxTraces {
		if d := orderTrace(t, c, "192.0.2.7/32", 1, f); d.Errno != 0 {
			t.Fatalf("%+v", d)
		}
		w.handed(f)
	}
	if d := orderTrace(t, c, "192.0.2.7/32", 1, f); d.Errno != imsg.Busy || !strings.Contains(d.Detail, "4 traces are under way") {
		t.Errorf("one too many: %+v", d)
	}
	// Each session is part of one.
	all := make(map[uint64]bool)
	for range imsg.MaxTraces + 1 {
		all[w.enter("192.0.2.7").Trace] = true
	}
	if len(all) != imsg.MaxTraces+1 || !all[0] {
		t.Errorf("%v", all)
	}
}
