// The place of a peer that may be replaced while we live: it died, or another takes over
// from it. This file owns that nobody who asks falls between the two.

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
	next    *Conn         // takes the place of conn when that has answered
	held    int           // how many speak to conn and are not through
	changed chan struct{} // closed when one of these changes; nil if nobody waits
}

// Set puts a fresh connection in place; an older one is closed.
func (p *Peer) Set(c *Conn) { p.Replace(c, 0, func() {}) }

// Replace puts a fresh connection in place. Who has asked the older one gets its answer
// first, and does what follows from it, if that takes no longer than patience; who asks
// meanwhile waits for the fresh one, which is greeted before anybody else speaks to it.
// Replace waits for none of this. Of two fresh ones the later counts. What greet waits for
// nobody may hold who speaks to the peer: that waits for greet.
func (p *Peer) Replace(c *Conn, patience time.Duration, greet func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		p.next.Close()
		p.next = nil
	}
	if p.held == 0 || patience <= 0 {
		p.swap(c, greet)
		return
	}
	p.next = c
	go p.replaceSoon(c, patience, greet)
}

// replaceSoon is Replace when it has to wait.
func (p *Peer) replaceSoon(c *Conn, patience time.Duration, greet func()) {
	t := time.NewTimer(patience)
	defer t.Stop()
	late := false
	for {
		p.mu.Lock()
		if p.next != c {
			p.mu.Unlock()
			return
		}
		if late || p.held == 0 {
			p.next = nil
			p.swap(c, greet)
			p.mu.Unlock()
			return
		}
		changed := p.change()
		p.mu.Unlock()
		select {
		case <-changed:
		case <-t.C:
			late = true
		}
	}
}

// swap puts c in place; mu is held.
func (p *Peer) swap(c *Conn, greet func()) {
	greet()
	old := p.conn
	p.conn, p.held = c, 0
	p.wake()
	if old != nil {
		old.Close()
	}
}

// change is closed with the next change; mu is held.
func (p *Peer) change() chan struct{} {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// wake says that something has changed; mu is held.
func (p *Peer) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
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

// Hold is a connection to a peer that no other takes the place of until Release.
type Hold struct {
	*Conn
	peer *Peer
}

// Hold waits for a live connection, at most for timeout; nil: there is none. What is
// asked of it, and what follows from the answer, is one step for Replace.
func (p *Peer) Hold(timeout time.Duration) *Hold {
	if c := p.hold(nil, timeout); c != nil {
		return &Hold{c, p}
	}
	return nil
}

// Release lets another take its place.
func (h *Hold) Release() { h.peer.release(h.Conn) }

// hold returns a live connection, for which it waits at most for timeout, and until done
// is closed.
func (p *Peer) hold(done <-chan struct{}, timeout time.Duration) *Conn {
	var late <-chan time.Time
	for {
		p.mu.Lock()
		if p.next == nil && p.conn != nil && !p.conn.closed.Load() {
			defer p.mu.Unlock()
			p.held++
			return p.conn
		}
		changed := p.change()
		p.mu.Unlock()
		if late == nil {
			t := time.NewTimer(timeout)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-changed:
		case <-done:
			return nil
		case <-late:
			return nil
		}
	}
}

// tryHold is hold without waiting.
func (p *Peer) tryHold() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil || p.conn == nil || p.conn.closed.Load() {
		return nil
	}
	p.held++
	return p.conn
}

func (p *Peer) release(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != c {
		return
	}
	if p.held--; p.held == 0 && p.next != nil {
		p.wake()
	}
}

// call asks the current peer, waiting for one if it is just being replaced; both
// together take at most timeout. A peer that ends before it answers is Gone: the
// question is not asked twice.
func (p *Peer) call(done <-chan struct{}, m imsg.Message, timeout time.Duration, files []*os.File) (imsg.Message, error) {
	start := time.Now()
	c := p.hold(done, timeout)
	if c == nil {
		return nil, imsg.Gone
	}
	defer p.release(c)
	return c.call(done, m, timeout-time.Since(start), files)
}

// Send tells the current peer; Gone if there is none.
func (p *Peer) Send(m imsg.Notice, files ...*os.File) error {
	c := p.Get()
	if c == nil {
		return imsg.Gone
	}
	return c.Send(m, files...)
}
