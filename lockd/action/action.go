// Package action is the room that runs the administrator's script for lockd.
//
// It holds no privilege but that of starting a program: it has its own user, no
// chroot, and none of the locks a script could not live with. lockd tells it
// values; which program runs, where, and under which names the values appear
// stands in its own configuration and in script.go. No shell is ever involved.
//
// This file owns the queue. A script that hangs must never hold up another for
// longer than the time limit, and none outlives the room.
package action

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// maxProblem bounds what lockd is told of a script's end, in octets.
const maxProblem = 200

// maxHeard bounds what the log has of what a script says, in octets.
const maxHeard = 200

// parallel is how many scripts run at once.
const parallel = 4

// runner is the room's state.
type runner struct {
	parent *process.Parent
	log    *slog.Logger
	lockd  link.Peer

	// Its end kills the process group of every script that runs.
	life context.Context
	jobs *jobs

	mu       sync.Mutex
	config   imsg.ActionConfig
	waiting  []*imsg.Run
	running  int
	draining bool
	all      sync.WaitGroup
}

// Main runs the room over f, its link to the parent. It returns nil when the
// parent has ended, or when the parent has asked it to drain and the last script
// is through.
func Main(f *os.File) error {
	p, err := process.Start(f, imsg.Action)
	if err != nil {
		return err
	}
	children := new(jobs)
	if _, err := children.adopt(); err != nil {
		return err
	}
	return serve(p, p.Log(), children)
}

func serve(p *process.Parent, log *slog.Logger, children *jobs) error {
	life, end := context.WithCancel(context.Background())
	a := &runner{parent: p, log: log, life: life, jobs: children}
	p.Guard(&a.mu)
	err := process.Run(p, process.Room[imsg.ActionConfig]{
		Configure: a.configure,
		Again:     true,
		Peers:     map[imsg.Room]process.Peer{imsg.Lockd: a.join},
		Other:     a.fromParent,
	})
	a.mu.Lock()
	for _, m := range a.waiting {
		a.refuse(m, "the room is ending")
	}
	a.waiting, a.draining = nil, true
	a.mu.Unlock()
	end()
	a.all.Wait()
	return err
}

func (a *runner) configure(c *imsg.ActionConfig) error {
	a.mu.Lock()
	a.config = *c
	a.mu.Unlock()
	a.look(c)
	return nil
}

func (a *runner) join(r link.Request, m *imsg.Peer) error {
	conn, err := a.parent.Accept(r, m, a.fromLockd)
	if err != nil {
		return err
	}
	a.lockd.Set(conn)
	return nil
}

func (a *runner) fromParent(r link.Request) {
	switch r.Message.(type) {
	case *imsg.Drain:
		a.mu.Lock()
		a.draining = true
		a.endIfIdle()
		a.mu.Unlock()
	default:
		r.Close()
	}
}

func (a *runner) fromLockd(r link.Request) {
	m, ok := r.Message.(*imsg.Run)
	if !ok {
		r.Close()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.draining:
		a.refuse(m, "the room is ending")
	case a.config.Script == "":
		a.refuse(m, "none is configured")
	case a.running < parallel:
		a.running++
		a.all.Go(func() { a.work(m) })
	case len(a.waiting) >= a.config.Queue:
		a.refuse(m, "the queue is full")
	default:
		a.waiting = append(a.waiting, m)
	}
}

func (a *runner) refuse(m *imsg.Run, why string) {
	a.log.Error("action script is not run", imsg.SessionKey, m.Number, "found", m.Found, "src", m.Client.Addr(), "reason", why)
	a.lockd.Send(&imsg.RunDone{Problem: "it is not run: " + why})
}

// work runs m and then what waits, until nothing does.
func (a *runner) work(m *imsg.Run) {
	for m != nil {
		a.mu.Lock()
		config := a.config
		a.mu.Unlock()
		a.lockd.Send(&imsg.RunDone{Problem: imsg.Printable(a.run(&config, m), maxProblem)})

		a.mu.Lock()
		m = nil
		if len(a.waiting) > 0 {
			m, a.waiting = a.waiting[0], a.waiting[1:]
		} else {
			a.running--
			a.endIfIdle()
		}
		a.mu.Unlock()
	}
}

// endIfIdle ends a draining room that has nothing left to do.
func (a *runner) endIfIdle() {
	if a.draining && a.running == 0 && len(a.waiting) == 0 {
		a.parent.Close()
	}
}
