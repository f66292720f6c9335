//go:build linux

// The clients of a long run. This file owns that they come and rest together.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// soaker is clients of all kinds, which rest together from time to time.
type soaker struct {
	crowd
	address string
	idle    map[string]int // goroutines of each kind of room, before there was any load
	before  int            // the program before ours, which may live still
	known   time.Duration  // CPU time of the family, when it was looked at last
	used    time.Duration  // and of all programs up to then

	resting sync.RWMutex  // each session reads it
	over    chan struct{} // closed when the load is to be taken away
	guests  atomic.Uint32 // who got an address of their own

	remembers              *tls.Config   // of clients that resume a session if they can
	ended, resumed, passed atomic.Uint64 // sessions under TLS
}

// Where clients come from: those that never ask for TLS, those whose TLS ends with us, and
// those whose TLS is passed on.
const (
	clearFrom  = "127.0.1."
	endedFrom  = "127.0.2."
	passedFrom = "127.0.3."
)

func newSoaker(g *gate, m *msa) *soaker {
	s := &soaker{crowd: crowd{gate: g, post: m.post}, over: make(chan struct{})}
	s.remembers = &tls.Config{InsecureSkipVerify: true, ServerName: "gate.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	s.resting.Lock()
	return s
}

// begin has clients come as soon as there is to be load, with a pause between their
// sessions, and some that are idle.
func (s *soaker) begin(clients int, pause time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for n := range clients {
		s.wg.Go(func() {
			for i := n; s.session(ctx, rounds[i%len(rounds)], n); i++ {
				time.Sleep(pause)
			}
		})
	}
	for n := range max(2, clients/4) {
		s.wg.Go(func() {
			for s.session(ctx, idles, clients+n) {
			}
		})
	}
}

// session is one of a client; a third of them speak TLS. False: it was the last.
func (s *soaker) session(ctx context.Context, play play, n int) bool {
	s.resting.RLock()
	defer s.resting.RUnlock()
	if ctx.Err() != nil {
		return false
	}
	from := clearFrom
	if n%3 == 2 {
		from = endedFrom
	}
	if err := play(s, fmt.Sprint(from, n+1)); err != nil {
		if !isOfStrikes(err) {
			s.crowd.fault(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// load lets the clients go.
func (s *soaker) load() {
	s.over = make(chan struct{})
	s.resting.Unlock()
}

// calm waits until all sessions are at their end, and lets no other begin.
func (s *soaker) calm() {
	close(s.over)
	s.resting.Lock()
}

// end lets the clients go for good.
func (s *soaker) end() {
	s.cancel()
	s.resting.Unlock()
}

// fault tells what has gone wrong so far.
func (s *soaker) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.faults...)
}

// moves waits until mail of both verdicts has got its answer since.
func (s *soaker) moves() error {
	sent, refused := s.sent.Load(), s.refused.Load()
	return eventually("no mail gets through", func() bool {
		return s.sent.Load() > sent+3 && s.refused.Load() > refused
	})
}

// clean looks for what a log of a healthy family has not, or of one whose rooms are struck,
// and forgets the rest of it.
func (s *soaker) clean() error {
	ill := `FAILED|TIMEOUT|BUG|room said|unasked|error=`
	if *soakKills > 0 {
		ill = `BUG|room said|room says|room hangs|stands against|does not die`
	}
	var errs []error
	for line := range strings.Lines(s.gate.log()) {
		if matches(ill, line) {
			errs = append(errs, errors.New(strings.TrimSpace(line)))
		}
	}
	s.gate.forget()
	s.gate.serving, s.gate.unsaid = 0, 0
	return errors.Join(append(errs, os.Truncate(s.gate.path("log"), 0))...)
}

// files counts the spool's.
func (s *soaker) files() (n int) {
	filepath.WalkDir(s.gate.path("spool"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// spent returns what CPU time the programs have had up to now. That of one that has handed
// over is missing from then on.
func (s *soaker) spent() time.Duration {
	const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) is 100 wherever Go runs
	now := time.Duration(0)
	for _, pid := range offspring(s.gate.pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for i := 11; i < min(15, len(fields)); i++ { // utime, stime, and those of children that have ended
			n, _ := strconv.Atoi(fields[i])
			now += time.Duration(n) * tick
		}
	}
	s.used, s.known = s.used+now-s.known, now
	return s.used
}
