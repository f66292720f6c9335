// When a state file is written: by lockd, one at a time.

package parent

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

const dumpTimeout = 10 * time.Second

// dump asks for a fresh state file: at once, or when the last one is written, or
// when lockd, just being replaced, is back.
func (p *parent) dump() {
	keeper := p.keeper()
	if p.dumping || keeper == nil {
		p.dumpWanted = true
		return
	}
	p.dumpWanted = false
	f, err := p.current.site.NewStateFile()
	if err != nil {
		p.log.Error("write state file", "error", err)
		return
	}
	p.dumping = true
	go func() {
		done, err := link.Ask(keeper.Link, &imsg.Dump{}, dumpTimeout, f.File)
		if err == nil && done.Errno != 0 {
			err = done.Errno
		}
		err = f.Finish(err)
		p.post(func() { p.dumped(err) })
	}()
}

func (p *parent) dumped(err error) {
	p.dumping = false
	if err != nil {
		p.log.Error("write state file", "error", err)
	}
	if p.dumpWanted {
		p.dump()
	}
}

// keeper returns lockd if it is at work.
func (p *parent) keeper() *child {
	for _, m := range p.children {
		if m.lasting && m.state == imsg.Running && !m.stopping {
			return m
		}
	}
	return nil
}
