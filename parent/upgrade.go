// Another program takes over while we run: the elder's side. It is started beside us,
// gets what cannot be opened twice, and gets its rooms ready; then our lockd ends, its
// lockd has our workers and all that ours knew, and we end with our last session. This
// file owns that we serve on as long as it does not.

package parent

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/heir"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

const (
	// lastWord is for what a process has said, and how it has ended, to be heard when it
	// is no more.
	lastWord = time.Second
	// heirReady is how long another program may take until its rooms are ready, and
	// heirServing from when our lockd begins to end until it serves.
	heirReady   = time.Minute
	heirServing = 30 * time.Second
)

// succession is another program on its way to take over.
type succession struct {
	conn    *heir.Conn
	process *os.Process
	asked   func(error) // who asked for it, until it is told
	reason  string      // why it gave up, as it says
	lockd   int         // the number that its lockd will have
	handing bool        // our lockd ends, or has
	serving bool        // it has taken over
}

// upgrade starts the program that has our name now as our heir; done, if not nil, is told
// when it is about to take over, or why it will not.
func (p *parent) upgrade(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	err := p.whyNoUpgrade()
	if err == nil {
		err = p.startHeir(done)
	}
	if err != nil {
		p.log.Error("upgrade failed, nothing has changed", "error", err)
		done(err)
	}
}

func (p *parent) whyNoUpgrade() error {
	switch {
	case p.stopping:
		return errStopping
	case p.current == nil || p.changing():
		return errors.New("a configuration is just coming into force")
	case p.heir != nil:
		return errors.New("another program is just taking over")
	case p.elder != nil:
		return errors.New("the program before this one has sessions still")
	case os.Getpid() == 1:
		return errors.New("process 1 cannot go: its end would be that of the container")
	}
	return nil
}

func (p *parent) startHeir(done func(error)) error {
	s := &succession{asked: done, lockd: p.family.started[imsg.Lockd] + 1}
	args := []string{"-x", imsg.Parent.String(), p.Config, "heir"}
	if p.Foreground {
		args = append(args, "foreground")
	}
	var err error
	s.conn, s.process, err = heir.Start(p.program, args, p.notify.Environment(), p.notify.Managed(), func(err error) {
		p.post(func() { p.onHeirEnd(s, err) })
	})
	if err != nil {
		return err
	}
	p.heir = s
	p.orphans.Expect(s.process.Pid)
	p.log.Say(logs.LevelNotice, "upgrade: another program gets ready", "program", p.program, "pid", s.process.Pid)
	p.later(heirReady, func() {
		if !s.handing {
			p.abandonHeir(s, errors.New("it does not get ready"))
		}
	})
	listeners := p.holdings.Listeners.Bequeath()
	estate := &heir.Message{
		Word: heir.Estate, Number: p.numbered, Tickets: p.tickets.keys, Shown: p.shown(), Started: maps.Clone(p.family.started), Path: p.current.site.Inside(p.current.site.PidFile),
	}
	go func() {
		err := s.conn.Send(heir.Introduce(p.Version))
		for _, l := range listeners {
			if err == nil {
				facts := heir.ListenerFacts(l.Bequest)
				err = s.conn.Send(&heir.Message{Word: heir.Listener, Listener: &facts}, l.Sockets...)
			}
		}
		for _, c := range p.holdings.Controls {
			if err == nil {
				err = s.conn.Send(&heir.Message{Word: heir.Control, Role: c.Role, Path: c.Path}, c.File)
			}
		}
		if err == nil {
			err = s.conn.Send(&heir.Message{Word: heir.Ledger}, p.holdings.Ledger)
		}
		if err == nil {
			err = s.conn.Send(estate)
		}
		// One that does not listen any more may have said why.
		serr := s.conn.Serve(func(m *heir.Message, files []*os.File) {
			p.post(func() { p.fromHeir(s, m) })
			for _, f := range files { // it has nothing for us
				f.Close()
			}
		})
		if err == nil {
			err = serr
		}
		// How it ends says more than that it does not listen any more.
		p.later(spawn.Grace, func() { p.abandonHeir(s, err) })
	}()
	return nil
}

// fromHeir hears what the other program says.
func (p *parent) fromHeir(s *succession, m *heir.Message) {
	if p.heir != s {
		return
	}
	switch m.Word {
	case heir.Ready:
		p.handOver(s)
	case heir.Serving:
		p.leave(s, m.Closing)
	case heir.Relink:
		p.linkWorkers(s)
		_ = s.conn.Send(&heir.Message{Word: heir.Linked}) // she waits for a while only
	case heir.End:
		if s.serving {
			p.stop(true)
		}
	case heir.Failed:
		s.reason = m.Text
	}
}

// handOver has our lockd end, and our workers go over to that of the heir.
func (p *parent) handOver(s *succession) {
	lockd := p.family.lasting()
	if lockd == nil || p.stopping || p.changing() || s.handing {
		p.abandonHeir(s, errors.New("it comes at a bad moment: try again"))
		return
	}
	s.asked(nil)
	s.asked = nil
	s.handing = true
	p.log.Say(logs.LevelNotice, "upgrade: the other program is ready")
	p.later(heirServing, func() {
		if !s.serving {
			p.abandonHeir(s, errors.New("it does not serve"))
		}
	})
	p.linkWorkers(s)
	lockd.state = imsg.Draining
	lockd.tell(&imsg.Drain{})
}

// linkWorkers links our workers to the heir's lockd, which must have heard of them.
func (p *parent) linkWorkers(s *succession) {
	p.family.started[imsg.Lockd] = max(p.family.started[imsg.Lockd], s.lockd)
	p.tellFamily(s)
	for _, m := range p.family.all() {
		if m.serves && m.state != imsg.Starting && !m.stopping {
			p.linkWorker(s, m)
		}
	}
}

func (p *parent) linkWorker(s *succession, m *child) {
	one, two, err := link.Pair()
	if err == nil {
		m.tell(&imsg.Peer{Room: imsg.Lockd, Member: s.lockd}, one)
		err = s.conn.Send(&heir.Message{Word: heir.Worker, Number: m.number}, two)
		one.Close()
		two.Close()
	}
	if err != nil {
		m.log.Error("link a room to the other program's", "error", err)
	}
}

// onLockdGone is when our lockd has ended that another takes over from, or was to.
func (p *parent) onLockdGone(m *child) {
	switch s := p.heir; {
	case s != nil && s.handing:
		p.tellFamily(s)
		if err := s.conn.Send(&heir.Message{Word: heir.Yours}); err != nil {
			p.abandonHeir(s, err)
		}
	case p.needed(m):
		p.replace(m, 0)
	}
}

// tellFamily tells the heir which of our rooms are left.
func (p *parent) tellFamily(s *succession) {
	// What it does not take is the same as the next, or as our end.
	_ = s.conn.Send(&heir.Message{Word: heir.Family, Members: p.family.members()})
}

// leave is when the other program serves: we accept nobody any more, and end with our last
// session.
func (p *parent) leave(s *succession, closing []netip.AddrPort) {
	if s.serving {
		return
	}
	s.serving = true
	p.log.Say(logs.LevelNotice, "another program has taken over", "pid", s.process.Pid)
	p.notify.MainProcess(s.process.Pid)
	p.holdings.Yield()
	reload := len(p.reloads.asked) > 0 // it may have read the file before that changed
	if err := s.conn.Send(&heir.Message{Word: heir.Leave, Reload: reload}); err != nil {
		p.log.Error("leave to the other program", "error", err)
	}
	p.stopping = true
	p.reloads.answerAll()(errStopping)
	p.holdings.Listeners.Close()
	p.retire(p.current, closing)
}

// abandonHeir does without a program that has not taken over, and ends it.
func (p *parent) abandonHeir(s *succession, err error) {
	if p.heir != s || s.serving {
		return
	}
	p.heir = nil
	s.conn.Close()
	s.process.Kill()
	if s.reason != "" {
		err = errors.New(s.reason)
	} else if err == nil {
		err = errors.New("it has ended")
	}
	err = fmt.Errorf("%s: %w", p.program, err)
	p.log.Error("upgrade failed, this program goes on", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
	if s.asked != nil {
		s.asked(err)
	}
	if !s.handing {
		return
	}
	switch i := slices.IndexFunc(p.family.children, func(m *child) bool { return m.lasting }); {
	case i < 0:
		p.restoreLockd()
	case p.family.children[i].leaves():
		p.family.children[i].Dismiss() // whoever is linked to it still; its end has it replaced
	}
}

// restoreLockd starts ours again that had ended for another's.
func (p *parent) restoreLockd() {
	if p.forced {
		return
	}
	if _, err := p.start(lasting(), p.current, 0); err != nil {
		p.log.Error("replace room", "room", lasting().Name, "error", err)
		p.later(time.Second, p.restoreLockd)
	}
}

// onHeirEnd is when the process of the other program has ended.
func (p *parent) onHeirEnd(s *succession, err error) {
	p.orphans.Ended(s.process.Pid)
	// Its last word, why, may be on its way.
	p.later(lastWord, func() { p.abandonHeir(s, err) })
}
