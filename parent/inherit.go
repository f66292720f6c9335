// Another program takes over while we run: the heir's side, which is ours when we were
// started as one. This file owns what we have of the program before us until its last
// session has ended.

package parent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/heir"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// estateWait is how long an elder may take to say what it hands over.
const estateWait = 10 * time.Second

// relinkWait is how long an elder may take to link its workers to another lockd: less than
// clients wait for admission.
const relinkWait = 2 * time.Second

// takeTries is how often its names are tried to be made ours: it gives them up when it has
// heard that we serve.
const (
	takeTries = 100
	takePause = 100 * time.Millisecond
)

// elder is the program before this one.
type elder struct {
	conn    *heir.Conn
	links   map[int]*os.File // to its workers, until there is a lockd for them
	closing []netip.AddrPort // listeners of its that we have no use for
	yours   bool             // its lockd has ended
	known   bool             // a lockd of ours knew its workers
	linking *child           // another lockd, which does not yet
}

// meetElder opens the link to the program before us.
func meetElder() (*elder, error) {
	conn, err := heir.Inherited()
	if err != nil {
		return nil, err
	}
	return &elder{conn: conn, links: make(map[int]*os.File)}, nil
}

// inherit takes hold of what the program before us hands over.
func (p *parent) inherit(s *site.Site) (*site.Holdings, error) {
	h, err := p.readEstate(s)
	if err != nil {
		return nil, err
	}
	go func() {
		err := p.elder.conn.Serve(func(m *heir.Message, files []*os.File) {
			p.post(func() { p.fromElder(m, files) })
		})
		p.post(func() { p.onElderGone(err) })
	}()
	return h, nil
}

func (p *parent) readEstate(s *site.Site) (*site.Holdings, error) {
	e, until := p.elder, time.Now().Add(estateWait)
	m, _, err := e.conn.Receive(until)
	if err != nil {
		return nil, err
	}
	if err := heir.Understands(m); err != nil {
		return nil, err
	}
	var listeners socket.Set
	var ledger *os.File
	controls := make(map[imsg.Room]site.Legacy)
	for {
		m, files, err := e.conn.Receive(until)
		if err != nil {
			return nil, err
		}
		switch {
		case m.Word == heir.Listener && m.Listener != nil:
			listeners.Inherit(socket.Bequest(*m.Listener), files)
		case m.Word == heir.Control && len(files) == 1:
			controls[cmp.Or(m.Role, imsg.Control)] = site.Legacy{File: files[0], Path: m.Path}
		case m.Word == heir.Ledger && len(files) == 1:
			ledger = files[0]
		case m.Word == heir.Estate && len(controls) > 0 && ledger != nil:
			p.numbered = m.Number
			p.tickets, p.wasShown = tickets{m.Tickets, time.Now()}, m.Shown
			maps.Copy(p.family.started, m.Started)
			return s.Inherit(&listeners, controls, ledger, m.Path)
		default:
			return nil, fmt.Errorf("what runs hands over something that is not understood: word %d with %d descriptors", m.Word, len(files))
		}
	}
}

// sayReady says that all of our rooms are, but lockd.
func (p *parent) sayReady() {
	if err := p.elder.conn.Send(&heir.Message{Word: heir.Ready}); err != nil {
		p.fail(err)
	}
}

// fromElder hears what the program before us says.
func (p *parent) fromElder(m *heir.Message, files []*os.File) {
	e := p.elder
	switch {
	case m.Word == heir.Worker && len(files) == 1:
		p.addLink(m.Number, files[0])
		return
	case m.Word == heir.Family:
		p.family.elders, p.family.dirty = m.Members, true
	case m.Word == heir.Yours && p.coming != nil && !e.yours:
		e.yours = true
		p.startLockd(p.coming)
	case m.Word == heir.Linked:
		e.linked(e.linking)
	case m.Word == heir.Leave:
		p.succeed(takeTries)
		if m.Reload {
			p.reload(nil)
		}
	}
	for _, f := range files {
		f.Close()
	}
}

// startLockd starts the room that an heir starts last.
func (p *parent) startLockd(g *generation) {
	if _, err := p.start(lasting(), g, 0); err != nil {
		p.abort(g, err)
	}
}

// addLink gives a link to a worker of the program before us to lockd, or keeps it for one.
func (p *parent) addLink(worker int, f *os.File) {
	if lockd := p.family.lasting(); lockd != nil {
		lockd.tell(&imsg.Peer{Room: imsg.Session, Member: worker}, f)
		f.Close()
		return
	}
	if old := p.elder.links[worker]; old != nil {
		old.Close()
	}
	p.elder.links[worker] = f
}

// introduce makes a lockd known to the workers of the program before us, and lets it work
// then: what they have counts for its limits. The first one gets the links that are there;
// for another one new ones are asked for.
func (p *parent) introduce(lockd *child) {
	e := p.elder
	p.family.dirty = true
	p.family.tell(lockd.gen)
	for worker, f := range e.links {
		lockd.tell(&imsg.Peer{Room: imsg.Session, Member: worker}, f)
		f.Close()
	}
	clear(e.links)
	e.linking = lockd
	if !e.known {
		e.known = true
		e.linked(lockd)
		return
	}
	if err := e.conn.Send(&heir.Message{Word: heir.Relink}); err != nil { // it ends
		e.linked(lockd)
	}
	p.later(relinkWait, func() { e.linked(lockd) })
}

// linked lets a lockd work that the workers of the program before us know.
func (e *elder) linked(lockd *child) {
	if lockd != nil && e.linking == lockd {
		e.linking = nil
		lockd.tell(&imsg.Start{})
	}
}

// takeOver says that we serve.
func (p *parent) takeOver() {
	if p.elder == nil {
		return // its end has us succeed
	}
	if err := p.elder.conn.Send(&heir.Message{Word: heir.Serving, Closing: p.elder.closing}); err != nil {
		p.log.Error("take over", "error", err)
	}
}

// succeed makes its names ours, with some tries left.
func (p *parent) succeed(tries int) {
	if !p.unnamed {
		return
	}
	if err := p.holdings.Succeed(); err != nil {
		if tries > 0 {
			p.later(takePause, func() { p.succeed(tries - 1) })
			return
		}
		p.log.Error("take over the names of the program before", "error", err)
	}
	p.unnamed = false
	p.notify.Speak()
	if p.stopping { // asked to, since we have said that we serve
		p.notify.Stopping()
		p.holdings.RemoveNames()
		return
	}
	p.showRunning()
	p.log.Say(logs.LevelNotice, "taken over from the program before")
	if err := p.sayServing("serving"); err != nil {
		p.log.Warn("no service manager", "error", err)
	}
}

// awaitsNames tells, when the last room has ended, whether our own end must wait for the
// names of the program before, which leaves them to us: nobody else would remove them.
func (p *parent) awaitsNames() bool { return p.unnamed && p.current != nil && p.elder != nil }

// awaitsElder tells whether our rooms are needed for the sessions of the program before,
// which our lockd has; and a service manager kills whoever is left when its main process,
// which we are, has ended.
func (p *parent) awaitsElder() bool { return p.elder != nil && p.current != nil }

// onElderGone is when the program before us has ended.
func (p *parent) onElderGone(err error) {
	for _, f := range p.elder.links {
		f.Close()
	}
	p.elder.linked(p.elder.linking)
	p.elder = nil
	if p.current == nil {
		p.fail(errors.Join(heir.ErrGone, err))
		return
	}
	p.succeed(takeTries)
	p.family.elders, p.family.dirty = nil, true
	p.log.Info("the last session of the program before has ended")
}

// giveUpHeritage tells the program before us why we do not take over.
func (p *parent) giveUpHeritage(err error) {
	if p != nil && p.elder != nil {
		_ = p.elder.conn.Send(&heir.Message{Word: heir.Failed, Text: host.OneLine(err)})
	}
}
