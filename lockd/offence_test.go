package lockd

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

func TestOffence(t *testing.T) {
	h := open(t, plan{config: usual()})
	runs := h.script()
	one, two := h.worker(0), h.worker(1)
	a := one.enter("192.0.2.7")
	b := one.enter("192.0.2.7")
	c := two.enter("192.0.2.7")
	two.enter("192.0.2.8")
	o := imsg.Offence{
		Number: a.Number, Transaction: 2, Found: imsg.FoundVirus, Virus: "Eicar-Test", Score: 1.5,
		Target: netip.MustParseAddrPort("192.0.2.25:25"), Helo: "pc", MailFrom: "joe@example.com", Recipients: 3, Size: 68, Auth: imsg.AuthAccepted, Spool: "1.1",
	}
	if k := one.offend(o); k != 0 {
		t.Fatal(k)
	}
	// The word to the same worker stood before the answer in its queue.
	select {
	case n := <-one.locked:
		if n != b.Number {
			t.Errorf("locked %d, want %d", n, b.Number)
		}
	default:
		t.Error("answered before the other session was told")
	}
	if n := receive(t, two.locked); n != c.Number {
		t.Errorf("locked %d, want %d", n, c.Number)
	}
	if got := h.read("192.0.2.7"); got != "Eicar-Test\n" {
		t.Errorf("lock file %q", got)
	}
	h.log.Has(t, `msg="LOCK:CREATED (/locks/192.0.2.7): Eicar-Test" session=1`)

	r := receive(t, runs)
	o.Target = r.Target
	if r.Offence != o || r.Client != at("192.0.2.7") || r.IdentCount != 0 || r.LockFile != "/locks/192.0.2.7" ||
		r.LockDuration != 3600 || r.Started == 0 || r.Local.Port() != 9199 {
		t.Errorf("%+v", r)
	}

	// A repeat counts once; another transaction finds the lock in force.
	one.offend(o)
	o.Transaction++
	one.offend(o)
	if a := one.enter("192.0.2.7"); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "msg=LOCK:LOCKED session=5 src=192.0.2.7 ident=")
	if a := one.enter("192.0.2.8"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	silent(t, runs)
	for len(two.locked) > 0 {
		if n := <-two.locked; n != c.Number {
			t.Errorf("another client's session %d was told", n)
		}
	}
}

func TestOffenceNotInLockOn(t *testing.T) {
	c := usual()
	c.LockOn = imsg.LockSpam
	h := open(t, plan{config: c})
	runs := h.script()
	w := h.worker(0)
	a, _ := w.enter("192.0.2.7"), w.enter("192.0.2.7")
	if k := w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}); k != 0 {
		t.Error(k)
	}
	silent(t, w.locked)
	silent(t, runs)
	if h.read("192.0.2.7") != "" {
		t.Error("locked without lock_on")
	}
}

func TestEveryCauseLocksByItsWord(t *testing.T) {
	for found := imsg.FoundVirus; found <= imsg.FoundRateRcptTo; found++ {
		for _, on := range []bool{false, true} {
			c := usual()
			c.LockOn = ^found.LockOn()
			if on {
				c.LockOn = found.LockOn()
			}
			h := open(t, plan{config: c})
			runs := h.script()
			w := h.worker(0)
			a := w.enter("192.0.2.7")
			if k := w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: found}); k != 0 {
				t.Error(found, k)
			}
			want := ""
			if on {
				want = found.String() + "\n"
				if r := receive(t, runs); r.Found != found {
					t.Errorf("%+v", r)
				}
			}
			if got := h.read("192.0.2.7"); got != want {
				t.Errorf("%s, in lock_on: %v: lock file %q", found, on, got)
			}
			silent(t, runs)
			h.close()
		}
	}
}

func TestWithoutLockingEachEventRunsTheScript(t *testing.T) {
	c := usual()
	c.LockDuration = 0
	h := open(t, plan{config: c})
	runs := h.script()
	w := h.worker(0)
	a, _ := w.enter("192.0.2.7"), w.enter("192.0.2.7")
	for i := range 3 {
		w.offend(imsg.Offence{Number: a.Number, Transaction: i + 1, Found: imsg.FoundSpam, Score: 9})
		if r := receive(t, runs); r.Transaction != i+1 || r.LockDuration != 0 {
			t.Errorf("%+v", r)
		}
		w.offend(imsg.Offence{Number: a.Number, Transaction: i + 1, Found: imsg.FoundSpam, Score: 9}) // a repeat
	}
	silent(t, runs)
	silent(t, w.locked)
	if h.read("192.0.2.7") != "" {
		t.Error("lock made with lock_duration 0")
	}
}

func TestWhitelistedIsExempt(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of uid 0")
	}
	h := open(t, plan{config: usual(), uid: 65534})
	runs := h.script()
	w := h.worker(0)
	h.write("192.0.2.7", "")
	a, _ := w.enter("192.0.2.7"), w.enter("192.0.2.7")
	if a.Refusal != imsg.Admitted {
		t.Fatalf("%+v", a)
	}
	w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus})
	silent(t, runs)
	silent(t, w.locked)
	h.log.Has(t, "msg=LOCK:SAINT session=1 src=192.0.2.7")
	h.log.HasNot(t, "LOCK:CREATED")
}

func TestExpiredLockIsMadeAgain(t *testing.T) {
	h := open(t, plan{config: usual()})
	runs := h.script()
	w := h.worker(0)
	h.write("192.0.2.7", "SPAM\n")
	h.clock.move(time.Hour + time.Second)
	a := w.enter("192.0.2.7")
	if a.Refusal != imsg.Admitted || h.read("192.0.2.7") != "" {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "LOCK:EXPIRED")
	w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundSpam})
	receive(t, runs)
	if h.read("192.0.2.7") != "SPAM\n" {
		t.Error("not locked again")
	}
	// The owner removes it by hand: that counts at once.
	os.Remove(filepath.Join(h.dir, "192.0.2.7"))
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
}

func TestMaxHost(t *testing.T) {
	c := usual()
	c.MaxPerHost = 2
	h := open(t, plan{config: c})
	runs := h.script()
	w := h.worker(0)
	// A network of 64 bits is one host.
	first, second := w.enter("2001:db8::7"), w.enter("2001:db8::8")
	third := w.enter("2001:db8::ffff:0:0:7")
	if third.Refusal != imsg.RefusedHost || third.Number == 0 {
		t.Fatalf("%+v", third)
	}
	r := receive(t, runs)
	if r.Found != imsg.FoundMaxHost || r.Number != third.Number || r.Target.IsValid() || r.Local.String() != "[::]:9199" || r.IdentCount != 0 || r.Transaction != 1 {
		t.Errorf("%+v", r)
	}
	told := []uint64{receive(t, w.locked), receive(t, w.locked)}
	slices.Sort(told)
	if !slices.Equal(told, []uint64{first.Number, second.Number}) {
		t.Errorf("told %v", told)
	}
	if h.read("2001:db8::") != "MAX_HOST\n" || r.LockFile != "/locks/2001:db8::" {
		t.Error("not locked")
	}
	if a := w.enter("2001:db8:0:1::7"); a.Refusal != imsg.Admitted || a.Same != 1 {
		t.Errorf("another network is the same host: %+v", a)
	}
	// The limit stands before the lock.
	if a := w.enter("2001:db8::7"); a.Refusal != imsg.RefusedHost {
		t.Errorf("%+v", a)
	}
	silent(t, runs)
	if k := w.offend(imsg.Offence{Number: third.Number, Transaction: 1, Found: imsg.FoundVirus}); k != imsg.NotFound {
		t.Errorf("a refused session offends: %v", k)
	}
}

func TestLongWordsDoNotSpareTheScript(t *testing.T) {
	h := open(t, plan{config: usual()})
	runs := h.script()
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	long := strings.Repeat("x", imsg.MaxWord)
	if k := w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus, Virus: long[:255], Helo: long, MailFrom: long}); k != 0 {
		t.Fatal(k)
	}
	if r := receive(t, runs); r.Helo != long {
		t.Errorf("%d octets", len(r.Helo))
	}
}

func TestOffencesOfASessionAreBounded(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	for i := range maxOffences {
		if k := w.offend(imsg.Offence{Number: a.Number, Transaction: i + 1, Found: imsg.FoundSPF}); k != 0 {
			t.Fatal(i, k)
		}
	}
	if k := w.offend(imsg.Offence{Number: a.Number, Transaction: maxOffences + 1, Found: imsg.FoundSPF}); k != imsg.Busy {
		t.Error(k)
	}
}

// While the runner is being replaced its scripts wait, as many as may.
func TestOffenceWithoutScriptRunner(t *testing.T) {
	config := usual()
	config.LockDuration = 0 // each event runs the script
	h := open(t, plan{config: config})
	w := h.worker(0)
	var number uint64
	for i := range maxWaiting + 1 {
		if i%8 == 0 {
			number = w.enter("192.0.2." + strconv.Itoa(i+1)).Number
		}
		if k := w.offend(imsg.Offence{Number: number, Transaction: i + 1, Found: imsg.FoundVirus}); k != 0 {
			t.Fatal(k)
		}
	}
	h.log.Has(t, "action script is not run")
	runs := h.script()
	for i := range maxWaiting {
		if r := receive(t, runs); r.Transaction != i+1 {
			t.Fatalf("script %d was of transaction %d", i, r.Transaction)
		}
	}
}

func TestWorkerThatDoesNotListen(t *testing.T) {
	h := open(t, plan{config: usual()})
	deaf := h.Link(imsg.Session, 5) // nobody serves it
	deaf.Send(&imsg.Announce{Last: true})
	go link.Ask(deaf, entering("192.0.2.7"), patience)
	eventually(t, "the deaf worker's session", func() bool { return h.liveCount() == 1 })

	w := h.worker(0)
	c := usual()
	c.LockDuration = 1
	h.Configure(&c)
	// Each round locks afresh, and tells the deaf one.
	for range 2000 {
		h.clock.move(2 * time.Second)
		a := w.enter("192.0.2.7")
		w.offend(imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus})
		w.say(&imsg.Leave{Number: a.Number})
		select {
		case m := <-h.told:
			if _, ok := m.(*imsg.Condition); ok { // it takes long enough for a finding
				continue
			}
			if b, ok := m.(*imsg.BadPeer); !ok || b.Member != 5 {
				t.Fatalf("%+v", m)
			}
			return
		default:
		}
	}
	t.Error("a worker that takes no word was not reported")
}

// What a runner that dies had been given is told; what it dealt with is not, nor
// what one has that drains.
func TestScriptRunnerDies(t *testing.T) {
	config := usual()
	config.LockDuration = 0
	h := open(t, plan{config: config})
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	const died = "the script runner has died"
	transaction := 0
	give := func(n int, runs <-chan *imsg.Run) {
		t.Helper()
		for range n {
			transaction++
			if k := w.offend(imsg.Offence{Number: a.Number, Transaction: transaction, Found: imsg.FoundVirus}); k != 0 {
				t.Fatal(k)
			}
			receive(t, runs)
		}
	}
	old, runs := h.runner()
	give(2, runs)
	runner, runs := h.runner()
	<-old.Done() // put aside, as at a reload
	give(3, runs)
	runner.Send(&imsg.RunDone{})
	runner.Close()
	eventually(t, "a word about lost scripts", func() bool { return strings.Contains(h.log.String(), died) })
	h.log.Has(t, "count=2")

	runner, runs = h.runner()
	give(1, runs)
	runner.Send(&imsg.RunDone{})
	runner.Close()
	_, runs = h.runner()
	give(1, runs)
	if n := strings.Count(h.log.String(), died); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, h.log)
	}
}
