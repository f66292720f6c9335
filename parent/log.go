// That all rooms write to the same log.

package parent

import (
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
