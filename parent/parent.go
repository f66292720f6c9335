// Package parent starts the rooms of smtp-gated and keeps them going. It reads
// the configuration, opens what needs privilege, and hands each room what it
// needs; it reads no octet that came from a client, a mail server, a scanner, the
// DNS or a script.
//
// This file owns the loop: one goroutine owns everything a parent holds, all
// others post to it what has happened. It must never wait for a room.
package parent

import (
	"cmp"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/heir"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// watchSink is how often the log's name is looked after.
const watchSink = 10 * time.Second

// Options is what the command line says.
type Options struct {
	Config      string   // path of the configuration file, absolute
	Foreground  bool     // log to stderr
	Version     string   // of the program
	CompileDate string   // of the program, empty if unknown
	Started     *os.File // where one octet tells a starter that all is well, nil for none
	// Filter opens the packet filter's device that a mode asks, for lookups only.
	Filter func(imsg.Mode) (*os.File, error)
	// Load returns the load average of the last minute, 0 if the system tells none.
	Load func() float64

	// Kernel plays an older one (see sandbox.Rights), and Without is a word that no
	// room gets: for tests.
	Kernel, Without string

	Heir bool // the parent that has started us hands over to us

	askEvery    time.Duration           // other than the constant, for tests
	killProcess func(*os.Process) error // other than KILL, for tests
	anyLinkage  bool                    // with cgo, too, for tests with the race detector
}

// parent is the head of the family. Only the loop touches it.
type parent struct {
	Options
	self    string // program to execute for a room
	program string // its name in the file system, which another one may have by now
	rooted  bool   // rooms get users and roots of their own

	inbox
	signals    chan os.Signal
	childEnded chan os.Signal
	done       bool  // ends the loop
	err        error // why, if not as wished

	log      *site.Log
	notify   *host.Notifier
	holdings *site.Holdings // what an upgrade will hand over

	family family
	generations
	elder     *elder      // the program before this one, as long as it has sessions
	unnamed   bool        // what others find us by is that one's still
	heir      *succession // the program after this one
	orphans   spawn.Orphans
	reloads   reloads
	condition condition
	dumps     dumps
	tickets   tickets
	wasShown  map[string]int64 // by the program before this one: see shown
	stopping  bool             // nobody new is accepted
	asked     bool             // to stop
	forced    bool             // end without waiting for sessions
	lastAsked time.Time        // the rooms, whether they work
	level     logLevel
	noSink    string // why the log was not opened again, when last it was tried
}

// Run starts the family and returns after its end. An error says why it did not
// start, or why it had to end; that of a configuration is a *config.Invalid.
func Run(o Options) (err error) {
	notify, werr := host.NewNotifier()
	var p *parent
	defer func() {
		if err != nil {
			notify.Failed(err)
			p.giveUpHeritage(err)
		}
	}()
	p = &parent{
		Options: o, rooted: os.Geteuid() == 0, notify: notify,
		inbox: inbox{make(chan func(), 64), make(chan struct{})}, signals: make(chan os.Signal, 8),
		childEnded: make(chan os.Signal, 1),
		family: family{
			started: map[imsg.Room]int{},
			report:  imsg.Family{Version: o.Version, Config: o.Config, Started: time.Now().UnixNano()},
		},
	}
	defer close(p.over)
	p.askEvery = cmp.Or(p.askEvery, askEvery)
	if p.Heir {
		if p.elder, err = meetElder(); err != nil {
			return err
		}
		p.unnamed = true
		p.notify.Silence()
	}
	if !p.anyLinkage {
		if err = sandbox.CheckLinkage(); err != nil {
			return err
		}
	}
	// From the first moment on: one that comes early must not end us half made.
	signal.Notify(p.signals, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGQUIT, unix.SIGINT)
	signal.Notify(p.childEnded, unix.SIGCHLD)
	c, warnings, err := config.Read(o.Config)
	if err != nil {
		return err
	}
	s, err := p.open(c)
	if err != nil {
		return err
	}
	if werr != nil {
		p.log.Warn("no signs of life for the service manager", "error", werr)
	}
	p.log.Warnings(warnings)
	defer p.log.Flush()
	defer p.holdings.RemoveNames()
	if err = p.begin(s, nil); err == nil && !p.unnamed {
		err = p.holdings.PidFile.Write()
	}
	if err != nil {
		p.fail(err)
	}
	p.loop()
	return p.err
}

// open opens what lasts from the first generation, whose site it returns, to the last.
func (p *parent) open(c *config.Config) (s *site.Site, err error) {
	if p.self, err = host.Program(); err != nil {
		return nil, err
	}
	if p.program, err = heir.Program(); err != nil {
		return nil, err
	}
	sandbox.SetCloseOnExec()
	sandbox.SetName("smtp-gated") // started by Detach it would be called exe
	if err := os.Chdir("/"); err != nil {
		return nil, err
	}
	p.log = site.NewLog()
	p.orphans = spawn.Orphans{Log: p.log.Logger, Later: p.later}
	if err := p.orphans.Adopt(); err != nil {
		return nil, err
	}
	s = p.site(c)
	if p.Heir {
		p.holdings, err = p.inherit(s)
	} else {
		p.holdings, err = s.Acquire()
	}
	if err != nil {
		return nil, err
	}
	_, p.family.report.Lacks = sandbox.Layers(p.Kernel)
	if len(p.family.report.Lacks) > 0 {
		p.log.Warn("this kernel lacks a layer of the sandbox, the others hold", "lacks", strings.Join(p.family.report.Lacks, ", "))
	}
	if !p.rooted {
		p.log.Say(logs.LevelNotice, "started without root: the rooms keep this user and see the whole tree")
	}
	return s, nil
}

// site is a configuration on this machine.
func (p *parent) site(c *config.Config) *site.Site {
	return &site.Site{
		Config: c, Rooms: siteRooms(), Rooted: p.rooted, Foreground: p.Foreground, Filter: p.Filter,
		Log: p.log, Watched: p.Started != nil,
	}
}

// rights are what a room keeps.
func (p *parent) rights(r *room, c *config.Config) sandbox.Rights {
	all := r.rights(c)
	all.Kernel = p.Kernel
	all.Words = slices.DeleteFunc(all.Words, func(word string) bool { return word == p.Without })
	return all
}

// inbox is how others reach the loop.
type inbox struct {
	events chan func()
	over   chan struct{} // closed when the loop has ended
}

// post hands the loop something that has happened.
func (i *inbox) post(f func()) {
	select {
	case i.events <- f:
	case <-i.over:
	}
}

// deliver is post, and waits until it is dealt with: who has much to say has one thing
// in the inbox at a time, beside what all others have there.
func (i *inbox) deliver(f func()) {
	done := make(chan struct{})
	i.post(func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
	case <-i.over:
	}
}

// later has the loop do something after a while.
func (i *inbox) later(pause time.Duration, do func()) {
	time.AfterFunc(pause, func() { i.post(do) })
}

func (p *parent) loop() {
	watch := time.NewTicker(watchSink)
	defer watch.Stop()
	ask := time.NewTimer(p.askEvery) // no ticker: it would hurry after it was late
	defer ask.Stop()
	p.lastAsked = time.Now()
	after := time.NewTicker(pairsPeriod())
	defer after.Stop()
	var alive <-chan time.Time
	if p.notify.Watchdog > 0 {
		t := time.NewTicker(p.notify.Watchdog)
		defer t.Stop()
		alive = t.C
	}
	for p.advance(); !p.done; p.advance() {
		select {
		case f := <-p.events:
			f()
		case s := <-p.signals:
			p.signalled(s)
		case <-p.childEnded:
			p.orphans.SweepSoon()
		case <-ask.C:
			p.askRooms(time.Now())
			p.mendListeners(p.current)
			ask.Reset(p.askEvery)
		case <-watch.C:
			p.watchSink()
		case <-after.C:
			p.lookAfterPairs()
			p.renewTickets(time.Now())
		case <-alive:
			p.notify.KeepAlive()
		}
	}
}

// advance does what has become due by the last event.
func (p *parent) advance() {
	p.draining = slices.DeleteFunc(p.draining, p.gone)
	p.endSurplus()
	p.completeSwitch()
	if len(p.reloads.asked) > 0 && !p.stopping && !p.changing() && p.heir == nil {
		p.startReload()
	}
	if p.stopping {
		p.dismissAll()
	}
	if p.heir != nil && p.heir.serving && p.family.dirty {
		p.family.dirty = false
		p.tellFamily(p.heir)
	}
	p.family.tell(p.current)
}

func (p *parent) signalled(s os.Signal) {
	switch s {
	case unix.SIGHUP:
		p.reload(nil)
	case unix.SIGUSR1:
		p.dump()
	case unix.SIGUSR2:
		p.upgrade(nil)
	default:
		p.log.Say(logs.LevelNotice, "asked to stop", "signal", s)
		p.stop(p.asked)
	}
}

// fail ends the family before it has begun.
func (p *parent) fail(err error) {
	err = p.holdings.Blame(err)
	if p.err == nil {
		p.err = err
	}
	if !p.Foreground { // there the one who started us says it
		p.log.Say(logs.LevelCrit, "not started", "error", host.OneLine(err))
	}
	p.stop(true)
}
