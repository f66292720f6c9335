// The worker: this process and what all its sessions share, who is accepted and how
// many are, the list of those that lockd has admitted, counters. How it ends stands in
// drain.go.

package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/certificate"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/spool"
	"github.com/smtp-gated/smtp-gated/session/stream"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

const (
	// admissionWait bounds how long a client waits for lockd to let it in.
	admissionWait = 5 * time.Second

	// surplusMin is how many places there are at least for those that are not
	// admitted, or not yet.
	surplusMin = 32

	// maxStack is how much of a panic's stack is logged, in octets.
	maxStack = 16 << 10
)

// worker is this process: what all its sessions share.
type worker struct {
	parent  *process.Parent
	log     *slog.Logger
	cfg     *imsg.SessionConfig
	rules   *relay.Rules
	lockd   link.Peer
	scand   link.Peer
	lookupd link.Peer
	keyring keyring
	// certificates are what TLS with clients is made of, if there are any.
	certificates *certificate.Store

	spools    spool.Pool
	fileScans chan struct{} // of operators, that are under way
	dialer    *upstream.Dialer
	servers   *upstream.Servers // of the fixed modes
	poller    loop.Poller

	toServers *tls.Config // TLS with servers, where TLS ends here
	toClients *tls.Config // and with clients

	ending context.Context // over when the generation must end
	endAll context.CancelFunc

	counts  [imsg.Slots]atomic.Uint64
	lists   [imsg.MaxLists]struct{ answered, silent atomic.Uint64 } // in the configuration's order
	reports reports

	unnumbered atomic.Uint64 // sessions that were refused before lockd had a number for them

	tracing sync.WaitGroup // who writes traces

	mu        sync.Mutex
	sessions  imsg.ByNumber[*session] // admitted
	leaves    leaves
	traces    traces
	early     map[uint64]early // what lockd says of those that are not in sessions, yet or any more
	listeners []*listener
	started   bool
	draining  bool
	idle      *sync.Cond // signalled when places may have become free
	open      int
	lingering int  // of these, refused clients that have not closed yet
	undecided int  // places of those whose admission is not decided, or who are waited for
	waitOver  bool // the parent waits for the end of that no longer
	drained   bool // and has been told of it
}

// Main is the life of a session worker; f is its link to the parent.
func Main(f *os.File) error {
	p, err := process.Start(f, imsg.Session)
	if err != nil {
		return err
	}
	w := newWorker(p, p.Log())
	p.Poll(w.poller)
	defer w.spools.Close()
	go w.tick()
	p.Guard(&w.mu)
	return process.Run(p, process.Room[imsg.SessionConfig]{
		Configure: func(cfg *imsg.SessionConfig) error {
			go w.tidy(cfg.SpoolShared)
			return w.configure(cfg)
		},
		Peers: map[imsg.Room]process.Peer{
			imsg.Lockd:   w.setLockd,
			imsg.Scand:   func(r link.Request, m *imsg.Peer) error { return w.setPeer(&w.scand, r, m) },
			imsg.Keys:    w.attachKeys,
			imsg.Lookupd: func(r link.Request, m *imsg.Peer) error { return w.setPeer(&w.lookupd, r, m) },
		},
		Other: w.fromParent,
	})
}

func newWorker(parent *process.Parent, log *slog.Logger) *worker {
	w := &worker{parent: parent, log: log, fileScans: make(chan struct{}, maxFileScans), early: make(map[uint64]early), traces: make(traces), servers: upstream.NewServers(nil)}
	w.reports.send = func(m imsg.Notice) error { return w.lockd.Send(m) }
	w.idle = sync.NewCond(&w.mu)
	w.certificates = certificate.New(&w.keyring)
	w.ending, w.endAll = context.WithCancel(context.Background())
	w.poller = newPoller(log)
	w.dialer = upstream.NewDialer(func(ipv6 bool, n int) error { return parent.Send(&imsg.Sockets{IPv6: ipv6, N: n}) })
	return w
}

// newLoop is what brings the news of connections, if it can be had.
var newLoop = func() (loop.Poller, error) { return loop.New() }

func newPoller(log *slog.Logger) loop.Poller {
	p, err := newLoop()
	if err != nil {
		log.Warn("no loop: each connection waits by itself", "error", err)
		return loop.NewGoroutines()
	}
	return p
}

func (w *worker) fromParent(r link.Request) {
	switch m := r.Message.(type) {
	case *imsg.Listener:
		w.listen(m, r.Files[0])
	case *imsg.Socket:
		w.dialer.Add(m.IPv6, r.Files[0])
	case *imsg.Start:
		w.start()
	case *imsg.Drain:
		w.drain(m)
	default:
		r.Close()
	}
}

func (w *worker) configure(cfg *imsg.SessionConfig) (err error) {
	w.cfg = cfg
	w.servers = upstream.NewServers(cfg.Servers)
	if w.rules, err = relay.Compile(cfg); err != nil {
		return err
	}
	if cfg.TLS.Verify != imsg.TLSUndecided {
		if w.toServers, err = upstreamTLS(&cfg.TLS); err != nil {
			return err
		}
	}
	w.toClients = w.certificates.Config(cfg.TLS.MinVersion)
	if cfg.SpoolShared {
		w.spools.Close()
	}
	w.sweep(cfg.SpoolShared)
	return nil
}

func (w *worker) sweep(shared bool) {
	if err := spool.Sweep(w.log, shared); err != nil {
		w.log.Error("sweep the spool", "error", err)
	}
}

const (
	// tidyInterval is the time from one look at the spool files that nobody uses to the
	// next.
	tidyInterval = 5 * time.Second
	// sweepEvery is how many of them pass from one sweep of the spool to the next.
	sweepEvery = 12
)

// tidy removes spool files that nobody uses, and what a disk that failed did not let go
// when its session was done with it. It may wait for that disk.
func (w *worker) tidy(shared bool) {
	n := 0
	for range time.Tick(tidyInterval) {
		w.spools.Tidy()
		if n++; n%sweepEvery == 0 {
			w.sweep(shared)
		}
	}
}

func (w *worker) setPeer(to *link.Peer, r link.Request, m *imsg.Peer) error {
	conn, err := w.parent.Accept(r, m, w.fromPeer)
	if err != nil {
		return err
	}
	to.Set(conn)
	return nil
}

// lastAnswers is how long a lockd from which another takes over may take for its last
// answers.
const lastAnswers = 2 * time.Second

// setLockd has a fresh lockd hear of everybody before it admits anybody. One before it
// that still answers has the last word about those it was asked about.
func (w *worker) setLockd(r link.Request, m *imsg.Peer) error {
	conn, err := w.parent.Accept(r, m, w.fromPeer)
	if err != nil {
		return err
	}
	go func() {
		<-conn.Done()
		w.endTraces(conn)
	}()
	w.tellLeaves()
	w.lockd.Replace(conn, lastAnswers, func() {
		if err := w.announce(conn); err != nil {
			w.log.Error("announce live sessions", "error", err)
		}
		go w.reports.again() // by itself: who tells something meanwhile waits for us
	})
	return nil
}

func (w *worker) fromPeer(r link.Request) {
	switch m := r.Message.(type) {
	case *imsg.Locked:
		w.markLocked(m.Numbers)
	case *imsg.MustEnd:
		w.kill(m.Number)
	case *imsg.TraceFile:
		w.trace(r, m)
	case *imsg.TraceEnd:
		w.endTrace(m.ID)
	case *imsg.Snapshot:
		go w.show(link.ReplyTo(r, m), m.After) // there may be many
	case *imsg.ScanFile:
		go w.scanFile(link.ReplyTo(r, m))
	}
}

// show answers with a page of what lives here.
func (w *worker) show(r link.Reply[imsg.Live], after uint64) {
	w.report()
	live, more := w.live(after)
	answer := &imsg.Live{Sessions: live, More: more}
	if !more {
		answer.States = w.states()
	}
	r.Answer(answer)
}

func (w *worker) listen(m *imsg.Listener, f *os.File) {
	defer f.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining {
		return
	}
	l := &listener{w: w, address: m.Address, tls: m.TLS, waits: !w.started}
	var err error
	if l.Listener, err = stream.Listen(w.poller, f, l); err != nil {
		w.log.Error("take listener", "address", m.Address, "error", err)
		return
	}
	w.listeners = append(w.listeners, l)
}

func (w *worker) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = true
	w.acceptAgain()
}

// maxOpen is how many connections this worker holds at most, refused ones on
// their way out included: the descriptors it was given allow no more.
func (w *worker) maxOpen() int { return w.cfg.MaxConnections + w.surplus() }

// surplus are the places of those that are not admitted, or not yet.
func (w *worker) surplus() int { return w.cfg.MaxConnections/2 + surplusMin }

// startLingering tells whether a refused client may hold its place a little
// longer. A quarter of the surplus is for those: one that is refused hundreds of
// times a second must leave places for others.
func (w *worker) startLingering() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lingering >= w.surplus()/4 {
		return false
	}
	w.lingering++
	return true
}

func (w *worker) endLingering() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lingering--
}

// freePlace gives a connection's place back.
func (w *worker) freePlace() {
	w.mu.Lock()
	w.open--
	w.acceptAgain()
	w.mu.Unlock()
	w.idle.Broadcast()
}

// register puts an admitted session on the list of those that lockd knows, whose
// end it is told of. It comes before anything else may end the session.
func (w *worker) register(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions.Put(s.facts.Number, s)
	if e, told := w.early[s.facts.Number]; told {
		delete(w.early, s.facts.Number)
		if e.locked {
			s.lock()
		}
		if e.killed {
			go s.kill()
		}
	}
}

// early is what lockd has said of a session that the worker does not know. Its word may come
// between the admission of one and its first step.
type early struct {
	since  time.Time
	locked bool
	killed bool
}

// markLocked notes whose clients lockd has locked.
func (w *worker) markLocked(numbers []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range numbers {
		if s := w.sessions.Of(n); s != nil {
			s.lock()
		} else {
			e := w.early[n]
			e.since, e.locked = time.Now(), true
			w.early[n] = e
		}
	}
}

// lock notes that lockd has locked the client.
func (s *session) lock() {
	s.mu.Lock()
	defer s.unlock()
	s.locked = true
	if s.relay != nil && !s.broken {
		s.relay.Lock()
	}
}

// forget takes a session off the list of those that lockd knows.
func (w *worker) forget(s *session) {
	w.mu.Lock()
	w.sessions.Delete(s.facts.Number)
	w.mu.Unlock()
}

// live returns a page of the live sessions above a number, in order.
func (w *worker) live(after uint64) (page []imsg.LiveSession, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sessions.Above(after) {
		if len(page) == imsg.LivePage {
			return page, true
		}
		page = append(page, s.live())
	}
	return page, false
}

// states counts the live sessions by what they do.
func (w *worker) states() []uint64 {
	states := make([]uint64, imsg.States)
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.sessions.All() {
		states[s.state()]++
	}
	return states
}

func (w *worker) announce(conn *link.Conn) error {
	after := uint64(0)
	for {
		page, more := w.live(after)
		if err := conn.Send(&imsg.Announce{Sessions: page, Last: !more}); err != nil || !more {
			return err
		}
		after = page[len(page)-1].Number
	}
}

// count adds to one of the family's counters.
func (w *worker) count(c imsg.Counter, n uint64) { w.counts[c].Add(n) }

// took adds a time to one of the family's histograms.
func (w *worker) took(h imsg.Histogram, d time.Duration) {
	count, sum := h.Slots(d)
	w.counts[count].Add(1)
	w.counts[sum].Add(uint64(max(d, 0) / time.Microsecond))
}

// asked counts block lists, a bit each, that answered and that did not.
func (w *worker) asked(answered, silent uint32) {
	for i := range w.cfg.Zones {
		w.lists[i].answered.Add(uint64(answered >> i & 1))
		w.lists[i].silent.Add(uint64(silent >> i & 1))
	}
}

// flushCounts sends what was counted since the last time.
func (w *worker) flushCounts() {
	add := make([]uint64, imsg.Slots)
	any := false
	for i := range add {
		add[i] = w.counts[i].Swap(0)
		any = any || add[i] > 0
	}
	if !any { // nor was a list asked: a session would be counted
		return
	}
	lists := make([]imsg.ListCount, len(w.cfg.Zones))
	for i := range lists {
		lists[i] = imsg.ListCount{Zone: w.cfg.Zones[i], Answered: w.lists[i].answered.Swap(0), Silent: w.lists[i].silent.Swap(0)}
	}
	if w.lockd.Send(&imsg.Counts{Add: add, Lists: lists}) != nil {
		for i, l := range lists {
			w.lists[i].answered.Add(l.Answered)
			w.lists[i].silent.Add(l.Silent)
		}
		for i := range add {
			w.counts[i].Add(add[i])
		}
	}
}

// report tells lockd what there is to tell.
func (w *worker) report() {
	w.flushCounts()
	w.reports.tellObserved()
	w.reports.tellEvents()
}

// recovered ends one session at a panic, not the worker.
func (w *worker) recovered(s *session, v any) {
	buf := make([]byte, maxStack)
	w.count(imsg.CountBugs, 1)
	s.Log(slog.LevelError, "BUG: a session panicked", "panic", v, "stack", string(buf[:runtime.Stack(buf, false)]))
}
