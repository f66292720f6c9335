package lockd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

func TestAdmissionOrder(t *testing.T) {
	// All four limits are passed at first; each row lifts one more.
	all := usual()
	all.MaxConnections, all.MaxLoad, all.MaxPerHost = 1, 2, 1
	connections, load, host, lock := all, all, all, all
	connections.MaxConnections = 2
	load = connections
	load.MaxLoad = 0
	host = load
	host.MaxPerHost = 0
	lock = host
	lock.LockDuration = 0
	remote := host
	remote.Mode = imsg.ModeRemote

	for _, row := range []struct {
		name   string
		config imsg.LockdConfig
		want   imsg.Refusal
	}{
		{"connections first", all, imsg.RefusedConnections},
		{"then load", connections, imsg.RefusedLoad},
		{"then host", load, imsg.RefusedHost},
		{"then lock", host, imsg.RefusedLocked},
		{"no locking", lock, imsg.Admitted},
		{"remote: ident not known yet", remote, imsg.Admitted},
	} {
		t.Run(row.name, func(t *testing.T) {
			first := usual()
			h := open(t, plan{config: first, load: 2.5})
			w := h.worker(0)
			w.enter("192.0.2.7")
			h.write("192.0.2.7", "VIRUS\n")
			row.config.LockOn = 0
			h.Configure(&row.config) // in place: judges by the new rules at once
			a := w.enter("192.0.2.7")
			if a.Refusal != row.want || a.Number != 2 || a.Sessions != 2 || a.Same != 2 || a.Load != 2.5 {
				t.Errorf("%+v, want refusal %d", a, row.want)
			}
			if want := map[bool]int{true: 2, false: 1}[row.want == imsg.Admitted]; h.liveCount() != want {
				t.Errorf("%d live, want %d", h.liveCount(), want)
			}
		})
	}
}

func TestHostsAreCountedInOneForm(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	w.enter("192.0.2.7")
	if a := w.enter("::ffff:192.0.2.7"); a.Same != 2 {
		t.Errorf("an IPv4 address inside IPv6 is another host: %+v", a)
	}
	w.enter("fe80::7")
	if a := w.enter("fe80::1"); a.Same != 1 {
		t.Errorf("another address on the link is the same host: %+v", a)
	}
	if a := w.enter("fe80::1%../../etc"); a.Same != 2 {
		t.Errorf("a zone makes another host: %+v", a)
	}
}

func TestWorkersSpeakOfTheirOwn(t *testing.T) {
	h := open(t, plan{config: usual()})
	runs := h.script()
	mine, other := h.worker(0), h.worker(1)
	a := mine.enter("192.0.2.7")
	other.say(&imsg.Leave{Number: a.Number})
	if k := other.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}); k != imsg.NotFound {
		t.Errorf("offence for another worker's session: %v", k)
	}
	if h.liveCount() != 1 || h.read("192.0.2.7") != "" {
		t.Error("a worker disposed of another's session")
	}
	silent(t, runs)
	mine.say(&imsg.Leave{Number: a.Number})
	mine.say(&imsg.Leave{Number: a.Number})
	if a := mine.enter("192.0.2.7"); a.Sessions != 1 || a.Same != 1 {
		t.Errorf("after Leave: %+v", a)
	}
}

func TestEndOfWorkerEndsItsSessions(t *testing.T) {
	h := open(t, plan{config: usual()})
	one, two := h.worker(0), h.worker(1)
	for range 50 {
		one.enter("192.0.2.7")
		two.enter("192.0.2.7")
	}
	one.Close()
	eventually(t, "50 live", func() bool { return h.liveCount() == 50 })
	if a := two.enter("192.0.2.7"); a.Same != 51 {
		t.Errorf("%+v", a)
	}
	two.Close()
	eventually(t, "none live", func() bool { return h.liveCount() == 0 })
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	if len(h.server.live.hosts) != 0 || len(h.server.workers) != 0 {
		t.Errorf("%d hosts and %d workers are left", len(h.server.live.hosts), len(h.server.workers))
	}
}

func TestNonsenseFromAWorker(t *testing.T) {
	for name, say := range map[string]func(*testWorker){
		"announces again": func(w *testWorker) { w.say(&imsg.Announce{Last: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, plan{config: usual()})
			w := h.worker(3)
			w.enter("192.0.2.7")
			say(w)
			if b, ok := h.next().(*imsg.BadPeer); !ok || b.Room != imsg.Session || b.Member != 3 {
				t.Errorf("%+v", b)
			}
			receive(t, w.Done())
			eventually(t, "its session gone", func() bool { return h.liveCount() == 0 })
		})
	}
}

func TestEnterWaitsForWhatIsLive(t *testing.T) {
	h := open(t, plan{config: usual(), waiting: true})
	one, two := h.hire(0), h.hire(1)
	one.say(&imsg.Announce{Last: true})
	admitted := make(chan *imsg.Admission, 1)
	go func() { admitted <- one.enter("192.0.2.7") }()
	eventually(t, "one waits", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		return len(h.server.barrier.held) == 1
	})
	h.Tell(&imsg.Start{})
	two.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: 9, Client: at("192.0.2.7")}}}) // never given out
	silent(t, admitted)
	two.say(&imsg.Announce{Last: true})
	if a := receive(t, admitted); a.Refusal != imsg.Admitted || a.Same != 1 {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "announced session is not taken up")
}

// TestNobodyComesBack: a worker cannot make up a session under a number that this lockd
// gave out itself: it knows which of those are live. It could accuse any client so.
func TestNobodyComesBack(t *testing.T) {
	h := open(t, plan{config: usual(), counterFile: imsgtest.TempFile(t)})
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	w.say(&imsg.Leave{Number: a.Number})
	liar := h.hire(1)
	liar.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: a.Number, Client: at("192.0.2.99")}}, Last: true})
	if k := liar.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}); k != imsg.NotFound {
		t.Errorf("a session that was made up is accused: %v", k)
	}
	if h.read("192.0.2.99") != "" {
		t.Error("a client that never called is locked")
	}
}

func TestWaitForWorkersIsBounded(t *testing.T) {
	t.Parallel()
	h := open(t, plan{config: usual(), waiting: true})
	h.hire(0) // never says a word
	w := h.worker(1)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "did not announce")
}

func TestCrash(t *testing.T) {
	counterFile := imsgtest.TempFile(t)
	dir := t.TempDir()
	c := usual()
	c.MaxPerHost = 2
	h := open(t, plan{config: c, dir: dir, counterFile: counterFile})
	w := h.worker(0)
	a, b := w.enter("192.0.2.7"), w.enter("192.0.2.7")
	other := w.enter("192.0.2.8")
	w.offend(imsg.Offence{Number: other.Number, Transaction: 1, Found: imsg.FoundVirus, Virus: "Eicar"})
	w.enter("192.0.2.9")
	w.say(&imsg.Counts{Add: []uint64{imsg.CountViruses: 3, imsg.CountBugs: 1}})
	w.enter("192.0.2.10")
	h.close()

	h = open(t, plan{config: c, dir: dir, counterFile: counterFile})
	runs := h.script()
	w = h.hire(0)
	w.say(&imsg.Announce{Sessions: []imsg.LiveSession{
		{Number: a.Number, Client: at("192.0.2.7")},
		{Number: b.Number, Client: at("192.0.2.7")},
		{Number: other.Number, Client: at("192.0.2.8")},
	}, Last: true})
	if r := w.enter("192.0.2.7"); r.Refusal != imsg.RefusedHost || r.Number <= 4 {
		t.Errorf("after the crash: %+v", r)
	}
	receive(t, runs) // MAX_HOST
	// The worker had no answer and asks again: the lock stands, no second script.
	if k := w.offend(imsg.Offence{Number: other.Number, Transaction: 1, Found: imsg.FoundVirus, Virus: "Eicar"}); k != 0 {
		t.Error(k)
	}
	silent(t, runs)
	if r := w.enter("192.0.2.8"); r.Refusal != imsg.RefusedLocked {
		t.Errorf("the lock did not outlive the crash: %+v", r)
	}
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	e := h.server.counters.Entry()
	if e.Counts[imsg.CountViruses] != 3 || e.Peak != 5 || e.LastBug == 0 {
		t.Errorf("counterFile %+v", e)
	}
	if strings.Contains(h.log.String(), "not taken up") {
		t.Error(h.log)
	}
}

func TestAnnounceIsBounded(t *testing.T) {
	c := usual()
	c.MaxConnections = 2
	counterFile := imsgtest.TempFile(t)
	h := open(t, plan{config: c, counterFile: counterFile})
	h.worker(0).enter("192.0.2.7")
	h.close()
	h = open(t, plan{config: c, counterFile: counterFile})
	w := h.hire(0)
	m := &imsg.Announce{Last: true}
	for n := range uint64(10) {
		m.Sessions = append(m.Sessions, imsg.LiveSession{Number: n + 1, Client: at("192.0.2.7")})
	}
	w.say(m)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedConnections || a.Sessions != 3 {
		t.Errorf("%+v", a)
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	c := usual()
	c.MaxConnections = 20000
	c.MaxPerHost = 20000
	h := open(b, plan{config: c})
	w := h.worker(0)
	for i := range 10000 {
		w.enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
	}
	b.ReportAllocs()
	for b.Loop() {
		w.say(&imsg.Leave{Number: w.enter("192.0.2.7").Number})
	}
}

// TestFreshLink: a worker that gets another link has but that one. What it announces by
// it counts once, and it may go on.
func TestFreshLink(t *testing.T) {
	h := open(t, plan{config: usual()})
	old := h.worker(3)
	number, left := old.enter("192.0.2.7").Number, old.enter("192.0.2.7").Number
	again := h.hire(3)
	receive(t, old.Done())
	// What lockd knows better it does not believe, and what is not announced has left.
	again.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: number, Client: at("192.0.2.66")}, {Number: left + 1, Client: at("192.0.2.7")}}, Last: true})
	if a := again.enter("192.0.2.7"); a.Sessions != 2 || a.Same != 2 {
		t.Errorf("%+v, want 2 sessions", a)
	}
	if k := again.offend(imsg.Offence{Number: number, Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("192.0.2.7") == "" || h.read("192.0.2.66") != "" {
		t.Errorf("%v: somebody else is locked", k)
	}
}

// TestSevered: what a worker had is kept through any number of broken links, and a lock
// that is made meanwhile reaches it. No other worker announces it in its stead.
func TestSevered(t *testing.T) {
	h := open(t, plan{config: usual()})
	w, other := h.worker(3), h.worker(4)
	one, two := w.enter("192.0.2.7").Number, w.enter("192.0.2.7").Number
	elsewhere := other.enter("192.0.2.7").Number
	announced := func(numbers ...uint64) *imsg.Announce {
		m := new(imsg.Announce)
		for _, n := range numbers {
			m.Sessions = append(m.Sessions, imsg.LiveSession{Number: n, Client: at("192.0.2.7")})
		}
		return m
	}
	w.Close()
	imsgtest.Until(t, "its sessions are away", func() bool { return h.liveCount() == 1 })
	if k := other.offend(imsg.Offence{Number: elsewhere, Transaction: 1, Found: imsg.FoundVirus}); k != 0 {
		t.Fatal(k)
	}
	if d := ask(t, h.operators()(), &imsg.EndSession{Number: two}); d.Errno != imsg.Busy {
		t.Errorf("its end, meanwhile: %+v", d)
	}
	again := h.hire(3)
	again.say(announced(one))
	again.say(&imsg.Announce{Sessions: announced(two).Sessions, Last: true})
	imsgtest.Until(t, "its sessions are back", func() bool { return h.liveCount() == 3 })
	heard := []uint64{receive(t, again.locked), receive(t, again.locked)}
	if slices.Sort(heard); !slices.Equal(heard, []uint64{one, two}) {
		t.Errorf("it hears that %d are locked", heard)
	}

	// That an operator has ended one it hears again.
	if d := ask(t, h.operators()(), &imsg.EndSession{Number: one}); d.Errno != 0 {
		t.Errorf("its end: %+v", d)
	}
	receive(t, again.killed)
	again.Close()
	imsgtest.Until(t, "its sessions are away again", func() bool { return h.liveCount() == 1 })
	third := h.hire(3)
	third.say(&imsg.Announce{Sessions: announced(one, two).Sessions, Last: true})
	if n := receive(t, third.killed); n != one {
		t.Errorf("it hears that %d is to end", n)
	}
}

// TestEndedWorker: a worker that is no more, as the parent says, has no sessions, though
// something holds its link open; what it said before counts.
func TestEndedWorker(t *testing.T) {
	h := open(t, plan{config: usual()})
	one, two := h.worker(1), h.worker(2)
	one.enter("192.0.2.7")
	one.say(&imsg.Counts{Add: []uint64{imsg.CountTotal: 2}})
	h.Tell(&imsg.Family{Rooms: []imsg.Member{{Room: imsg.Session, Member: 2, State: imsg.Running}, {Room: imsg.Scand, Member: 1, State: imsg.Running}}})
	receive(t, one.Done())
	imsgtest.Until(t, "its session is gone", func() bool { return h.liveCount() == 0 })
	if a := two.enter("192.0.2.7"); a.Sessions != 1 {
		t.Errorf("%+v", a)
	}
	if s := ask(t, h.operators()(), &imsg.Status{}); s.Counters[imsg.CountTotal] != 2 {
		t.Errorf("its last words were lost: %v", s.Counters)
	}
}
