// The state file: lockd writes it, into a file opened here; the parent renames it
// when it is complete, so that nobody ever reads half of one.

package parent

import (
	"fmt"
	"io/fs"
	"os"
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
	path := p.current.cfg.Inside(p.current.cfg.StateFile)
	f, err := openDump(path+".tmp", fs.FileMode(p.current.cfg.StateFilePerm))
	if err != nil {
		p.log.Error("write state file", "error", err)
		return
	}
	p.dumping = true
	go func() {
		done, err := link.Ask(keeper.conn, &imsg.Dump{}, dumpTimeout, f)
		if err == nil && done.Errno != 0 {
			err = done.Errno
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(path+".tmp", path)
		} else {
			os.Remove(path + ".tmp")
		}
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

// openDump makes a fresh file: an old one may be half written, or a trap.
func openDump(path string, perm fs.FileMode) (*os.File, error) {
	os.Remove(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, fmt.Errorf("make state file: %w", err)
	}
	return f, nil
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
