// The place of a peer that may die and be replaced while we live.

package imsg

import (
	"os"
	"sync"
	"time"
)

// Link holds the current connection to a peer room. Its zero value waits for the
// first one.
type Link struct {
	mu      sync.Mutex
	conn    *Conn
	changed chan struct{} // closed when conn changes; nil if nobody waits
}

// Set puts a fresh connection in place; an older one is closed.
func (l *Link) Set(c *Conn) {
	l.mu.Lock()
	old := l.conn
	l.conn = c
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// Get returns the connection if it is alive, else nil.
func (l *Link) Get() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.closed.Load() {
		return nil
	}
	return l.conn
}

// wait returns a live connection, waiting for one at most for timeout, and until
// done is closed.
func (l *Link) wait(done <-chan struct{}, timeout time.Duration) *Conn {
	if c := l.Get(); c != nil {
		return c
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	for {
		l.mu.Lock()
		if l.conn != nil && !l.conn.closed.Load() {
			c := l.conn
			l.mu.Unlock()
			return c
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return nil
		case <-t.C:
			return nil
		}
	}
}

// Call asks the current peer, waiting for one if it is just being replaced; both
// together take at most timeout. A peer that ends before it answers is Gone: the
// question is not asked twice.
func (l *Link) Call(m Message, timeout time.Duration, files ...*os.File) (Message, error) {
	return l.CallUntil(nil, m, timeout, files...)
}

// CallUntil is Call, and gives the question up when done is closed.
func (l *Link) CallUntil(done <-chan struct{}, m Message, timeout time.Duration, files ...*os.File) (Message, error) {
	c := l.Get()
	if c == nil {
		start := time.Now()
		if c = l.wait(done, timeout); c == nil {
			return nil, Gone
		}
		timeout -= time.Since(start)
	}
	return c.CallUntil(done, m, timeout, files...)
}

// Send tells the current peer; Gone if there is none.
func (l *Link) Send(m Message, files ...*os.File) error {
	c := l.Get()
	if c == nil {
		return Gone
	}
	return c.Send(m, files...)
}
