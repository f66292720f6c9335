// Reload: the file is read first, and only if all of it is right a new generation
// is started beside the old one, which ends with its last session.

package parent

import (
	"errors"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// maxGenerations bounds how many live at once. One that must end is not counted.
const maxGenerations = 8

// errStopping answers a reload that does not begin.
var errStopping = errors.New("the family is about to end")

// reloads are the wishes for one.
type reloads struct {
	asked   []func(error) // who wants one more, as soon as it may be
	ignored []string      // options of the last one whose change needs a restart
}

// answerAll returns what tells all who have asked until now how it went.
func (r *reloads) answerAll() func(error) {
	asked := r.asked
	r.asked = nil
	return func(err error) {
		for _, done := range asked {
			done(err)
		}
	}
}

// reload is asked for by a signal or by an operator; done, if not nil, is told
// how it went.
func (p *parent) reload(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if p.stopping {
		done(errStopping)
		return
	}
	p.reloads.asked = append(p.reloads.asked, done)
	if !p.changing() && p.heir == nil {
		p.startReload()
	}
}

func (p *parent) startReload() {
	answer := p.reloads.answerAll()
	p.reloads.ignored = nil
	p.notify.Reloading()
	done := func(err error) {
		if err != nil {
			p.log.Error("reload failed, nothing has changed", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
			p.family.trouble(imsg.FindingReload, "", host.OneLine(err))
			if !p.stopping {
				p.sayServing("serving; the last reload failed: " + host.OneLine(err))
			}
		} else {
			p.family.success(imsg.FindingReload, "")
			p.family.report.Reloaded = time.Now().UnixNano()
			p.family.dirty = true
		}
		answer(err)
	}
	c, warnings, err := config.Read(p.Config)
	if err != nil {
		done(err)
		return
	}
	p.log.Say(logs.LevelNotice, "reloading", "file", p.Config)
	p.log.Warnings(warnings)
	for _, name := range c.Keep(p.current.site.Config) {
		p.log.Warn("this option needs a restart, its change is ignored", "option", name)
		p.reloads.ignored = append(p.reloads.ignored, name)
	}
	s := p.site(c)
	if err = p.holdings.Affords(s); err == nil {
		err = p.begin(s, done)
	}
	if err != nil {
		done(err)
	}
}

// outcome is how an operator is told of a reload.
func (r *reloads) outcome(err error) *imsg.Done {
	if err == nil && len(r.ignored) > 0 {
		return &imsg.Done{Detail: cut("without what needs a restart: " + strings.Join(r.ignored, ", "))}
	}
	if err == nil {
		return &imsg.Done{}
	}
	return &imsg.Done{Errno: imsg.Invalid, Detail: cut(err.Error())}
}

// upgradeOutcome is how an operator is told of an upgrade.
func upgradeOutcome(err error) *imsg.Done {
	if err == nil {
		return &imsg.Done{}
	}
	return &imsg.Done{Errno: imsg.Invalid, Detail: cut(err.Error())}
}

// cut makes a text fit a Done.
func cut(text string) string { return text[:min(len(text), 4000)] }
