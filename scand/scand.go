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
)

// maxHeld bounds the scans that run or wait; each holds a descriptor.
const maxHeld = 512

// errReplace ends this scand so that the parent starts another, with the new
// directory as its root.
var errReplace = errors.New("the directory of the scanner sockets has been removed: scand asks to be replaced")

type room struct {
	home  *imsg.Home
	ctx   context.Context
	stop  context.CancelCauseFunc // ends the room
	held  chan struct{}
	virus *lane
	spam  *lane

	mu       sync.Mutex
	links    int
	draining bool
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	home, err := imsg.Arrive(f, imsg.Scand)
	if err != nil {
		return err
	}
	s := &room{home: home, held: make(chan struct{}, maxHeld)}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	defer s.stop(nil)
	context.AfterFunc(s.ctx, func() { home.Close() })

	home.Guard(&s.mu)
	if err := home.Serve(s.hear); err != nil {
		return err
	}
	if err := context.Cause(s.ctx); err != context.Canceled {
		return err
	}
	return nil
}

// hear takes what the parent says.
func (s *room) hear(r imsg.Request) {
	switch m := r.Message.(type) {
	case *imsg.ScandConfig:
		if err := s.configure(m); err != nil {
			s.stop(err)
			return
		}
		s.home.Send(&imsg.Ready{})
	case *imsg.Peer:
		if err := s.join(r, m); err != nil {
			r.Close()
			s.home.Log().Error("link refused", "peer", m.Room, "member", m.Member, "error", err)
		}
	case *imsg.Drain:
		s.drain()
	}
}

func (s *room) configure(c *imsg.ScandConfig) error {
	if s.virus != nil {
		return errors.New("configured twice")
	}
	virus, err := newVirusEngine(c)
	if err != nil {
		return fmt.Errorf("antivirus engine: %w", err)
	}
	spam, err := newSpamEngine(c)
	if err != nil {
		return fmt.Errorf("antispam engine: %w", err)
	}
	s.virus = newLane(virus, c.Parallel, c.AntivirusTimeout)
	s.spam = newLane(spam, c.Parallel, c.AntispamTimeout)
	return nil
}

// join serves one session worker. When the link ends, so do the scans it asked for.
func (s *room) join(r imsg.Request, p *imsg.Peer) error {
	switch {
	case s.virus == nil:
		return errors.New("came before the configuration")
	case p.Room != imsg.Session:
		return errors.New("only sessions ask for scans")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	conn, err := s.home.Join(r, func(r imsg.Request) { s.take(ctx, r) })
	if err != nil {
		cancel()
		return err
	}
	s.mu.Lock()
	s.links++
	s.mu.Unlock()
	go func() {
		select {
		case <-conn.Done():
		case <-s.ctx.Done():
			conn.Close()
		}
		cancel()
		s.part()
	}()
	return nil
}

// drain lets the room end with its last link: sessions that drain still need scans.
func (s *room) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.links == 0 {
		s.stop(nil)
	}
}

func (s *room) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links--
	if s.draining && s.links == 0 {
		s.stop(nil)
	}
}

// take accepts one scan, or refuses it when too many are held. It does not block.
func (s *room) take(ctx context.Context, r imsg.Request) {
	q, ok := r.Message.(*imsg.Scan)
	if !ok {
		r.Close()
		return
	}
	select {
	case s.held <- struct{}{}:
	default:
		r.Close()
		r.Fail(imsg.Busy)
		return
	}
	scan, cancel := r.Context(ctx)
	go func() {
		v := s.judge(scan, q, r.Files[0])
		cancel()
		// The place is free before the answer is out: who asks again on
		// getting it finds one.
		r.Close()
		<-s.held
		if ctx.Err() == nil { // else our own end cut the scan short
			r.Answer(v)
		}
	}()
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
func (s *room) run(ctx context.Context, l *lane, q *imsg.Scan, f *os.File) (r report) {
	defer func() {
		if p := recover(); p != nil {
			s.home.Log().Error("bug in a scan", "session", q.Number, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r = report{finding{outcome: imsg.Failed}, "internal error"}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	found, err := l.scan(ctx, q, f)
	var late net.Error
	switch {
	case err == nil && (found.outcome == imsg.Clean || found.outcome == imsg.Caught):
		return report{finding: found}
	case err == nil:
		err = errors.New("the engine came to no verdict")
	case errors.Is(err, fs.ErrNotExist) && rootGone():
		s.stop(errReplace)
	}
	r = report{finding{outcome: imsg.Failed}, clean(err.Error(), maxProblem)}
	if errors.As(err, &late) && late.Timeout() {
		r.outcome = imsg.TimedOut
	}
	return r
}

// lane is an engine with its limits.
type lane struct {
	engine engine // nil: switched off
	limit  time.Duration
	places chan struct{}
}

func newLane(e engine, parallel int, limit time.Duration) *lane {
	return &lane{engine: e, limit: imsg.Limit(limit), places: make(chan struct{}, max(parallel, 1))}
}

// scan waits for a place and then lets the engine look; both end with ctx.
func (l *lane) scan(ctx context.Context, q *imsg.Scan, f *os.File) (finding, error) {
	if l.engine == nil {
		return finding{}, errors.New("the engine is off")
	}
	m, err := newMessage(q, f)
	if err != nil {
		return finding{}, err
	}
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	case <-ctx.Done():
		return finding{}, fmt.Errorf("wait for a free place: %w", ctx.Err())
	}
	return l.engine.scan(ctx, m)
}
