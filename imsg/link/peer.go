// The place of a peer that may die and be replaced while we live.

package link

import (
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Peer holds the current connection to a peer room. Its zero value waits for the
// first one.
type Peer struct {
	mu      sync.Mutex
	conn    *Conn
	changed chan struct{} // closed when conn changes; nil if nobody waits
}

// Set puts a fresh connection in place; an older one is closed.
func (p *Peer) Set(c *Conn) {
	p.mu.Lock()
	old := p.conn
	p.conn = c
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// Get returns the connection if it is alive, else nil.
func (p *Peer) Get() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.conn.closed.Load() {
		return nil
	}
	return p.conn
}

// wait returns a live connection, waiting for one at most for timeout, and until
// done is closed.
func (p *Peer) wait(done <-chan struct{}, timeout time.Duration) *Conn {
	if c := p.Get(); c != nil {
		return c
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	for {
		p.mu.Lock()
		if p.conn != nil && !p.conn.closed.Load() {
			c := p.conn
			p.mu.Unlock()
			return c
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return nil
		case <-t.C:
			return nil
		}
	}
}

// call asks the current peer, waiting for one if it is just being replaced; both
// together take at most timeout. A peer that ends before it answers is Gone: the
// question is not asked twice.
func (p *Peer) call(done <-chan struct{}, m imsg.Message, timeout time.Duration, files []*os.File) (imsg.Message, error) {
	c := p.Get()
	if c == nil {
		start := time.Now()
		if c = p.wait(done, timeout); c == nil {
			return nil, imsg.Gone
		}
		timeout -= time.Since(start)
	}
	return c.call(done, m, timeout, files)
}

// Send tells the current peer; Gone if there is none.
func (p *Peer) Send(m imsg.Notice, files ...*os.File) error {
	c := p.Get()
	if c == nil {
		return imsg.Gone
	}
	return c.Send(m, files...)
}
