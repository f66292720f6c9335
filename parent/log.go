// That all rooms write to the same log.

package parent

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// watchSink opens the log again when its name leads to another one.
func (p *parent) watchSink() {
	if p.log.Sink == nil || p.current == nil || !p.log.Sink.Moved() {
		return
	}
	s, err := p.current.site.OpenSink()
	if err != nil { // it will be there at a later look
		if why := err.Error(); why != p.noSink {
			p.noSink = why
			p.log.Error("open the log again", "error", err)
		}
		return
	}
	p.noSink = ""
	s.Level = p.log.Sink.Level
	p.useSink(s)
	p.log.Say(logs.LevelNotice, "log opened again")
}

// useSink has everybody write to s from now on.
func (p *parent) useSink(s *host.Sink) {
	old := p.log.Use(s)
	for _, m := range p.family.children {
		if m.saidHello {
			m.tellSink(s)
		}
	}
	if old != nil {
		old.File.Close()
	}
}

// logLevel is another level than the configuration's, by which everybody logs for a while.
type logLevel struct {
	set   bool
	until time.Time   // zero: until the next reload
	timer *time.Timer // one at most, however often the level is set
}

// setLogLevel has everybody log by another level, until the next reload at most. No level
// keeps it back that this was asked for.
func (p *parent) setLogLevel(m *imsg.LogLevel) {
	if p.current == nil {
		return
	}
	p.endLogLevel()
	p.level.set = true
	if m.For > 0 {
		p.level.until = time.Now().Add(m.For)
		var timer *time.Timer
		timer = time.AfterFunc(m.For, func() {
			p.post(func() {
				if p.level.timer == timer {
					p.endLogLevel()
					p.logBy(p.current.site.LogLevel)
				}
			})
		})
		p.level.timer = timer
	}
	p.logBy(logs.SeverityErr + m.Below)
}

// endLogLevel forgets that another level was asked for.
func (p *parent) endLogLevel() {
	if p.level.timer != nil {
		p.level.timer.Stop()
	}
	p.level = logLevel{}
}

// logBy has all who write to the log in force do so by a level. A room of a generation that
// is coming has a log of its own.
func (p *parent) logBy(severity int) {
	what := "log level is set"
	if !p.level.set {
		what = "log level is that of the configuration again"
	}
	p.log.Say(logs.LevelAlways+logs.LevelNotice, what, "level", logs.Severities[severity])
	s := p.log.Sink
	s.Level = int(logs.LevelOf(severity))
	p.log.Use(s)
	for _, m := range p.family.children {
		if m.saidHello && m.gen != p.coming {
			m.tellSink(s)
		}
	}
	p.tellLogLevel()
}

// tellLogLevel has lockd told by which level everybody logs.
func (p *parent) tellLogLevel() {
	f := &p.family.report
	f.LogLevel, f.LogSet, f.LogUntil = logs.SeverityName(p.log.Sink.Level), p.level.set, 0
	if !p.level.until.IsZero() {
		f.LogUntil = p.level.until.UnixNano()
	}
	p.family.dirty = true
}
