// When a state file is written: by lockd, one at a time.

package parent

import (
	"io/fs"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

const dumpTimeout = 10 * time.Second

// dumps is what is to be written.
type dumps struct {
	running bool
	wanted  bool // one more
}

// dump asks for a fresh state file: at once, or when the last one is written, or
// when lockd, just being replaced, is back.
func (p *parent) dump() {
	lockd := p.family.lasting()
	if p.dumps.running || lockd == nil {
		p.dumps.wanted = true
		return
	}
	p.dumps.wanted = false
	s := p.current.site
	f, err := host.NewFresh(s.Inside(s.StateFile), fs.FileMode(s.StateFilePerm))
	if err != nil {
		p.log.Error("write state file", "error", err)
		return
	}
	p.dumps.running = true
	go func() {
		done, err := link.Ask(lockd.Link, &imsg.Dump{}, dumpTimeout, f.File)
		if err == nil && done.Errno != 0 {
			err = done.Errno
		}
		err = f.Finish(err)
		p.post(func() { p.dumped(err) })
	}()
}

func (p *parent) dumped(err error) {
	p.dumps.running = false
	if err != nil {
		p.log.Error("write state file", "error", err)
	}
	if p.dumps.wanted {
		p.dump()
	}
}
