// Package scand is the room that asks the scanners. A session hands it an open
// message; it has the engines look at that one descriptor side by side, and answers
// with what each of them found.
//
// What an engine did not clearly call clean is never reported as clean.
package scand

// This file owns the room: its links, how many scans it holds and how long each
// may take. It must never read a message or an engine's answer itself.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// maxHeld bounds the scans that run or wait; each holds a descriptor.
const maxHeld = 512

// errReplace ends this scand so that the parent starts another, with the new
// directory as its root.
var errReplace = errors.New("the directory of the scanner sockets has been removed: scand asks to be replaced")

type room struct {
	parent  *process.Parent
	service *process.Service
	loop    loop.Poller // nil: none
	engines []*limitedEngine
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	s := new(room)
	defer s.close()
	return process.Main(f, imsg.Scand, func(p *process.Parent) process.Room[imsg.ScandConfig] {
		s.parent, s.service = p, process.NewService(p, maxHeld)
		s.loop = p.Loop()
		return process.Room[imsg.ScandConfig]{
			Configure: s.configure,
			Peers:     map[imsg.Room]process.Peer{imsg.Session: s.service.Accept(s.answer)},
			Other:     s.fromParent,
		}
	})
}

func (s *room) fromParent(r link.Request) {
	switch r.Message.(type) {
	case *imsg.Drain:
		s.service.Drain()
	default:
		r.Close()
	}
}

func (s *room) configure(c *imsg.ScandConfig) error {
	if len(c.Engines) > imsg.MaxEngines {
		return fmt.Errorf("%d engines, at most %d", len(c.Engines), imsg.MaxEngines)
	}
	engines := make([]*limitedEngine, len(c.Engines))
	for i := range c.Engines {
		ec := &c.Engines[i]
		e, err := newEngine(ec, c.SpoolPath)
		if err != nil {
			return fmt.Errorf("engine %s: %w", ec.Engine, err)
		}
		engines[i] = newLimitedEngine(ec, e, c.Parallel)
	}
	s.engines = engines
	return nil
}

// close has the engines end what they keep.
func (s *room) close() {
	for _, e := range s.engines {
		if c, ok := e.engine.(io.Closer); ok {
			c.Close()
		}
	}
}

// answer works on a question of a session.
func (s *room) answer(ctx context.Context, r link.Request) {
	switch q := r.Message.(type) {
	case *imsg.Scan:
		start, w := func(f func()) { go f() }, (*loop.Work)(nil)
		switch s.manner(q) {
		case behind:
			start = r.Behind
		case pausing:
			w = &loop.Work{Poller: s.loop}
			start = func(f func()) { r.Behind(func() { w.Start(f) }) }
		}
		process.WorkBy(start, ctx, s.service, r, q, func(ctx context.Context) (*imsg.Verdict, error) {
			return s.scan(withWork(ctx, w), q, r.Files[0]), nil
		})
	default:
		r.Close()
	}
}

// workKey is a context's key of the loop's work that a scan is.
type workKey struct{}

func withWork(ctx context.Context, w *loop.Work) context.Context {
	if w == nil {
		return ctx
	}
	return context.WithValue(ctx, workKey{}, w)
}

// workOf returns the work that a scan is, nil for one that has a goroutine.
func workOf(ctx context.Context) *loop.Work {
	w, _ := ctx.Value(workKey{}).(*loop.Work)
	return w
}

// soonSize is the size of a message, in octets, that is looked through in less time than
// another thread takes to begin.
const soonSize = 64 << 10

// manner is how a scan is worked on.
type manner int

const (
	aside   manner = iota // by a goroutine: it waits for another program, or is long
	behind                // behind the handler: it is soon done
	pausing               // so, but it pauses while it waits for another program
)

func (s *room) manner(q *imsg.Scan) manner {
	how := behind
	for _, e := range s.engines {
		switch p, ok := e.engine.(interface{ pauses() bool }); {
		case q.Roles&e.roles == 0:
		case !e.kind.Kind().Remote() && q.Size <= soonSize:
		case s.loop != nil && ok && p.pauses() && how == behind:
			how = pausing
		default:
			return aside
		}
	}
	return how
}

// scan has the engines that have a role of the question look at the message, side
// by side, the last of them here, or one after the other in a loop. Each gives one finding.
func (s *room) scan(ctx context.Context, q *imsg.Scan, f *os.File) *imsg.Verdict {
	findings := make([]imsg.Finding, 0, len(s.engines)+1)
	asked := make([]*limitedEngine, 0, len(s.engines))
	without := q.Roles
	for _, e := range s.engines {
		if roles := q.Roles & e.roles; roles != 0 {
			without &^= roles
			findings = append(findings, imsg.Finding{Engine: e.kind, Roles: roles})
			asked = append(asked, e)
		}
	}
	look := func(i int) {
		start := time.Now()
		s.run(ctx, asked[i], q, f, &findings[i])
		findings[i].Time = time.Since(start)
		findings[i].Slow = findings[i].Time > asked[i].limit/2
	}
	var work sync.WaitGroup
	last := len(asked) - 1
	for i := range last {
		if workOf(ctx) != nil {
			look(i)
		} else {
			work.Go(func() { look(i) })
		}
	}
	if last >= 0 {
		look(last)
	}
	work.Wait()
	if without != 0 {
		findings = append(findings, imsg.Finding{Roles: without, Outcome: imsg.Failed, Problem: "the engine is off"})
	}
	return &imsg.Verdict{Findings: findings}
}

// run does one engine's work on the roles of r, fills in what came of it, and words
// a failure. A panic fails this one finding alone.
func (s *room) run(ctx context.Context, e *limitedEngine, q *imsg.Scan, f *os.File, r *imsg.Finding) {
	defer func() {
		if p := recover(); p != nil {
			s.parent.Log().Error("bug in a scan", "session", q.Number, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r.Outcome, r.Problem = imsg.Failed, "internal error"
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	found, err := e.scan(ctx, q, r.Roles, f)
	var late net.Error
	switch {
	case err == nil && (found.outcome == imsg.Clean || found.outcome == imsg.Caught && r.Roles&imsg.RoleVirus != 0):
		r.Outcome, r.Name, r.Score = found.outcome, found.name, found.score
		return
	case err == nil:
		err = errors.New("the engine came to no verdict")
	case errors.Is(err, fs.ErrNotExist) && rootGone():
		s.parent.End(errReplace)
	}
	r.Outcome, r.Problem = imsg.Failed, imsg.Printable(err.Error(), maxProblem)
	if errors.As(err, &late) && late.Timeout() {
		r.Outcome = imsg.TimedOut
	}
}

// limitedEngine is an engine with its roles and its limits.
type limitedEngine struct {
	engine engine
	kind   imsg.Engine
	roles  imsg.Roles
	limit  time.Duration
	slots  chan struct{}
}

func newLimitedEngine(c *imsg.EngineConfig, e engine, parallel int) *limitedEngine {
	return &limitedEngine{
		engine: e, kind: c.Engine, roles: c.Roles,
		limit: imsg.Limit(c.Timeout), slots: make(chan struct{}, max(parallel, 1)),
	}
}

// scan waits for a slot and then lets the engine look; both end with ctx.
func (e *limitedEngine) scan(ctx context.Context, q *imsg.Scan, roles imsg.Roles, f *os.File) (finding, error) {
	m, err := newMessage(q, roles, f)
	if err != nil {
		return finding{}, err
	}
	select {
	case e.slots <- struct{}{}:
	default:
		workOf(ctx).Aside()
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return finding{}, fmt.Errorf("wait for a free place: %w", ctx.Err())
		}
	}
	defer func() { <-e.slots }()
	return e.engine.scan(ctx, m)
}
