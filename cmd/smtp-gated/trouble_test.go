package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// This file owns the words of stories in which mail flows while something goes wrong.

// trouble is what such a story knows more.
type trouble struct {
	people *crowd
	pests  *pests
	doors  map[string]door
	before map[string]int // descriptors of each room when it began
}

// gather has a crowd send clean, infected and spam mail, or no spam, or clean mail that is
// big, or pests do what they do.
func (s *story) gather(_ *testscript.TestScript, _ bool, args []string) error {
	n, err := strconv.Atoi(args[0])
	kinds := verdicts
	switch {
	case err != nil:
		return err
	case len(args) == 2 && args[1] == "virus":
		kinds = verdicts[:2]
	case len(args) == 2 && args[1] == "big":
		kinds = append([]verdict{{bigMail, "250"}}, verdicts[1:]...)
	case len(args) == 2:
		return s.pests.gather(s.gate, s.msa, n, args[1])
	}
	if s.before, err = s.descriptors(); err != nil {
		return err
	}
	s.people = s.gate.crowd(s.msa, n, 0, kinds...)
	return nil
}

// flows waits until mail gets through.
func (s *story) flows(*testscript.TestScript, bool, []string) error { return s.people.moves() }

// brisk has a client say NOOP so often, and hear all answers in that time.
func (s *story) brisk(ts *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 2 {
		return errTelling
	}
	times, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	var all, slowest time.Duration
	for range times {
		began := time.Now()
		if err := errors.Join(s.talking.send("NOOP"), s.talking.expect("250")); err != nil {
			return err
		}
		took := time.Since(began)
		all, slowest = all+took, max(slowest, took)
		time.Sleep(20 * time.Millisecond) // what goes wrong has its time to
	}
	ts.Logf("%d answers took %v, the slowest %v", times, all, slowest)
	if all > limit {
		return fmt.Errorf("%d answers took %v", times, all)
	}
	return nil
}

// meets has something misbehave until it was met so often, and waits until mail flows
// after it.
func (s *story) meets(_ *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 3 {
		return errTelling
	}
	times, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	how, at := args[1], args[2]
	if d, ok := s.doors[at]; ok && how == "is-gone" {
		return errors.Join(d.close(), s.bothers(times), d.open(), s.people.moves())
	}
	s.manners.behave(how, at)
	err = s.manners.wasMet(times)
	s.manners.behave("", "")
	return errors.Join(err, s.people.moves())
}

// bothers waits until so many clients had to come again, or sent what came through
// regardless.
func (s *story) bothers(times int) error {
	before := s.people.tried.Load()
	return eventually("nobody comes", func() bool { return s.people.tried.Load() >= before+int64(times) })
}

// often kills or freezes a process of a room so often, each time at any moment.
func (s *story) often(_ *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 3 {
		return errTelling
	}
	times, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range times {
		time.Sleep(rand.N(200 * time.Millisecond))
		var pids []int
		if err := eventually("there is no "+args[2], func() bool {
			pids, _ = s.processes(args[2])
			return len(pids) > 0
		}); err != nil {
			return err
		}
		pid := pids[rand.N(len(pids))]
		switch args[1] {
		case "kill9":
			err = syscall.Kill(pid, syscall.SIGKILL)
		case "freeze":
			err = syscall.Kill(pid, syscall.SIGSTOP)
			time.Sleep(rand.N(time.Second))
			err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
		default:
			return errTelling
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return s.people.moves()
}

// calm has everybody go, and looks whether all is well: the mail, and what is left.
// Its arguments are what the crowd may have met: put-off, cut, unreached.
func (s *story) calm(ts *testscript.TestScript, _ bool, args []string) error {
	s.disperse()
	if err := s.people.stop(); err != nil {
		return err
	}
	ts.Logf("%v", s.people)
	for what, n := range map[string]int64{"put-off": s.people.later.Load(), "cut": s.people.cut.Load(), "unreached": s.people.unreached.Load()} {
		if n > 0 && !slices.Contains(args, what) {
			return fmt.Errorf("%s: %v", what, s.people)
		}
	}
	if _, err := s.box(); err != nil {
		return err
	}
	return errors.Join(s.post.judge(), s.leavesNothing())
}

// leavesNothing waits until no session is left, the family is whole, and neither spool
// files nor descriptors are left.
func (s *story) leavesNothing() error {
	if _, err := s.whole(0); err != nil {
		return err
	}
	if err := eventually("sessions are left", func() bool {
		r, err := s.ask()
		return err == nil && r.Sessions == 0
	}); err != nil {
		return err
	}
	if err := eventually("spool files are left", func() bool {
		files, err := os.ReadDir(s.path("spool"))
		return err == nil && len(files) == 0
	}); err != nil {
		return err
	}
	var now map[string]int
	err := eventually("descriptors are left", func() (ok bool) {
		var err error
		if now, err = s.descriptors(); err != nil {
			return false
		}
		for room, n := range now {
			ok = ok || n > s.before[room]+fewDescriptors
		}
		return !ok
	})
	if err != nil {
		err = fmt.Errorf("%w: %v, first %v", err, now, s.before)
	}
	return err
}

// fewDescriptors is how many more a room may have than it had at first.
const fewDescriptors = 3

// descriptors counts those of the parent and of one of each room, the largest; none where
// we may not look.
func (s *story) descriptors() (map[string]int, error) {
	all, err := s.whole(0)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, m := range append(all, member{Room: "parent", PID: s.pid}) {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.PID))
		counts[m.Room] = max(counts[m.Room], len(fds))
	}
	return counts, nil
}

// disperse has everybody go, however the story ends.
func (s *story) disperse() {
	if s.people != nil {
		s.people.cancel()
	}
	s.pests.stop()
}

// come waits until so many pests have come, and most of them gone.
func (s *story) come(_ *testscript.TestScript, _ bool, args []string) error {
	n, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	return eventually("they do not come", func() bool { return s.pests.came.Load() >= n })
}

// pests are clients who do not behave.
type pests struct {
	end   chan struct{}
	once  sync.Once
	alive sync.WaitGroup
	came  atomic.Int64
}

func (p *pests) stop() {
	p.once.Do(func() { close(p.end) })
	p.alive.Wait()
}

// gather has so many of a kind come, each again and again, by an address of its own.
func (p *pests) gather(g *gate, m *msa, n int, kind string) error {
	do, known := map[string]func(*client, *msa){"deaf": p.deaf, "slow": p.slow, "vanishing": p.vanish}[kind]
	if !known {
		return errTelling
	}
	for i := range n {
		p.alive.Go(func() {
			for !isOver(p.end) {
				c, err := dialGate(g.address(0), fmt.Sprintf("127.0.3.%d", i+1))
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				p.came.Add(1)
				do(c, m)
				c.conn.Close()
			}
		})
	}
	return nil
}

// deaf talks, and never reads.
func (p *pests) deaf(c *client, _ *msa) {
	c.conn.(*net.TCPConn).SetReadBuffer(1 << 10)
	io.WriteString(c.conn, "EHLO client.test\r\n")
	for !isOver(p.end) {
		c.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := io.WriteString(c.conn, strings.Repeat("NOOP\r\n", 1<<10)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// slow says an octet a second.
func (p *pests) slow(c *client, _ *msa) {
	for _, octet := range []byte("EHLO client.test\r\nMAIL FROM:<alice@client.test>\r\n") {
		if _, err := c.conn.Write([]byte{octet}); err != nil {
			return
		}
		select {
		case <-p.end:
			return
		case <-time.After(time.Second):
		}
	}
}

// vanish goes at any moment of a session, in either way.
func (p *pests) vanish(c *client, m *msa) {
	number, text := m.post.stamp(cleanMail, 0)
	m.post.note(number, isCut)
	gone := make(chan struct{})
	time.AfterFunc(rand.N(40*time.Millisecond), func() {
		defer close(gone)
		if rand.N(2) == 0 {
			c.conn.(*net.TCPConn).SetLinger(0)
		}
		c.conn.Close()
	})
	if answer, err := c.deliver([]byte(text)); err == nil && strings.HasPrefix(answer, "250") {
		m.post.note(number, isAccepted)
	}
	<-gone
}
