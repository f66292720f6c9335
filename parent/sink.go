// Where the log goes. This file owns the choice, and that all write to the same one.

package parent

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// openSink opens what log_target says.
func openSink(c *config.Config, foreground bool) (*host.Sink, error) {
	target := destination(c, foreground, host.StderrIsJournal())
	path := target
	if strings.HasPrefix(target, "/") {
		path = c.Inside(target)
	}
	s, err := host.OpenSink(path, sinkSettings(c))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.Called("log_target"), target, err)
	}
	return s, nil
}

// openAnySink does without a log daemon that is away: that is no reason not to run.
// watchSink finds it when it is back.
func openAnySink(c *config.Config, foreground bool) (*host.Sink, error) {
	s, err := openSink(c, foreground)
	if err == nil || strings.HasPrefix(c.LogTarget, "/") {
		return s, err
	}
	fmt.Fprintln(os.Stderr, "smtp-gated: warning:", err)
	return host.NullSink(destination(c, foreground, host.StderrIsJournal()), sinkSettings(c))
}

func sinkSettings(c *config.Config) imsg.Sink {
	return imsg.Sink{Level: int(logs.LevelOf(c.LogLevel)), Facility: c.LogFacility, JSON: c.LogJSON}
}

// destination is what log_target auto amounts to. Who comes from the old daemon has
// parsers of its log, which tell sessions by the number in the tag; in the journal
// that is a process.
func destination(c *config.Config, foreground, journal bool) string {
	switch {
	case c.LogTarget != "auto":
		return c.LogTarget
	case !foreground, journal && !c.InTOML():
		return "syslog"
	case journal:
		return "journal"
	}
	return "stderr"
}

// watchSink opens the log again when its name leads to another one.
func (p *parent) watchSink() {
	if p.sink == nil || p.current == nil || !p.sink.Moved() {
		return
	}
	s, err := openSink(p.current.cfg, p.Foreground)
	if err != nil {
		return // it will be there at a later look
	}
	p.useSink(s)
	p.say(logs.LevelNotice, "log opened again")
}

// useSink has everybody write to s from now on.
func (p *parent) useSink(s *host.Sink) {
	old := p.sink
	p.sink = s
	own, err := s.Dup()
	if err == nil {
		p.output.SetSink(&s.Sink, own)
	}
	for _, m := range p.children {
		if m.greeted {
			p.tellSink(m, s)
		}
	}
	if old != nil && old != s {
		old.File.Close()
	}
}

// tellSink has a room write its log to s, and tells it how the administrator
// calls the files below its root.
func (p *parent) tellSink(m *child, s *host.Sink) {
	told := s.Sink
	told.Root = m.root(m.gen.cfg)
	p.tell(m, &told, s.File)
}

// logsToFile tells whether the log of g, or the one before it, is a file that grows.
func (p *parent) logsToFile(g *generation) bool {
	return slices.ContainsFunc([]*host.Sink{p.sink, g.sink}, func(s *host.Sink) bool { return s != nil && s.IsFile() })
}
