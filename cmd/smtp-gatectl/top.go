// The command top: the family on a whole screen, as it goes. This file owns what happens in
// which order; what is drawn, what a key does and how a terminal is handled stand in files
// of their own.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// shortestLook is the least time between two looks.
	shortestLook = 100 * time.Millisecond

	// escapeWait is how long an ESC may be the beginning of a longer key.
	escapeWait = 50 * time.Millisecond

	// stopWait is how long it may take until we are stopped.
	stopWait = 200 * time.Millisecond
)

func (t *tool) topCommand() *cobra.Command {
	var every time.Duration
	var readOnly bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch sessions, rates and rooms on a whole screen",
		Long: `top shows sessions, rates, verdicts, findings and rooms on a whole terminal of 80 by 24
or more, and can end a session or lock its client out. The last line shows its keys.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			in, out, err := t.terminal()
			switch {
			case t.json:
				return fmt.Errorf("%w: top draws for people: status --json and sessions --json are for machines", errUsage)
			case every < shortestLook:
				return fmt.Errorf("%w: --every %s is less than %s", errUsage, every, shortestLook)
			case err != nil:
				return err
			}
			d := &topDaemon{tool: t, readOnly: readOnly}
			if err := d.connect(); err != nil {
				return err
			}
			defer func() { d.close() }()
			return newTop(d, newScreen(in, out), every).run()
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "the time from one look to the next")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "only look, by the read socket where there is one")
	return cmd
}

// terminal is where top draws and what it reads.
func (t *tool) terminal() (in, out *os.File, err error) {
	in, isIn := t.in.(*os.File)
	out, isOut := t.out.(*os.File)
	switch {
	case !isOut || !term.IsTerminal(int(out.Fd())):
		err = errors.New("top needs a terminal, and standard output is none: see the commands status and sessions")
	case !isIn || !term.IsTerminal(int(in.Fd())):
		err = errors.New("top needs a terminal, and standard input is none: see the commands status and sessions")
	case os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "":
		err = errors.New("top needs a terminal that can move its cursor, and TERM names none: see the commands status and sessions")
	}
	return in, out, err
}

// top is the command at work.
type top struct {
	daemon *topDaemon
	screen *screen
	every  time.Duration
	state  topState
	shown  *snapshot
	heard  time.Time // the daemon
	lost   error     // why it does not answer
	denied bool      // it has denied an order: we may only look

	looks   chan look
	said    chan orderSaid
	typed   chan []byte // closed when there is no more
	panics  chan any
	signals chan os.Signal
}

// look is what came of one look.
type look struct {
	snapshot *snapshot
	err      error
}

// orderSaid is what came of an order.
type orderSaid struct {
	text string
	err  error
}

func newTop(d *topDaemon, s *screen, every time.Duration) *top {
	return &top{
		daemon: d, screen: s, every: every, state: topState{readOnly: d.readOnly || d.reader},
		looks: make(chan look), said: make(chan orderSaid, 1), typed: make(chan []byte), panics: make(chan any, 1),
		signals: make(chan os.Signal, 16),
	}
}

// begin has a goroutine work whose panic is not to leave the terminal as it is.
func (p *top) begin(work func()) {
	go func() {
		defer func() {
			if v := recover(); v != nil {
				p.panics <- fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
		}()
		work()
	}()
}

// run draws until it is told to end. Whatever ends it, the terminal is as it was.
func (p *top) run() (err error) {
	signal.Notify(p.signals, endings...)
	signal.Notify(p.signals, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH)
	defer signal.Stop(p.signals)
	if err := p.screen.enter(); err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	defer p.screen.leave()
	p.begin(p.watch)
	p.begin(func() { p.screen.read(p.typed) })
	var keys keyDecoder
	var escape <-chan time.Time
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		p.draw()
		todo := doNothing
		select {
		case l := <-p.looks:
			if p.lost = l.err; l.err == nil {
				p.shown, p.heard = l.snapshot, time.Now()
				p.state.readOnly = p.denied || l.snapshot.readOnly
			}
		case <-second.C: // the clock goes on
		case s := <-p.said:
			if p.state.message = s.text; s.err != nil {
				p.state.message = clean(s.err.Error())
				p.denied = p.denied || errors.Is(s.err, imsg.ReadOnly)
				p.state.readOnly = p.state.readOnly || p.denied
			}
		case octets, more := <-p.typed:
			if !more {
				return errors.New("the terminal is gone")
			}
			todo = p.press(keys.feed(octets))
			if escape = nil; keys.pending() {
				escape = time.After(escapeWait)
			}
		case <-escape:
			escape = nil
			todo = p.press(keys.flush())
		case v := <-p.panics:
			panic(v)
		case s := <-p.signals:
			switch s {
			case unix.SIGWINCH:
				p.screen.forget()
			case unix.SIGCONT:
				if err := p.screen.enter(); err != nil {
					return err
				}
			case unix.SIGTSTP:
				if err := p.stop(false); err != nil {
					return err
				}
			default:
				return endedBy{s.(unix.Signal)}
			}
		}
		switch todo {
		case doQuit:
			return nil
		case doRedraw:
			p.screen.forget()
		case doStop:
			if err := p.stop(true); err != nil {
				return err
			}
		case doKill, doLock:
			p.order(todo, p.state.target)
		}
	}
}

// press has the keys act, one by one, until one asks for something to be done.
func (p *top) press(keys []key) (todo topAction) {
	for _, k := range keys {
		width, height := p.screen.size()
		if todo = p.state.press(k, p.rows(), pageOf(p.shown, width, height)); todo != doNothing {
			break
		}
	}
	return todo
}

// rows are the sessions that are shown, in their order.
func (p *top) rows() []session { return p.state.rows(p.shown) }

func (p *top) draw() {
	width, height := p.screen.size()
	p.state.settle(p.rows(), pageOf(p.shown, width, height))
	var waits topWait
	switch silent := time.Since(p.heard); {
	case p.lost != nil:
		waits = topWait{"waiting for the daemon", p.lost.Error()}
	case p.shown == nil:
		waits.word = "asking the daemon"
	case silent > 2*time.Second+2*p.every:
		waits = topWait{"no answer for " + span(silent), "the daemon has not answered for " + span(silent)}
	}
	p.screen.show(drawTop(p.shown, &p.state, waits, width, height))
}

// stop stops us, or all that the shell has started with us, as ^Z would, and goes on when
// that wants us to. We are stopped by SIGSTOP: once it was asked for, no SIGTSTP does it any
// more (os/signal does not give its handler up). SIGSTOP stops, too, whom nobody can have go
// on, which SIGTSTP does not.
func (p *top) stop(all bool) error {
	if orphaned() {
		p.state.message = "not stopped: no shell is here that could have it go on"
		return nil
	}
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, unix.SIGCONT)
	defer signal.Stop(goesOn)
	p.screen.leave()
	if all {
		signal.Ignore(unix.SIGTSTP)
		unix.Kill(0, unix.SIGTSTP)
	}
	unix.Kill(unix.Getpid(), unix.SIGSTOP)
	select {
	case <-goesOn:
	case <-time.After(stopWait):
	}
	signal.Notify(p.signals, unix.SIGTSTP)
	return p.screen.enter()
}

// watch looks at the daemon, again and again. One that is gone is waited for.
func (p *top) watch() {
	var rates topRates
	for tick := time.NewTicker(p.every); ; <-tick.C {
		s, err := p.daemon.look()
		if err == nil {
			rates.add(s)
		}
		p.looks <- look{s, err}
	}
}

// order has something done to a session, or to its client.
func (p *top) order(what topAction, s session) {
	p.state.message = "..."
	p.begin(func() {
		text, err := p.daemon.order(what, &s)
		p.said <- orderSaid{text, err}
	})
}
