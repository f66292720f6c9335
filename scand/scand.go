// Package scand is the room that asks the scanners. A session hands it an open
// message; it has a virus and a spam engine look at that one descriptor side by
// side, and answers with what they said.
//
// What an engine did not clearly call clean is never reported as clean.
package scand

// This file owns the room: its links, how many scans it holds and how long each
// may take. It must never read a message or an engine's answer itself.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
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
	virus   *limitedEngine
	spam    *limitedEngine
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	return process.Main(f, imsg.Scand, func(p *process.Parent) process.Room[imsg.ScandConfig] {
		s := &room{parent: p, service: process.NewService(p, maxHeld)}
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
	virus, err := newVirusEngine(c)
	if err != nil {
		return fmt.Errorf("antivirus engine: %w", err)
	}
	spam, err := newSpamEngine(c)
	if err != nil {
		return fmt.Errorf("antispam engine: %w", err)
	}
	s.virus = newLimitedEngine(virus, c.Parallel, c.AntivirusTimeout)
	s.spam = newLimitedEngine(spam, c.Parallel, c.AntispamTimeout)
	return nil
}

// answer works on a question of a session.
func (s *room) answer(ctx context.Context, r link.Request) {
	switch q := r.Message.(type) {
	case *imsg.Scan:
		process.Work(ctx, s.service, r, q, func(ctx context.Context) (*imsg.Verdict, error) {
			return s.judge(ctx, q, r.Files[0]), nil
		})
	default:
		r.Close()
	}
}

// judge has the engines that were asked for look at the message, side by side.
func (s *room) judge(ctx context.Context, q *imsg.Scan, f *os.File) *imsg.Verdict {
	var v imsg.Verdict
	var work sync.WaitGroup
	if q.Virus {
		work.Go(func() {
			start := time.Now()
			r := s.run(ctx, s.virus, q, f)
			v.Virus, v.VirusName, v.VirusProblem, v.VirusTime = r.outcome, r.name, r.problem, time.Since(start)
		})
	}
	if q.Spam {
		work.Go(func() {
			start := time.Now()
			r := s.run(ctx, s.spam, q, f)
			v.Spam, v.Score, v.SpamProblem, v.SpamTime = r.outcome, r.score, r.problem, time.Since(start)
		})
	}
	work.Wait()
	return &v
}

// report is what came of one engine's work.
type report struct {
	finding
	problem string
}

// run does one engine's work and words its failure. A panic fails this scan alone.
func (s *room) run(ctx context.Context, e *limitedEngine, q *imsg.Scan, f *os.File) (r report) {
	defer func() {
		if p := recover(); p != nil {
			s.parent.Log().Error("bug in a scan", "session", q.Number, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r = report{finding{outcome: imsg.Failed}, "internal error"}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	found, err := e.scan(ctx, q, f)
	var late net.Error
	switch {
	case err == nil && (found.outcome == imsg.Clean || found.outcome == imsg.Caught):
		return report{finding: found}
	case err == nil:
		err = errors.New("the engine came to no verdict")
	case errors.Is(err, fs.ErrNotExist) && rootGone():
		s.parent.End(errReplace)
	}
	r = report{finding{outcome: imsg.Failed}, clean(err.Error(), maxProblem)}
	if errors.As(err, &late) && late.Timeout() {
		r.outcome = imsg.TimedOut
	}
	return r
}

// limitedEngine is an engine with its limits.
type limitedEngine struct {
	engine engine // nil: switched off
	limit  time.Duration
	slots  chan struct{}
}

func newLimitedEngine(e engine, parallel int, limit time.Duration) *limitedEngine {
	return &limitedEngine{engine: e, limit: imsg.Limit(limit), slots: make(chan struct{}, max(parallel, 1))}
}

// scan waits for a slot and then lets the engine look; both end with ctx.
func (e *limitedEngine) scan(ctx context.Context, q *imsg.Scan, f *os.File) (finding, error) {
	if e.engine == nil {
		return finding{}, errors.New("the engine is off")
	}
	m, err := newMessage(q, f)
	if err != nil {
		return finding{}, err
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return finding{}, fmt.Errorf("wait for a free place: %w", ctx.Err())
	}
	return e.engine.scan(ctx, m)
}
