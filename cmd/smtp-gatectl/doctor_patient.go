// Who is looked at: a configuration, and the family that runs by it, be it a temporary one.
// This file owns how both are found, and what several probes go by.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// usualFile is where a configuration lies that nobody names. make says another SYSCONF.
var usualFile = "/etc/smtp-gated/smtp-gated.toml"

// patient is who is looked at. What is nil or empty there is not.
type patient struct {
	*config.Config
	file     string // that it was read from
	warnings []config.Warning
	written  *config.Config  // what the file says, if the family runs by something else
	changes  []config.Change // from what it runs by to that

	control   *control // the family's, by which it is asked
	paths     []string // of its sockets
	status    *status  // what it said when it was found
	elsewhere string   // the configuration that it runs by, if that is another file
	temporary *daemon  // it was started for us
	tried     bool     // to start one
	noFamily  string   // why there is none
	absent    bool     // nobody listens, and we may not start one
	failed    error    // why it could not be started, or asked

	root     bool             // we are
	rooted   bool             // the rooms have users and root directories of their own
	identity sandbox.Identity // of a family that is not rooted, if it is not ours

	look  func() lookResult                                                      // what the site meets, once
	scan  func(context.Context, io.Reader) ([]engineSaid, error)                 // has the family scan a mail
	run   func(ctx context.Context, name string, args ...string) (string, error) // runs a program
	loads func(program string) bool                                              // tells whether one would change the kernel; nil: none does
	mails sync.Map                                                               // what the engines said, by mail

	talking   sync.Once // to the servers
	talked    []*conversation
	scanning  chan struct{} // has room for one scan
	answering atomic.Uint32 // which name server, counted on: those before it do not
	firewall  sync.Once     // is read
	rules     firewall
	unread    string // why there are none
}

// lookResult is what a site meets on this machine.
type lookResult struct {
	warnings []config.Warning
	err      error
}

// admit finds the configuration and the family.
func (t *tool) admit(ctx context.Context, file, program string) (p *patient, err error) {
	p = &patient{root: os.Geteuid() == 0, rooted: true, run: runProgram, loads: wouldLoad, scanning: make(chan struct{}, 1)}
	p.look = sync.OnceValue(func() lookResult {
		warnings, err := p.site().Look()
		return lookResult{warnings, err}
	})
	if file != "" {
		if err := p.read(file); err != nil {
			return nil, err
		}
		p.paths = p.ControlPaths()
	} else if p.paths, err = t.paths(); err != nil {
		return nil, err
	}
	err = p.find(ctx)
	switch {
	case err == nil && file == "":
		err = p.read(p.status.Config)
	case err == nil || file != "" || t.socket != "":
	default: // neither a file nor a daemon
		if _, serr := os.Stat(usualFile); serr != nil {
			return nil, fmt.Errorf("%w: name a FILE", err)
		}
		if err := p.read(usualFile); err != nil {
			return nil, err
		}
		p.paths = p.ControlPaths()
		err = p.find(ctx)
	}
	if p.Config == nil {
		return nil, err
	}
	switch {
	case p.status != nil:
		p.liveBy()
	case p.mayStart(err):
		p.tried = true
		p.temporary, p.failed = startFamily(ctx, p.Config, program)
		if p.failed == nil {
			p.paths = []string{p.temporary.socket}
			p.failed = p.find(ctx)
		}
		if p.failed != nil {
			p.noFamily = "the daemon does not start"
		}
	}
	if ctx.Err() != nil {
		return nil, errors.Join(errInterrupted, p.discharge())
	}
	p.scan = p.scanByFamily
	return p, nil
}

// mayStart tells whether a temporary family may stand in for one that was not found, and
// notes why not. That who may not look sees nothing is no fault; all else is one.
func (p *patient) mayStart(err error) bool {
	switch {
	case errors.Is(err, link.ErrClosed) && !p.root:
		p.noFamily = err.Error()
	case !errors.Is(err, link.ErrAbsent):
		p.failed, p.noFamily = err, "the daemon cannot be asked"
	case !p.root:
		p.absent, p.noFamily = true, "no daemon runs, and only root can start one for this"
	default:
		return true
	}
	return false
}

// read reads the configuration, as a daemon does that is to start with it.
func (p *patient) read(file string) error {
	c, warnings, err := config.Read(file)
	if err != nil {
		return fmt.Errorf("%w: %s:\n%w", errConfig, file, err)
	}
	p.Config, p.file, p.warnings = c, file, warnings
	return nil
}

// liveBy has the family judged by what it runs by, where that can be read: the file may
// have changed since.
func (p *patient) liveBy() {
	r, err := p.status.readRunning(p.paths[0])
	if err != nil {
		return
	}
	p.changes = r.Changes(p.Config)
	r.SpeakLike(p.Config)
	p.Config, p.written = r.Config, p.Config
}

// find connects to the family.
func (p *patient) find(ctx context.Context) error {
	c, err := dial(p.paths...)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })() // nobody waits for its answer
	s, err := c.status()
	// A family that has just become ready may not have told of its rooms.
	for wait := 0; err == nil && len(s.Rooms) == 0 && wait < 100; wait++ {
		time.Sleep(20 * time.Millisecond)
		s, err = c.status()
	}
	if err != nil {
		c.Close()
		return err
	}
	p.control, p.status = c, s
	if p.temporary != nil {
		return nil
	}
	if path, err := filepath.Abs(p.file); err == nil && p.file != "" && path != s.Config {
		p.elsewhere = s.Config
	}
	// Without root every room is whoever the parent is.
	i := slices.IndexFunc(s.Rooms, func(r room) bool { return r.Name == imsg.Parent.String() })
	if i >= 0 && s.Rooms[i].UID != nil && *s.Rooms[i].UID != 0 {
		p.rooted = false
		p.identity = sandbox.Unchanged
		if uid := *s.Rooms[i].UID; uid != os.Geteuid() {
			name := host.UserName(uid)
			who, err := host.FindUser(name)
			if err != nil {
				return fmt.Errorf("find the daemon's user: %w", err)
			}
			who.Groups, _ = host.GroupsOf(name)
			p.identity = sandbox.Identity(who)
		}
	}
	return nil
}

// discharge ends what was begun for it.
func (p *patient) discharge() (err error) {
	if p.control != nil {
		p.control.Close()
	}
	if p.temporary != nil {
		err = p.temporary.stop()
	}
	return err
}

// introduction says in one line who is looked at.
func (p *patient) introduction() string {
	switch {
	case p.temporary != nil && p.failed == nil:
		return clean(fmt.Sprintf("%s: the daemon does not run; this is of a temporary one, on loopback", p.file))
	case p.status != nil:
		return clean(fmt.Sprintf("%s, and the daemon that runs, %s", p.file, p.status.Version))
	}
	return clean(fmt.Sprintf("%s: %s", p.file, p.noFamily))
}

// site is the configuration on this machine.
func (p *patient) site() *site.Site { return parent.Site(p.Config, p.rooted) }

// view is where a room stands.
func (p *patient) view(r site.Room) (site.View, error) {
	v, err := p.site().View(r)
	if err == nil && !p.rooted {
		v.Spec.Identity = p.identity
	}
	return v, err
}

// become tells whether we can look as a room; why says why not.
func (p *patient) become(v site.View) (why string) {
	if p.root || !v.Spec.Chroot && v.Spec.Identity.UID == sandbox.Unchanged.UID {
		return ""
	}
	return "only root can look as user " + host.UserName(v.Spec.Identity.UID)
}

// met are the warnings of a look at this machine about some options.
func (p *patient) met(options ...string) (all []config.Warning) {
	for _, w := range p.look().warnings {
		if slices.ContainsFunc(options, func(o string) bool { return p.Config.Called(o) == w.Option }) {
			all = append(all, w)
		}
	}
	return all
}

// slow is how long an engine may take by the configuration; 0 there is no limit.
func (p *patient) slow() time.Duration {
	longest := max(p.TimeoutScanner, p.TimeoutSpam)
	if longest == 0 {
		return time.Minute
	}
	return longest
}
