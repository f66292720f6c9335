package lockd

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// frozen is a lock directory on a disk that does not answer until it is thawed.
type frozen struct {
	locks.Files
	mu     sync.Mutex
	thawed chan struct{} // nil: it answers
	only   string        // but this name; empty: all
	fault  error         // what looking at a file comes to; nil: what it should
	open   int           // calls that wait
	most   int           // of those at once
	lists  atomic.Int32  // how often the directory was opened
}

// freezing puts one between lockd and its lock directory. Nobody has entered yet.
func (h *house) freezing() *frozen {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	f := &frozen{Files: h.server.locks.Files}
	h.server.locks.Files = f
	h.t.Cleanup(f.thaw)
	return f
}

func (f *frozen) freeze(only string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thawed, f.only = make(chan struct{}), only
}

func (f *frozen) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thawed != nil {
		close(f.thawed)
		f.thawed = nil
	}
}

func (f *frozen) wait(name string) {
	f.mu.Lock()
	thawed := f.thawed
	if thawed == nil || f.only != "" && name != f.only {
		f.mu.Unlock()
		return
	}
	f.open++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	<-thawed
	f.mu.Lock()
	f.open--
	f.mu.Unlock()
}

func (f *frozen) waiting() (open, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open, f.most
}

func (f *frozen) Lstat(name string) (fs.FileInfo, error) {
	f.wait(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		return nil, f.fault
	}
	return f.Files.Lstat(name)
}

func (f *frozen) Open(name string) (*os.File, error) {
	f.wait(name)
	f.lists.Add(1)
	return f.Files.Open(name)
}

func (f *frozen) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f.wait(name)
	return f.Files.OpenFile(name, flag, perm)
}

func (f *frozen) Remove(name string) error {
	f.wait(name)
	return f.Files.Remove(name)
}

// askFor asks, and does not wait longer than that.
func (w *testWorker) askFor(d time.Duration, q imsg.Question[imsg.Admission]) (*imsg.Admission, error) {
	return link.Ask(w, q, d)
}

// TestFrozenDirectory has more clients come than there are file calls, each of whom
// waits in vain: none keeps a place, everything else goes on, and all is well as
// soon as the disk answers.
func TestFrozenDirectory(t *testing.T) {
	h := open(t, plan{config: usual()})
	dir := h.freezing()
	one, two := h.worker(0), h.worker(1)
	before := one.enter("192.0.2.1")
	dir.freeze("")
	var all sync.WaitGroup
	for i := range 300 {
		w := []*testWorker{one, two}[i%2]
		all.Go(func() {
			if _, err := w.askFor(time.Second, entering(fmt.Sprintf("10.0.%d.%d", i/200, i%200))); err != imsg.Timeout && err != imsg.Busy {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	// Meanwhile lockd answers whoever asks for no file.
	eventually(t, "all places for file calls are taken", func() bool { n, _ := dir.waiting(); return n == maxFileCalls })
	link.Ask(h.Parent, &imsg.Dump{}, patience, imsgtest.TempFile(t))
	h.reload(usual())
	if s := ask(t, h.operators()(), &imsg.Status{}); s.Sessions < 1 {
		t.Errorf("%+v", s)
	}
	one.say(&imsg.Leave{Number: before.Number})
	all.Wait()
	eventually(t, "all places are free", func() bool { return h.liveCount() == 0 })
	if _, most := dir.waiting(); most > maxFileCalls {
		t.Errorf("%d file calls at once", most)
	}
	h.log.Has(t, "does not answer")

	dir.thaw()
	if a := one.enter("192.0.2.1"); a.Refusal != imsg.Admitted || a.Sessions != 1 || a.Same != 1 {
		t.Errorf("after the thaw: %+v", a)
	}
	h.log.Has(t, "in time again")
}

// One client's slow lock file is nobody else's business.
func TestSlowLockHoldsUpItsClientAlone(t *testing.T) {
	h := open(t, plan{config: usual()})
	dir := h.freezing()
	runs := h.script()
	w, other := h.worker(0), h.worker(1)
	a, b := w.enter("192.0.2.7"), other.enter("192.0.2.7")
	dir.freeze("192.0.2.7")
	offence := imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}
	if _, err := link.Ask(w, &offence, time.Millisecond); err != imsg.Timeout {
		t.Error(err)
	}
	w.say(&imsg.Leave{Number: a.Number})
	for range maxFileCalls {
		if a := w.enter("192.0.2.8"); a.Refusal != imsg.Admitted {
			t.Fatalf("%+v", a)
		}
	}
	if _, err := w.askFor(time.Millisecond, entering("192.0.2.7")); err != imsg.Timeout {
		t.Error(err)
	}
	eventually(t, "its place is free", func() bool { return h.liveCount() == maxFileCalls+1 })
	silent(t, runs)

	// It is locked all the same, once the disk answers: that its asker waits no
	// more and that its session is over change nothing of what it did.
	dir.thaw()
	receive(t, runs)
	if n := receive(t, other.locked); n != b.Number {
		t.Errorf("told %d", n)
	}
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
}

// A repeat is answered when the lock stands, not before.
func TestRepeatWaitsForTheLock(t *testing.T) {
	h := open(t, plan{config: usual()})
	dir := h.freezing()
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	dir.freeze("192.0.2.7")
	offence := imsg.Offence{Number: a.Number, Transaction: 1, Found: imsg.FoundVirus}
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			link.Ask(w, &offence, patience)
			answers <- h.read("192.0.2.7")
		}()
	}
	eventually(t, "a call waits", func() bool { n, _ := dir.waiting(); return n == 1 })
	silent(t, answers)
	dir.thaw()
	for range 2 {
		if lock := receive(t, answers); lock != "VIRUS\n" {
			t.Errorf("answered with the lock file %q", lock)
		}
	}
}

// TestHeldUp is a lockd that was stopped, at any step of a session's admission,
// for longer than its askers wait.
// heldUp asks a lockd that does not come to it in time.
func heldUp[A any](h *house, w *testWorker, q imsg.Question[A]) {
	h.t.Helper()
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	if _, err := link.Ask(w, q, 10*time.Millisecond); err != imsg.Timeout {
		h.t.Errorf("%T: %v", q, err)
	}
}

func TestHeldUp(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1, imsg.RateMessages: 1})
	c.Mode = imsg.ModeRemote
	h := open(t, plan{config: c})
	w := h.worker(0)
	for range 3 {
		heldUp(h, w, entering("192.0.2.7"))
	}
	eventually(t, "nobody is live", func() bool { return h.liveCount() == 0 })
	a := w.enter("192.0.2.7")
	if a.Sessions != 1 || a.Same != 1 {
		t.Errorf("%+v", a)
	}
	heldUp(h, w, &imsg.Ident{Number: a.Number, Ident: "joe", Target: entering("192.0.2.7").Target})
	w.say(&imsg.Leave{Number: a.Number})
	eventually(t, "nobody is live", func() bool { return h.liveCount() == 0 })

	// Nothing was used of any quota.
	a = w.enter("192.0.2.7")
	if a := w.identify(a.Number, "joe", "192.0.2.25"); a.Refusal != imsg.Admitted {
		t.Fatalf("%+v", a)
	}
	heldUp(h, w, &imsg.QuotaUse{Number: a.Number, Counter: imsg.RateMessages, Amount: 1})
	if r := w.use(a.Number, imsg.RateMessages, 1); r != imsg.Admitted {
		t.Errorf("refused: %d", r)
	}
}

// What came too late at the other end comes back, with all it used.
func TestLateAnswersComeBack(t *testing.T) {
	h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateConnections: 1, imsg.RateMessages: 1})})
	w, other := h.worker(0), h.worker(1)
	for range 3 {
		a := w.enter("192.0.2.7")
		if a.Refusal != imsg.Admitted {
			t.Fatalf("%+v", a)
		}
		other.say(&imsg.Leave{Number: a.Number, Late: true}) // not its own
		w.say(&imsg.Leave{Number: a.Number, Late: true})
	}
	eventually(t, "nobody is live", func() bool { return h.liveCount() == 0 })
	a := w.enter("192.0.2.7")
	use := imsg.QuotaUse{Number: a.Number, Counter: imsg.RateMessages, Amount: 1}
	for range 3 {
		if r := w.use(use.Number, use.Counter, use.Amount); r != imsg.Admitted {
			t.Errorf("refused: %d", r)
		}
		w.say(&imsg.QuotaUnused{QuotaUse: use})
	}
	w.say(&imsg.QuotaUnused{QuotaUse: imsg.QuotaUse{Number: a.Number, Counter: imsg.RateCounters, Amount: 1}})
	other.say(&imsg.QuotaUnused{QuotaUse: use})
	w.use(use.Number, use.Counter, use.Amount)
	if r := w.use(use.Number, use.Counter, use.Amount); r != imsg.RefusedRate {
		t.Errorf("one too many: %d", r)
	}
}

// A held question whose asker is gone holds no place of those that may wait.
func TestHeldQuestionsGoWithTheirAskers(t *testing.T) {
	h := open(t, plan{config: usual(), waiting: true})
	one := h.worker(0)
	for range 3 {
		if _, err := one.askFor(time.Millisecond, entering("192.0.2.7")); err != imsg.Timeout {
			t.Error(err)
		}
	}
	admitted := make(chan *imsg.Admission, 1)
	go func() { admitted <- one.enter("192.0.2.7") }()
	eventually(t, "one waits", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		return len(h.server.barrier.held) == 1 && !h.server.barrier.held[0].late()
	})
	h.Tell(&imsg.Start{})
	if a := receive(t, admitted); a.Sessions != 1 || a.Same != 1 {
		t.Errorf("%+v", a)
	}
}

// TestLimitAndLockHold has a thousand connections of one host come at the same time
// while one of it is caught: never is there one too many, and nobody slips past
// the lock, whether it came before or after it was judged.
func TestLimitAndLockHold(t *testing.T) {
	const callers, enters = 40, 1000
	for round := range 10 {
		c := usual()
		c.MaxPerHost, c.LockOn = 30+rand.IntN(enters), imsg.LockVirus
		h := open(t, plan{config: c})
		workers := []*testWorker{h.worker(0), h.worker(1), h.worker(2)}
		caught := workers[0].enter("192.0.2.7")
		var admitted sync.Map // by number
		var count, left, most atomic.Int64
		left.Store(enters)
		offend := sync.OnceFunc(func() {
			workers[0].offend(imsg.Offence{Number: caught.Number, Transaction: 1, Found: imsg.FoundVirus})
		})
		var all sync.WaitGroup
		for i := range callers {
			w := workers[i%len(workers)]
			all.Go(func() {
				for n := left.Add(-1); n >= 0; n = left.Add(-1) {
					switch a := w.enter("192.0.2.7"); a.Refusal {
					case imsg.Admitted:
						admitted.Store(a.Number, true)
						count.Add(1)
					case imsg.RefusedHost, imsg.RefusedLocked:
					default:
						t.Errorf("%+v", a)
					}
					most.Store(max(most.Load(), int64(h.liveCount())))
					if n < enters/2 {
						offend()
					}
				}
			})
		}
		all.Wait()
		if n := count.Load() + 1; n > int64(c.MaxPerHost) || most.Load() > int64(c.MaxPerHost) || n != int64(h.liveCount()) {
			t.Errorf("round %d: %d admitted, %d live, %d at once; %d are allowed", round, n, h.liveCount(), most.Load(), c.MaxPerHost)
		}
		for _, w := range workers {
			link.Ask(w, &imsg.Offence{}, patience) // behind what it was told
			for len(w.locked) > 0 {
				admitted.Delete(<-w.locked)
			}
		}
		admitted.Range(func(number, _ any) bool {
			t.Errorf("round %d: session %d is locked and does not know", round, number)
			return true
		})
		if a := workers[1].enter("192.0.2.7"); a.Refusal == imsg.Admitted {
			t.Errorf("%+v", a)
		}
		h.close()
	}
}

// Nor does what was never used: a client whose target is still looked for has used
// no connection.
func TestLateAdmissionTakesNothingBack(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1})
	c.Mode = imsg.ModePf
	h := open(t, plan{config: c})
	w := h.worker(0)
	enter := func() uint64 {
		m := entering("192.0.2.7")
		m.Target = netip.AddrPort{}
		a, err := w.askFor(patience, m)
		if err != nil || a.Refusal != imsg.Admitted {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Number
	}
	if a := w.identify(enter(), "", "192.0.2.25"); a.Refusal != imsg.Admitted {
		t.Fatalf("%+v", a)
	}
	w.say(&imsg.Leave{Number: enter(), Late: true})
	if a := w.identify(enter(), "", "192.0.2.25"); a.Refusal != imsg.RefusedRate {
		t.Errorf("one too many: %+v", a)
	}
}

// A client that is turned away again and again, while its lock file is not to be
// had, leaves room for others.
func TestTurnedAwayLeaveRoom(t *testing.T) {
	c := usual()
	c.MaxPerHost = 1
	h := open(t, plan{config: c})
	dir := h.freezing()
	w := h.worker(0)
	w.enter("192.0.2.7")
	dir.freeze("192.0.2.7")
	for range maxQueued + 1 {
		if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedHost {
			t.Fatalf("%+v", a)
		}
	}
	if a := w.enter("192.0.2.8"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	dir.thaw()
	eventually(t, "it is locked", func() bool { return h.read("192.0.2.7") == "MAX_HOST\n" })
	h.log.HasNot(t, "too much waits")
}

// TestUnreadableLock: who may be locked, for all we can find out, is let in no more than one
// who is, and keeps no place.
func TestUnreadableLock(t *testing.T) {
	h := open(t, plan{config: usual()})
	dir := h.freezing()
	w := h.worker(0)
	fail := func(err error) {
		dir.mu.Lock()
		defer dir.mu.Unlock()
		dir.fault = err
	}
	for _, fault := range []error{syscall.EIO, syscall.EMFILE, syscall.ENOMEM, syscall.EACCES} {
		fail(fault)
		if a, err := w.askFor(patience, entering("192.0.2.1")); err != imsg.Resource {
			t.Errorf("%v: %+v, %v", fault, a, err)
		}
		h.log.Has(t, fault.Error())
	}
	fail(nil)
	if a := w.enter("192.0.2.1"); a.Refusal != imsg.Admitted || a.Sessions != 1 {
		t.Errorf("once it can be read: %+v", a)
	}
}
