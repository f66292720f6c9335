// A lockd in this process, and the test as its parent, workers, script runner
// and operators.

package lockd

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

const patience = imsgtest.Patience

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// clock is a time that moves by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type house struct {
	*family.Family
	t      testing.TB
	server *server
	told   chan imsg.Message // BadPeer
	asked  chan imsg.Message // Reload, Stop
	answer imsg.Done         // to those
	deaf   atomic.Bool       // does not answer them
	dir    string
	log    *imsgtest.Journal
	clock  *clock
}

// plan is how a test wants its house.
type plan struct {
	config      imsg.LockdConfig
	dir         string // empty: a fresh one
	counterFile *os.File
	rates       string // path of the store of rates, empty: none
	uid         int
	load        float64
	waiting     bool          // do not lift the barrier
	leaveWait   time.Duration // 0: for ever
}

// usual is a configuration that refuses nobody in a test of something else.
func usual() imsg.LockdConfig {
	return imsg.LockdConfig{
		ProxyName: "gate", Mode: imsg.ModeFixed, MaxConnections: 10000,
		LockOn: imsg.LockVirus | imsg.LockSpam | imsg.LockMaxHost, LockDuration: 3600,
		LockPath: "/locks", LockPerm: 0o660, ActionScript: true, StateFile: imsg.StateHuman | imsg.StateSlots,
		ClientPrefixIPv6: 64,
		Version:          "2.0", CompileDate: "Jan  2 2026 03:04:05",
	}
}

func open(t testing.TB, p plan) *house {
	t.Helper()
	h := &house{
		t: t, dir: p.dir, log: new(imsgtest.Journal),
		told: make(chan imsg.Message, 64), asked: make(chan imsg.Message, 64),
		clock: &clock{t: time.Now()},
	}
	if h.dir == "" {
		h.dir = t.TempDir()
	}
	made := make(chan *server, 1)
	h.Family = family.Open(t, imsg.Lockd, func(f *os.File) error {
		parent, err := process.Start(f, imsg.Lockd)
		if err != nil {
			return err
		}
		dir, err := os.OpenRoot(h.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		k := newServer(parent, slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), dir, env{
			now: h.clock.now, uid: p.uid, leaveWait: cmp.Or(p.leaveWait, time.Hour),
		})
		made <- k
		return k.serve()
	}, func(r link.Request) {
		switch r.Message.(type) {
		case *imsg.Reload, *imsg.Stop:
			h.asked <- r.Message
			if !h.deaf.Load() {
				family.Answer(r, &h.answer)
			}
		default:
			h.told <- r.Message
		}
	})
	h.server = receive(t, made)
	t.Cleanup(h.close)
	h.Tell(&imsg.Load{Average: p.load})
	h.Configure(&p.config)
	if p.counterFile != nil {
		h.Tell(&imsg.Ledger{}, p.counterFile)
	}
	if p.rates != "" {
		h.store(p.rates)
	}
	if !p.waiting {
		h.Tell(&imsg.Start{})
	}
	return h
}

// store hands over a store of rates.
func (h *house) store(path string) {
	h.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Tell(&imsg.RateStore{}, f)
	f.Close()
}

// close ends the parent's link, as the parent's death does, and waits for lockd.
func (h *house) close() {
	h.Parent.Close()
	select {
	case err := <-h.Ended:
		h.Ended <- nil
		if err != nil {
			h.t.Errorf("lockd ended with %v", err)
		}
	case <-time.After(patience):
		h.t.Error("lockd does not end with its parent")
	}
}

func (h *house) next() imsg.Message {
	h.t.Helper()
	return receive(h.t, h.told)
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, "a message", from)
}

// testWorker is a session worker.
type testWorker struct {
	*link.Conn
	t      testing.TB
	locked chan uint64
	killed chan uint64
	traces chan traceWord
	mu     sync.Mutex         // guards what follows: change sets it
	live   []imsg.LiveSession // told at Snapshot
	mute   bool               // does not answer it
	unsaid []uint64           // counted, and said before Snapshot is answered
	states []uint64           // of its sessions
	scans  func(f *os.File) *imsg.FileVerdict
}

// hire joins a worker that has said nothing yet.
func (h *house) hire(member int) *testWorker {
	h.t.Helper()
	c := h.Link(imsg.Session, member)
	w := &testWorker{Conn: c, t: h.t, locked: make(chan uint64, 4096), killed: make(chan uint64, 16), traces: make(chan traceWord, 64)}
	go c.Serve(func(r link.Request) {
		switch m := r.Message.(type) {
		case *imsg.Locked:
			for _, n := range m.Numbers {
				w.locked <- n
			}
		case *imsg.ScanFile:
			defer r.Close()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.scans != nil {
				family.Answer(r, w.scans(r.Files[0]))
			}
		case *imsg.MustEnd:
			w.killed <- m.Number
		case *imsg.TraceFile:
			w.traces <- traceWord{id: m.ID, share: m.Share, file: r.Files[0]}
		case *imsg.TraceEnd:
			w.traces <- traceWord{id: m.ID}
		case *imsg.Snapshot:
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.mute {
				return
			}
			if w.unsaid != nil {
				w.say(&imsg.Counts{Add: w.unsaid})
				w.unsaid = nil
			}
			i, found := slices.BinarySearchFunc(w.live, m.After, func(l imsg.LiveSession, n uint64) int { return cmp.Compare(l.Number, n) })
			if found {
				i++
			}
			rest := w.live[i:]
			n := min(len(rest), imsg.LivePage)
			family.Answer(r, &imsg.Live{Sessions: rest[:n], More: n < len(rest), States: w.states})
		}
	})
	return w
}

// worker joins one that has nothing to announce.
func (h *house) worker(member int) *testWorker {
	h.t.Helper()
	w := h.hire(member)
	w.say(&imsg.Announce{Last: true})
	return w
}

// change gives the worker something else to say: do sets its fields.
func (w *testWorker) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *testWorker) say(m imsg.Notice) {
	w.t.Helper()
	if err := w.Send(m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *testWorker) enter(client string) *imsg.Admission {
	w.t.Helper()
	m, err := link.Ask(w, entering(client), patience)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func entering(client string) *imsg.Enter {
	return &imsg.Enter{Client: at(client), Local: netip.MustParseAddrPort("192.0.2.1:9199"), Target: netip.MustParseAddrPort("192.0.2.25:25")}
}

// at is an address with a port of its own.
func at(client string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(client), 51234) }

func (w *testWorker) offend(o imsg.Offence) imsg.Errno {
	w.t.Helper()
	m, err := link.Ask(w, &o, patience)
	if err != nil {
		return err.(imsg.Errno)
	}
	return m.Errno
}

// script joins a script runner and returns what it is asked to run.
func (h *house) script() <-chan *imsg.Run {
	h.t.Helper()
	_, runs := h.runner()
	return runs
}

func (h *house) runner() (*link.Conn, <-chan *imsg.Run) {
	h.t.Helper()
	runs := make(chan *imsg.Run, 64)
	return h.Join(imsg.Action, 0, func(r link.Request) {
		if m, ok := r.Message.(*imsg.Run); ok {
			runs <- m
		}
	}), runs
}

// operators opens the control socket and returns a way to connect.
func (h *house) operators() func() *link.Conn {
	h.t.Helper()
	name := filepath.Join(h.t.TempDir(), "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	f, err := l.File()
	if err != nil {
		h.t.Fatal(err)
	}
	h.Tell(&imsg.ControlSocket{Role: imsg.Control}, f)
	f.Close()
	return func() *link.Conn {
		h.t.Helper()
		u, err := net.Dial("unixpacket", name)
		if err != nil {
			h.t.Fatal(err)
		}
		f, err := u.(*net.UnixConn).File()
		u.Close()
		if err != nil {
			h.t.Fatal(err)
		}
		c, err := link.NewConn(f, imsg.Control, imsg.Lockd)
		if err != nil {
			h.t.Fatal(err)
		}
		go c.Serve(func(link.Request) {})
		h.t.Cleanup(func() { c.Close() })
		return c
	}
}

func ask[A any](t testing.TB, c *link.Conn, q imsg.Question[A]) *A {
	t.Helper()
	answer, err := link.Ask(c, q, patience)
	if err != nil {
		t.Fatalf("%T: %v", q, err)
	}
	return answer
}

// eventually waits for what no message tells.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	imsgtest.Until(t, what, is)
}

func (h *house) liveCount() int {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	return h.server.live.sessions.Len()
}

func (h *house) write(name, content string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) read(name string) string {
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		return ""
	}
	return string(b)
}

// silent complains about what waits in a channel, after all that was said on its
// link has been dealt with.
func silent[T any](t testing.TB, from <-chan T) {
	t.Helper()
	select {
	case v := <-from:
		t.Errorf("unexpected: %+v", v)
	default:
	}
}
