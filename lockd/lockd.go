// Package lockd is the room that keeps what all sessions share: which of them are live,
// who is locked out, who used how much of what, what was counted. It decides on
// admission, and it serves the operator's socket.
//
// Its root is the lock directory; every name it opens is relative to that. What
// workers and operators say is foreign to it: a worker can speak of its own
// sessions only, and nothing anybody says becomes a file name unchecked. lockd
// must never wait for a worker: what it tells them is queued, what it asks them
// is asked aside, with a deadline.
//
// This file owns the room's birth and what the parent says.
package lockd

import (
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/lockd/control"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
	"github.com/smtp-gated/smtp-gated/lockd/events"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
	"github.com/smtp-gated/smtp-gated/lockd/history"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// env is what lockd asks of the computer it runs on.
type env struct {
	now       func() time.Time
	uid       int           // ours
	leaveWait time.Duration // for the workers to go over to another lockd
}

// server is the room. Each thing that sessions share has an owner, with a lock of its own.
// One lock guards what admission looks at, for each decision looks at most of it. Nothing
// that may have to wait happens under it, and no lock is taken over it but those of the
// counters and of the list of file calls, which are held for moments.
type server struct {
	parent    *process.Parent
	log       *slog.Logger
	env       env
	locks     *locks.Directory
	refusals  *locks.Refusals
	fileCalls *fileCalls
	counters  *counters.Counters
	rates     *rates.Limiter
	records   *rates.FileStore // of rates
	runner    *runner
	control   *control.Service
	events    *events.Ring
	history   *history.History
	exempt    *exemptions.List
	board     *findings.Board
	condition imsg.Condition // as the parent knows it
	looksOn   int64          // since when viruses are only looked for, Unix nanoseconds; 0: they are not

	mu           sync.Mutex
	config       imsg.LockdConfig
	family       imsg.Family
	load         float64 // average of the last minute, 0 if the system tells none
	workers      map[*worker]struct{}
	live         liveTable
	severed      severed
	certificates certificates // all is guarded by mu, since is of who reviews them
	tracing      tracing
	barrier      barrier
	silent       bool // a question was not judged in time; said once
	leaving      bool // another lockd takes over: the last worker to leave ends us
}

// leaveWait is for the workers to go over to a lockd that takes over from us. It is longer
// than one waits for our last answers, and shorter than clients do for admission: one that
// hangs must not keep the others from it.
const leaveWait = 3 * time.Second

// lastWrite is how long the end waits for what is left to be written.
const lastWrite = 30 * time.Second

// Main runs the room over f, its link to the parent. dir is the lock directory, which is
// opened before the sandbox is closed: lockd opens nothing but below it. It returns nil
// when the parent has ended.
func Main(f *os.File, dir *os.Root) error {
	defer dir.Close()
	p, err := process.Start(f, imsg.Lockd)
	if err != nil {
		return err
	}
	p.Loop()
	return newServer(p, p.Log(), dir, env{now: time.Now, uid: os.Geteuid(), leaveWait: leaveWait}).serve()
}

func newServer(parent *process.Parent, log *slog.Logger, dir *os.Root, e env) *server {
	records := rates.NewFileStore(log)
	srv := &server{
		parent:       parent,
		log:          log,
		env:          e,
		locks:        &locks.Directory{Files: dir, Now: e.now, Whitelist: e.uid != 0, Log: log},
		refusals:     new(locks.Refusals),
		fileCalls:    newFileCalls(),
		workers:      make(map[*worker]struct{}),
		live:         newLiveTable(),
		severed:      severed{},
		certificates: newCertificates(),
		counters:     counters.New(log),
		rates:        rates.New(records, e.now, log),
		records:      records,
		events:       new(events.Ring),
		board:        newBoard(),
	}
	srv.history = history.New(e.now, log, srv.historyKept)
	srv.exempt = exemptions.New(e.now, log, srv.exemptionEnded)
	srv.locks.Expired = func(name string) {
		srv.refusals.Forget(name)
		c, _ := locks.Parse(name)
		srv.happened(imsg.Event{Kind: imsg.EventExpire, Client: netip.AddrPortFrom(c.Addr, 0), Login: c.Login, Detail: name})
	}
	srv.runner = &runner{parent: parent, log: log, observe: func(problem string) {
		srv.observe(imsg.FindingScript, "", problem)
	}}
	srv.control = &control.Service{
		House: view{srv}, Parent: parent, Locks: srv.locks, Refusals: srv.refusals, Rates: srv.rates, Counters: srv.counters,
		Events: srv.events, History: srv.history, Exempt: srv.exempt, Happened: srv.happened, Log: log, Now: e.now,
	}
	return srv
}

// serve lives until the parent ends.
func (srv *server) serve() error {
	end, written := make(chan struct{}), make(chan struct{})
	go eachMinute(end, srv.rates.Sweep)
	go (&janitor{server: srv}).run(end)
	go srv.watchCondition(end)
	go func() {
		defer close(written)
		var all sync.WaitGroup
		all.Go(func() { srv.counters.Run(end) })
		all.Go(func() { srv.records.Run(end) })
		all.Go(func() { srv.history.Run(end) })
		all.Go(func() { srv.exempt.Run(end) })
		all.Wait()
	}()
	defer func() {
		srv.control.Close()
		close(end)
		select {
		case <-written:
		case <-time.After(lastWrite): // the disk may never answer
		}
	}()
	srv.parent.Guard(&srv.mu)
	return process.Run(srv.parent, process.Room[imsg.LockdConfig]{
		Configure: srv.configure,
		Again:     true,
		Ready:     srv.sayReady,
		Peers:     map[imsg.Room]process.Peer{imsg.Session: srv.attachWorker, imsg.Action: srv.runner.attachRunner, imsg.Keys: srv.attachKeys},
		Other:     srv.fromParent,
	})
}

func (srv *server) configure(c *imsg.LockdConfig) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.config = *c
	if c.Certificates == 0 {
		srv.certificates.all = nil // those of older configurations have a room yet
	}
	srv.rates.Configure(c)
	naming := locks.Naming{Mode: c.Mode, PrefixIPv6: c.ClientPrefixIPv6}
	srv.live.regroup(naming)
	srv.history.Configure(history.Settings{
		Max: c.HistoryMax, Keep: c.HistoryKeep, Hash: c.HashSenders, Host: naming.Host,
	})
	return nil
}

// sayReady says so when the store of rates that was handed over is open.
func (srv *server) sayReady(say func()) {
	srv.mu.Lock()
	opening := srv.barrier.opening > 0
	srv.mu.Unlock()
	if !opening || !srv.fileCalls.begin(control.StoreTurn, say) {
		say()
	}
}

func (srv *server) fromParent(r link.Request) {
	switch m := r.Message.(type) {
	case *imsg.Ledger:
		srv.counters.Open(r.Files[0])
	case *imsg.RateStore:
		srv.openStore(control.StoreTurn, srv.records.Open, r.Files[0])
	case *imsg.ExemptFile:
		srv.openStore(control.ExemptTurn, srv.exempt.Open, r.Files[0])
	case *imsg.HistoryFile:
		srv.history.Open(r.Files[0])
	case *imsg.ControlSocket:
		if err := srv.control.Open(m.Role, r.Files[0]); err != nil {
			srv.log.Error("control socket cannot be served", "role", m.Role, "error", err)
		}
	case *imsg.Family:
		srv.mu.Lock()
		srv.familyChanged(&srv.family, m)
		srv.family = *m
		srv.hearTroubles()
		srv.dropEnded()
		srv.mu.Unlock()
	case *imsg.Load:
		srv.mu.Lock()
		srv.load = m.Average
		srv.mu.Unlock()
	case *imsg.Start:
		srv.mu.Lock()
		srv.barrier.started = true
		srv.settle()
		srv.mu.Unlock()
	case *imsg.Dump:
		go srv.control.Dump(link.ReplyTo(r, m))
	case *imsg.Drain:
		srv.control.Close()
		srv.mu.Lock()
		srv.leaving = true
		srv.endTraces(traceLeave)
		srv.leave()
		srv.mu.Unlock()
		time.AfterFunc(srv.env.leaveWait, srv.leaveLast)
	default:
		r.Close()
	}
}

// openStore has a store opened in its turn. Admission waits for it.
func (srv *server) openStore(turn string, open func(*os.File), f *os.File) {
	srv.mu.Lock()
	srv.barrier.opening++
	srv.mu.Unlock()
	srv.fileCalls.begin(turn, func() {
		open(f)
		srv.mu.Lock()
		srv.barrier.opening--
		srv.settle()
		srv.mu.Unlock()
	})
}

// leaveLast does without the workers that have not gone over: they will, should they live.
func (srv *server) leaveLast() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for w := range srv.workers {
		srv.log.Warn("worker did not go over to another in time", "member", w.member)
		w.conn.Close()
	}
}

// leave ends the room if another takes over from it, all workers have gone over to that
// one, and what they have said is done; mu is held.
func (srv *server) leave() {
	if !srv.leaving || len(srv.workers) > 0 {
		return
	}
	go func() {
		select {
		case <-srv.fileCalls.done():
		case <-time.After(lastWrite): // the disk may never answer
		}
		srv.parent.Close()
	}()
}
