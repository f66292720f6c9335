package lockd

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

func TestStatus(t *testing.T) {
	h := open(t, plan{config: usual(), load: 0.5})
	w := h.worker(0)
	w.enter("192.0.2.7")
	w.say(&imsg.Counts{Add: []uint64{imsg.CountTotal: 2}})
	w.enter("192.0.2.7")
	w.change(func() { w.unsaid = []uint64{imsg.CountViruses: 2} })
	h.write("192.0.2.9", "VIRUS\n")
	h.Tell(&imsg.Family{Version: "2.0", Rooms: []imsg.Member{{Room: imsg.Lockd, PID: 1, State: imsg.Running}, {Room: imsg.Session, State: imsg.Running}}})
	link.Ask(h.Parent, &imsg.Dump{}, patience, imsgtest.TempFile(t)) // behind Family
	count, sum := imsg.TimeAdded.Slots(time.Second)
	times := make([]uint64, imsg.Slots)
	times[count], times[sum] = 1, uint64(time.Second/time.Microsecond)
	for member := range 2 { // of one that is replaced, too
		other := h.worker(1 + member)
		other.say(&imsg.Counts{Add: times})
		other.change(func() { other.states = []uint64{imsg.StateScan: 2} })
		if member == 0 {
			link.Ask(h.Parent, &imsg.Dump{}, patience, imsgtest.TempFile(t)) // behind what it has said
			other.Close()
		}
	}
	s := ask(t, h.operators()(), &imsg.Status{})
	if counts, sum := imsg.TimeAdded.Of(s.Counters); counts[10] != 2 || sum != 2*time.Second {
		t.Errorf("times %v, sum %v", counts, sum)
	}
	if s.States[imsg.StateScan] != 2 {
		t.Errorf("states %v", s.States)
	}
	if s.Sessions != 2 || s.Limit != 10000 || s.Load != 0.5 || s.Locks != 1 || s.Counters[imsg.CountViruses] != 2 ||
		s.Counters[imsg.CountTotal] != 2 || len(s.Counters) != imsg.Slots || len(s.Family.Rooms) != 2 || s.Now != h.clock.now().UnixNano() {
		t.Errorf("%+v", s)
	}
}

func TestSessionsArePaged(t *testing.T) {
	h := open(t, plan{config: usual()})
	one, two, mute := h.worker(0), h.worker(1), h.worker(2)
	mute.change(func() { mute.mute = true })
	long := strings.Repeat("i", locks.MaxIdent)
	enter := func(w *testWorker, state imsg.State) {
		a := w.enter("2001:db8::ffff:ffff:ffff:ffff")
		w.change(func() {
			w.live = append(w.live, imsg.LiveSession{Number: a.Number, State: state, Ident: long, Target: netip.MustParseAddrPort("192.0.2.25:25"), Via: netip.MustParseAddrPort("192.0.2.9:4444")})
		})
	}
	for range 1400 {
		enter(one, imsg.StateData)
		enter(two, imsg.StateScan)
	}
	for range 200 {
		enter(mute, imsg.StateQuit)
	}
	one.change(func() { // a lie about another's session is not believed
		one.live = append(one.live[:0:0], one.live...)
		one.live[0].Number = 2
	})

	c := h.operators()()
	var all []imsg.LiveSession
	silent, pages := 0, 0
	for after, more := uint64(0), true; more; pages++ {
		l := ask(t, c, &imsg.Sessions{After: after})
		all = append(all, l.Sessions...)
		after, more = l.Sessions[len(l.Sessions)-1].Number, l.More
		silent += l.Silent
		if len(l.Sessions) > imsg.LivePage {
			t.Errorf("page of %d", len(l.Sessions))
		}
	}
	if len(all) != 3000 || pages != (3000+imsg.LivePage-1)/imsg.LivePage {
		t.Fatalf("%d sessions on %d pages", len(all), pages)
	}
	states := make(map[imsg.State]int)
	for i, s := range all {
		if known := s.State != imsg.StateStart; s.Via.IsValid() != known {
			t.Fatalf("%+v", s)
		}
		if s.Number != uint64(i+1) {
			t.Fatalf("session %d is numbered %d", i, s.Number)
		}
		states[s.State]++
	}
	if states[imsg.StateData] != 1399 || states[imsg.StateScan] != 1400 || states[imsg.StateStart] != 201 || silent == 0 {
		t.Errorf("%v, %d silent", states, silent)
	}
}

func TestAdmissionDoesNotWaitForSnapshots(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	w.change(func() { w.mute = true })
	w.enter("192.0.2.7")
	c := h.operators()()
	eventually(t, "many are admitted while a list waits", func() bool {
		listed := make(chan struct{})
		go func() {
			ask(t, c, &imsg.Sessions{})
			close(listed)
		}()
		for n := 0; ; n++ {
			w.enter("192.0.2.7")
			select {
			case <-listed:
				return n >= 100
			default:
			}
		}
	})
}

// What is shown of a session is taken while nobody changes it.
func TestListsWhileIdentsCome(t *testing.T) {
	h := open(t, plan{config: remote()})
	w := h.worker(0)
	c := h.operators()()
	end := make(chan struct{})
	go func() {
		defer close(end)
		for range 200 {
			a := w.enter("192.0.2.7")
			w.identify(a.Number, "joe", "192.0.2.25")
			w.say(&imsg.Leave{Number: a.Number})
		}
	}()
	for {
		ask(t, c, &imsg.Sessions{})
		ask(t, c, &imsg.Status{})
		link.Ask(h.Parent, &imsg.Dump{}, patience, imsgtest.TempFile(t))
		select {
		case <-end:
			return
		default:
		}
	}
}

// order is what an operator has done.
type order = imsg.Question[imsg.Done]

func TestLockByHand(t *testing.T) {
	config := usual()
	h := open(t, plan{config: config})
	runs := h.script()
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	c := h.operators()()
	kind := func(m order) imsg.Errno {
		t.Helper()
		d := ask(t, c, m)
		if (d.Errno == 0) != (d.Detail == "") {
			t.Errorf("%+v", d)
		}
		return d.Errno
	}
	for _, row := range []struct {
		m    order
		want imsg.Errno
	}{
		{&imsg.Lock{Name: "::ffff:192.0.2.7", Cause: "told\nso"}, 0},
		{&imsg.Lock{Name: "192.0.2.7"}, imsg.Exists},
		{&imsg.Lock{Name: "192.0.2.7-joe"}, imsg.Invalid},
		{&imsg.Lock{Name: "../192.0.2.7"}, imsg.Invalid},
		{&imsg.Lock{Name: "192.0.2.7-../x"}, imsg.Invalid},
		{&imsg.Lock{Name: ""}, imsg.Invalid},
		{&imsg.Unlock{Name: "/etc/passwd"}, imsg.Invalid},
		{&imsg.Unlock{Name: "192.0.2.8"}, imsg.NotFound},
		{&imsg.Unlock{Name: "192.0.2.9-joe"}, imsg.NotFound},
		{&imsg.Lock{Name: "2001:DB8::1"}, 0},
		{&imsg.Lock{Name: "2001:db8::2"}, imsg.Exists}, // one network, one client
		{&imsg.Unlock{Name: "2001:db8:0::3"}, 0},
		{&imsg.Unlock{Name: "2001:db8::"}, imsg.NotFound},
	} {
		if got := kind(row.m); got != row.want {
			t.Errorf("%+v: %v, want %v", row.m, got, row.want)
		}
	}
	if n := receive(t, w.locked); n != a.Number {
		t.Errorf("told %d", n)
	}
	if h.read("192.0.2.7") != "told#so\n" || h.read("2001:db8::") != "" {
		t.Error("lock files are not as said")
	}
	silent(t, runs)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
	kind(&imsg.Unlock{Name: "192.0.2.7"})
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "LOCK:REMOVED (/locks/192.0.2.7)")

	os.Symlink("/etc/passwd", filepath.Join(h.dir, "192.0.2.66"))
	if k := kind(&imsg.Unlock{Name: "192.0.2.66"}); k != imsg.Invalid {
		t.Error(k)
	}

	config.Mode = imsg.ModeRemote
	h.Configure(&config)
	if k := kind(&imsg.Lock{Name: "192.0.2.7"}); k != imsg.Invalid {
		t.Error(k)
	}
	if k := kind(&imsg.Lock{Name: "192.0.2.7-"}); k != 0 || h.read("192.0.2.7-") != "by hand\n" {
		t.Error(k)
	}
	config.LockDuration = 0
	h.Configure(&config)
	if k := kind(&imsg.Lock{Name: "192.0.2.8-"}); k != imsg.Invalid {
		t.Error(k)
	}
}

// What has the name of a lock and is none is told as what it is.
func TestNoLockByHand(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	c := h.operators()()
	for name, what := range map[string]string{"192.0.2.1": "a named pipe", "192.0.2.2": "a directory", "192.0.2.3": "a symbolic link", "192.0.2.4": "a socket"} {
		path := filepath.Join(h.dir, name)
		var err error
		switch what {
		case "a named pipe":
			err = syscall.Mkfifo(path, 0o600)
		case "a directory":
			err = os.Mkdir(path, 0o700)
		case "a symbolic link":
			err = os.Symlink("nowhere", path)
		case "a socket":
			var l net.Listener
			if l, err = net.Listen("unix", path); err == nil {
				defer l.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []order{&imsg.Lock{Name: name}, &imsg.Unlock{Name: name}} {
			if d := ask(t, c, m); d.Errno != imsg.Invalid || !strings.Contains(d.Detail, name+" is "+what) {
				t.Errorf("%T: %+v", m, d)
			}
		}
		// It locks nobody, and nobody is told that it did.
		a, other := w.enter(name), w.enter(name)
		if other.Refusal != imsg.Admitted {
			t.Errorf("%s: %+v", what, other)
		}
		if k := w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}); k != imsg.Resource {
			t.Errorf("%s: an offence: %v", what, k)
		}
		silent(t, w.locked)
		h.log.Has(t, name+" is "+what)
	}
}

func TestDump(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	for range 600 {
		a := w.enter("192.0.2.7")
		w.change(func() {
			w.live = append(w.live, imsg.LiveSession{Number: a.Number, State: imsg.StateScan, Target: netip.MustParseAddrPort("192.0.2.25:25")})
		})
	}
	f := imsgtest.TempFile(t)
	m, err := link.Ask(h.Parent, &imsg.Dump{}, patience, f)
	if err != nil || m.Errno != 0 {
		t.Fatal(m, err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), " scan . 00:00 192.0.2.7 192.0.2.25 "); n != 600 {
		t.Errorf("%d slots:\n%.3000s", n, b)
	}

	// A descriptor nobody can write to.
	g, err := os.Open(filepath.Join(h.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m, err = link.Ask(h.Parent, &imsg.Dump{}, patience, g)
	if err != nil || m.Errno != imsg.Resource {
		t.Error(m, err)
	}
}
