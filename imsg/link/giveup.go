// Questions that are given up. This file owns, on the side that works on them, how
// the work hears of it.

package link

import "context"

// Context returns one that ends with parent, with the link, and when the asker
// waits no more or gives the question up. Only the handler itself may call it,
// before it returns: a GiveUp that comes sooner would be missed. cancel is due when
// the work is done.
func (r Request) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, stop := context.WithDeadline(parent, r.Until)
	c := r.conn
	c.callMu.Lock()
	c.working[r.id] = stop
	c.callMu.Unlock()
	return ctx, func() {
		c.callMu.Lock()
		delete(c.working, r.id)
		c.callMu.Unlock()
		stop()
	}
}

// givenUp ends the work on a question, if it is still worked on.
func (c *Conn) givenUp(id uint32) {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	if stop := c.working[id]; stop != nil {
		stop()
	}
}
