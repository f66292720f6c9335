// Reload: the file is read first, and only if all of it is right a new generation
// is started beside the old one, which ends with its last session.

package parent

import (
	"errors"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// maxGenerations bounds how many live at once. One that must end is not counted.
const maxGenerations = 8

// errStopping answers a reload that does not begin.
var errStopping = errors.New("the family is about to end")

// reload is asked for by a signal or by an operator; done, if not nil, is told
// how it went.
func (p *parent) reload(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	switch {
	case p.stopping:
		done(errStopping)
	case p.coming != nil || p.taking != nil:
		p.asked = append(p.asked, done)
	default:
		p.asked = append(p.asked, done)
		p.readAgain()
	}
}

func (p *parent) readAgain() {
	asked := p.asked
	p.asked, p.ignored = nil, nil
	p.notify.Reloading()
	done := func(err error) {
		if err != nil {
			p.log.Error("reload failed, nothing has changed", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
			if !p.stopping {
				p.notify.Ready("serving; the last reload failed: " + host.OneLine(err))
			}
		} else {
			p.report.Reloaded = time.Now().UnixNano()
			p.familyDirty = true
		}
		for _, f := range asked {
			f(err)
		}
	}
	c, warnings, err := config.Load(p.Config)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		done(err)
		return
	}
	p.log.Say(logs.LevelNotice, "reloading", "file", p.Config)
	p.log.Warnings(warnings)
	for _, name := range c.Keep(p.current.site.Config) {
		p.log.Warn("this option needs a restart, its change is ignored", "option", name)
		p.ignored = append(p.ignored, name)
	}
	if err := p.begin(p.site(c), done); err != nil {
		done(err)
	}
}
