// Package lockd is the room that keeps what all sessions share: which of them
// are live, who is locked out, who used how much of what, what was counted. It decides on admission, and it
// serves the operator's socket.
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
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/lockd/control"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// machine is what lockd asks of the computer it runs on.
type machine struct {
	now  func() time.Time
	load func() float64 // average of the last minute, 0 if the system tells none
	uid  int            // ours
}

// keeper is the room's state. One lock guards all of it, for each decision looks
// at most of it; nothing that may have to wait happens under it.
type keeper struct {
	parent   *process.Parent
	log      *slog.Logger
	machine  machine
	locks    *locks.Directory
	aside    *aside
	counters *counters.Counters
	rates    *rates.Limiter
	records  *rates.FileStore // of rates
	runner   *runner

	mu      sync.Mutex
	config  imsg.LockdConfig
	family  imsg.Family
	workers map[*worker]struct{}
	live    liveTable
	barrier barrier

	silent bool // a question was not judged in time; said once

	control *control.Service
}

// lastWrite is how long the end waits for what is left to be written.
const lastWrite = 30 * time.Second

// Main runs the room over f, its link to the parent, in the lock directory. It
// returns nil when the parent has ended.
func Main(f *os.File) error {
	p, err := process.Start(f, imsg.Lockd)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(".")
	if err != nil {
		return fmt.Errorf("open lock directory: %w", err)
	}
	defer dir.Close()
	return newKeeper(p, p.Log(), dir, machine{now: time.Now, load: process.Load, uid: os.Geteuid()}).serve()
}

func newKeeper(parent *process.Parent, log *slog.Logger, dir *os.Root, m machine) *keeper {
	records := rates.NewFileStore(log)
	k := &keeper{
		parent:   parent,
		log:      log,
		machine:  m,
		locks:    &locks.Directory{Files: dir, Now: m.now, Whitelist: m.uid != 0, Log: log},
		aside:    newAside(),
		workers:  make(map[*worker]struct{}),
		live:     newLiveTable(),
		counters: counters.New(log),
		rates:    rates.New(records, m.now, log),
		records:  records,
		runner:   &runner{parent: parent, log: log},
	}
	k.control = &control.Service{
		House: view{k}, Parent: parent, Locks: k.locks, Rates: k.rates, Counters: k.counters,
		Log: log, Now: m.now, Load: m.load,
	}
	return k
}

// serve lives until the parent ends.
func (k *keeper) serve() error {
	end, written := make(chan struct{}), make(chan struct{})
	go eachMinute(end, k.rates.Sweep)
	go k.sweep(end)
	go func() {
		defer close(written)
		var all sync.WaitGroup
		all.Go(func() { k.counters.Run(end) })
		all.Go(func() { k.records.Run(end) })
		all.Wait()
	}()
	defer func() {
		k.control.Close()
		close(end)
		select {
		case <-written:
		case <-time.After(lastWrite): // the disk may never answer
		}
	}()
	k.parent.Guard(&k.mu)
	return process.Run(k.parent, process.Room[imsg.LockdConfig]{
		Configure: k.configure,
		Again:     true,
		Ready:     k.sayReady,
		Peers:     map[imsg.Room]process.Peer{imsg.Session: k.join, imsg.Action: k.runner.attachRunner},
		Other:     k.fromParent,
	})
}

func (k *keeper) configure(c *imsg.LockdConfig) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.config = *c
	k.rates.Configure(c)
	k.live.regroup(locks.Naming{Mode: c.Mode, PrefixIPv6: c.ClientPrefixIPv6})
	return nil
}

// sayReady says so when the store of rates that was handed over is open.
func (k *keeper) sayReady(say func()) {
	k.mu.Lock()
	opening := k.barrier.opening > 0
	k.mu.Unlock()
	if !opening || !k.aside.begin(control.StoreTurn, say) {
		say()
	}
}

func (k *keeper) fromParent(r link.Request) {
	switch m := r.Message.(type) {
	case *imsg.Ledger:
		k.counters.Open(r.Files[0])
	case *imsg.RateStore:
		k.mu.Lock()
		k.barrier.opening++
		k.mu.Unlock()
		k.aside.begin(control.StoreTurn, func() {
			k.records.Open(r.Files[0])
			k.mu.Lock()
			k.barrier.opening--
			k.settle()
			k.mu.Unlock()
		})
	case *imsg.ControlSocket:
		if err := k.control.Open(r.Files[0]); err != nil {
			k.log.Error("control socket cannot be served", "error", err)
		}
	case *imsg.Family:
		k.mu.Lock()
		k.family = *m
		k.mu.Unlock()
	case *imsg.Start:
		k.mu.Lock()
		k.barrier.started = true
		k.settle()
		k.mu.Unlock()
	case *imsg.Dump:
		go k.control.Dump(link.ReplyTo(r, m))
	default:
		// Drain asks nothing of us: lockd ends with the parent's link, after
		// the last worker.
		r.Close()
	}
}
