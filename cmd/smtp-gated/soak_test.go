//go:build linux

// A long run under load. This file owns when load comes and goes, and what is changed
// under it; who the clients are, what is sampled and how that is judged it does not.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 0, "have TestSoak load the daemon for so long, as much as it bears; 0: for a minute, and lightly")

const (
	// soakPeriods is how many times load comes and goes.
	soakPeriods = 20
	// manyClients keep two CPUs busy, with what is between them and their server.
	manyClients = 24
	// asking is how often a room is asked for its goroutines.
	asking = 10 * time.Second
)

// soakConfiguration has a lock outlive the session that it is made by, and no file its
// session, and little more.
const soakConfiguration = `max_connections 500
spool_leave_on never
max_per_host 0
connect_queue 128
log_level notice
lock_on spam
lock_duration 10
action_script /bin/true
ratelimit_expiration 3600
ratelimit_messages 1000000000
tls_upstream lockstep
tls_verify none
`

// soakRule has some speak TLS past us.
const soakRule = `
[[tls.rule]]
client = ["` + passedFrom + `0/24"]
policy = "pass"
`

// What is done in the middle of a period.
const (
	changeNothing = "-"
	changeReload  = "reload"
	changeUpgrade = "upgrade"
)

// changeOf has the second and the last quarter be alike: reloads, each by a program that
// took over in the period before them or some periods ago. What lives in the third grows
// old.
func changeOf(period int) string {
	const quarter = soakPeriods / 4
	switch {
	case period == 1 || period == quarter-1 || period == 2*quarter:
		return changeUpgrade
	case period > 2*quarter && period < 3*quarter:
		return changeNothing
	}
	return changeReload
}

// TestSoak: under a load of all kinds, in clear and under TLS, reloaded and upgraded again
// and again, the family does not grow. Each time when the load is taken away it is as it was when it was before,
// no mail was lost, doubled or let through, and nobody had to come again.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute or more")
	}
	length, clients, pause := *soak, manyClients, time.Duration(0)
	if length == 0 {
		t.Parallel()
		length, clients, pause = time.Minute, 4, 250*time.Millisecond
	}
	g, m := rehearse(t, os.Geteuid() == 0, "tls", "forgets")
	s := newSoaker(g, m)
	must(t, s.configure(""))
	must(t, g.start())
	s.address = g.address(0)
	strikes := newStriker(g)
	c, err := newChart(t.Output(), s)
	must(t, err)
	defer func() {
		c.close()
		if err := c.judge(); err != nil {
			t.Error(err)
		}
		verdict := "nothing grows, and nobody was disturbed"
		if *soakKills > 0 {
			verdict = "nothing grows, and no mail was lost, doubled or let through"
		}
		if t.Failed() {
			verdict = "it is not as it should be"
		}
		if *soakKills > 0 {
			strikes.tell(t.Output())
		}
		fmt.Fprintf(t.Output(), "%v\nTLS: %d sessions ended with us, %d of them resumed; %d passed on\nverdict: %s\n",
			&s.crowd, s.ended.Load(), s.resumed.Load(), s.passed.Load(), verdict)
	}()
	must(t, s.settle())
	s.begin(clients, pause)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go strikes.run(ctx, *soakKills, length)
	t.Cleanup(s.cancel)
	began, period := time.Now(), length/soakPeriods
	for i := range soakPeriods {
		end := began.Add(time.Duration(i+1) * period)
		s.load()
		strikes.Unlock()
		time.Sleep(time.Until(end.Add(-period / 2)))
		strikes.Lock()
		must(t, s.moves())
		change := changeOf(i)
		must(t, s.change(change, i))
		must(t, s.moves())
		strikes.Unlock()
		time.Sleep(time.Until(end))
		strikes.Lock()
		s.calm()
		// In short periods there would be little but waiting for the numbers of goroutines:
		// there those count that have grown old, and the last.
		settled := period > 2*asking || i == soakPeriods*3/4-1 || i == soakPeriods-1
		left := s.rest(settled)
		must(t, c.take(time.Since(began), change, settled))
		must(t, left)
		if *soakKills == 0 {
			must(t, s.undisturbed())
		}
		must(t, errors.Join(m.post.judge(), s.clean(), s.fault()))
	}
	s.end()
	must(t, s.stop())
	must(t, s.counted())
	must(t, g.terminate())
}

// configure has the daemon be told something else, and a new certificate lie there.
func (s *soaker) configure(more string) error {
	return s.gate.certified(soakConfiguration+"ratelimit_path "+s.gate.path("run/rates")+"\n"+more, soakRule)
}

// change does what is done in the middle of a period.
func (s *soaker) change(what string, period int) error {
	if *soakKills > 0 { // some may just be replaced
		if _, err := s.gate.whole(0); err != nil {
			return err
		}
	}
	switch what {
	case changeReload:
		return errors.Join(s.configure(fmt.Sprintf("abuse abuse%d@gate.test\n", period)), s.gate.reload())
	case changeUpgrade:
		s.before = s.gate.pid
		s.spent()
		s.known = 0 // the other program has none yet
		if period%2 == 0 {
			if err := s.gate.signal(syscall.SIGUSR2); err != nil {
				return err
			}
		} else if out, err := s.gate.ctl("upgrade"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return s.gate.follow(s.before)
	}
	return nil
}

// counted holds the sessions under TLS to what the gateway says of them, which upgrades keep.
func (s *soaker) counted() error {
	if s.resumed.Load() == 0 {
		return errors.New("no session under TLS was resumed")
	}
	if *soakKills > 0 { // a worker that is killed tells of its last ones no more
		return nil
	}
	var ended, passed uint64
	if err := eventually("sessions under TLS are missing", func() bool {
		r, err := s.gate.ask()
		if err != nil {
			return false
		}
		ended, passed = r.Counters["tls_terminated"], r.Counters["tls_passed"]
		return ended == s.ended.Load() && passed == s.passed.Load()
	}); err != nil {
		return fmt.Errorf("%w: %d ended with the gateway and %d passed on, by its word", err, ended, passed)
	}
	return nil
}

// rest waits, when the load is taken away, until nothing is left of it: no session, no
// program or generation before ours, no spool file, and on demand no goroutine.
func (s *soaker) rest(goroutines bool) error {
	if s.before != 0 {
		if err := eventually("the program before does not end", func() bool { return gone(s.before) }); err != nil {
			return err
		}
	}
	if _, err := s.gate.whole(s.before); err != nil {
		return err
	}
	s.before = 0
	var r *report
	err := eventually("a session or its file is left", func() bool {
		var err error
		r, err = s.gate.ask()
		return err == nil && r.Sessions == 0 && s.files() == 0
	})
	if err == nil && r.Crashes > 0 && *soakKills == 0 {
		err = fmt.Errorf("%d rooms crashed", r.Crashes)
	}
	if err == nil && goroutines {
		err = s.settle()
	}
	return err
}

// settle waits until the rooms have as many goroutines as before there was any load, or
// hardly more. Before that it waits until they have told it once.
func (s *soaker) settle() error {
	var all []member
	err := eventually("goroutines stay", func() bool {
		time.Sleep(100 * time.Millisecond) // each look is a process
		r, err := s.gate.ask()
		if err != nil {
			return false
		}
		all = r.Rooms
		for _, m := range all {
			if m.Goroutines == 0 || s.idle != nil && m.Goroutines > s.idle[m.Room]+fewGoroutines {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("%w: %+v, idle %v", err, all, s.idle)
	}
	if s.idle == nil {
		s.idle = make(map[string]int)
		for _, m := range all {
			s.idle[m.Room] = max(s.idle[m.Room], m.Goroutines)
		}
	}
	return nil
}
