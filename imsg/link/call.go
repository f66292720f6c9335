// Calls: a question, its id, its deadline, its answer. This file owns the calls
// that are open on a link, and that what a late answer hands out is given back.

package link

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// Caller is who can be asked: a Conn, or a Peer that may be replaced.
type Caller interface {
	call(done <-chan struct{}, m imsg.Message, timeout time.Duration, files []*os.File) (imsg.Message, error)
}

// Ask asks q of c and waits for its answer, at most for timeout. The files stay the
// caller's. Failures come back as an imsg.Errno: Timeout, Gone when the room ended,
// Busy when too many calls are open, or what the other room said. What a late answer
// hands out is given back, as the table says.
func Ask[A any](c Caller, q imsg.Question[A], timeout time.Duration, files ...*os.File) (*A, error) {
	return AskUntil(c, nil, q, timeout, files...)
}

// AskUntil is Ask, and gives the question up when done is closed: Gone is the error
// then, too, and the other room is told that it may stop.
func AskUntil[A any](c Caller, done <-chan struct{}, q imsg.Question[A], timeout time.Duration, files ...*os.File) (*A, error) {
	m, err := c.call(done, q, timeout, files)
	if err != nil {
		return nil, err
	}
	a, ok := m.(*A)
	if !ok { // settle has seen to it
		return nil, imsg.Internal
	}
	return a, nil
}

type call struct {
	want   string            // the name of the answer's type
	answer chan imsg.Message // one place; nil says the link has ended
	timer  *time.Timer
	then   func(*loop.Turn, imsg.Message, error) // hears the answer in place of who waits at answer
	stop   func() bool                           // of then: has its context leave it alone; nil: it has none that ends
}

var callPool = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &call{answer: make(chan imsg.Message, 1), timer: t}
}}

func (c *Conn) call(done <-chan struct{}, m imsg.Message, timeout time.Duration, files []*os.File) (imsg.Message, error) {
	e := imsg.Row(m)
	if e == nil || e.Way != imsg.Ask {
		return nil, fmt.Errorf("ask %s: message %T is not asked", c.peer, m)
	}
	until := monotonic() + int64(timeout)
	k := callPool.Get().(*call)
	k.want = e.Answer
	k.timer.Reset(timeout)
	defer func() {
		k.timer.Stop()
		callPool.Put(k)
	}()

	// A report is not lost because many questions wait for their answers.
	if !e.Report {
		select {
		case c.flight <- struct{}{}:
		case <-k.timer.C:
			return nil, imsg.Busy
		case <-c.done:
			return nil, imsg.Gone
		case <-done:
			return nil, imsg.Gone
		}
		defer func() { <-c.flight }()
	}

	id := c.open(k)
	if err := c.send(e, m, header{id: id, until: until}, files); err != nil {
		c.forget(id, k)
		return nil, err
	}
	var answer imsg.Message
	select {
	case answer = <-k.answer:
	case <-c.done:
		if answer = c.forget(id, k); answer == nil {
			return nil, imsg.Gone
		}
	case <-done:
		if answer = c.forget(id, k); answer == nil {
			c.Send(&imsg.GiveUp{ID: id})
			return nil, imsg.Gone
		}
	case <-k.timer.C:
		if answer = c.forget(id, k); answer == nil {
			return nil, imsg.Timeout
		}
	}
	if f, ok := answer.(*imsg.Failure); ok {
		return nil, f.Errno
	}
	return answer, nil
}

// AskThen is AskUntil ctx is over, without waiting: then hears the answer or the error, once,
// in a goroutine of the link's that it must not keep, in whose turn, if it has one. The
// answer, and all that then does, are one step for Replace. False: it could not be asked
// without waiting, and then hears nothing.
func AskThen[A any](ctx context.Context, p *Peer, q imsg.Question[A], timeout time.Duration, then func(*loop.Turn, *A, error), files ...*os.File) bool {
	c := p.tryHold()
	if c == nil {
		return false
	}
	asked := c.callThen(ctx, q, timeout, files, func(turn *loop.Turn, m imsg.Message, err error) {
		defer p.release(c)
		if f, ok := m.(*imsg.Failure); ok {
			err = f.Errno
		}
		a, ok := m.(*A)
		if err == nil && !ok { // settle has seen to it
			err = imsg.Internal
		}
		then(turn, a, err)
	})
	if !asked {
		p.release(c)
	}
	return asked
}

// callThen is call for who does not wait.
func (c *Conn) callThen(ctx context.Context, m imsg.Message, timeout time.Duration, files []*os.File, then func(*loop.Turn, imsg.Message, error)) bool {
	e := imsg.Row(m)
	select {
	case c.flight <- struct{}{}:
	default:
		return false
	}
	k := &call{want: e.Answer, then: then}
	c.callMu.Lock()
	id := c.enlist(k)
	k.timer = time.AfterFunc(timeout, func() { c.end(id, k, nil, nil, imsg.Timeout) })
	c.callMu.Unlock()
	if c.send(e, m, header{id: id, until: monotonic() + int64(timeout)}, files) == nil {
		c.giveUpWith(ctx, id, k)
		return true
	}
	if !c.taken(id, k) {
		return true
	}
	c.settled(k)
	return false
}

// giveUpWith has a call that is put given up when ctx is over.
func (c *Conn) giveUpWith(ctx context.Context, id uint32, k *call) {
	if ctx.Done() == nil {
		return
	}
	c.callMu.Lock()
	defer c.callMu.Unlock()
	if c.calls[id] != k {
		return
	}
	k.stop = context.AfterFunc(ctx, func() {
		if c.end(id, k, nil, nil, imsg.Gone) {
			c.Send(&imsg.GiveUp{ID: id})
		}
	})
}

// settled gives back what a call held of which somebody does not wait for the answer.
func (c *Conn) settled(k *call) {
	k.timer.Stop()
	if k.stop != nil {
		k.stop()
	}
	<-c.flight
}

// end has who does not wait hear what came of a call, unless it has: behind what a reader
// takes, or at once.
func (c *Conn) end(id uint32, k *call, by *reader, m imsg.Message, err error) bool {
	if !c.taken(id, k) {
		return false
	}
	c.settled(k)
	if by == nil {
		k.then(nil, m, err)
	} else {
		by.behind = append(by.behind, func(turn *loop.Turn) { k.then(turn, m, err) })
	}
	return true
}

// taken takes a call off the list. False: it was taken off before.
func (c *Conn) taken(id uint32, k *call) bool {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	if c.calls[id] != k {
		return false
	}
	delete(c.calls, id)
	return true
}

// endAll has those hear who do not wait that the link has ended.
func (c *Conn) endAll() {
	c.callMu.Lock()
	all := make(map[uint32]*call)
	for id, k := range c.calls {
		if k.then != nil {
			all[id] = k
		}
	}
	c.callMu.Unlock()
	for id, k := range all { // who hears so may go on for long
		go c.end(id, k, nil, nil, imsg.Gone)
	}
}

func (c *Conn) open(k *call) uint32 {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	return c.enlist(k)
}

// enlist puts a call on the list; callMu is held.
func (c *Conn) enlist(k *call) uint32 {
	for {
		c.lastID++
		if _, used := c.calls[c.lastID]; c.lastID != 0 && !used {
			c.calls[c.lastID] = k
			return c.lastID
		}
	}
}

// forget takes a call off the list and returns an answer that came meanwhile.
func (c *Conn) forget(id uint32, k *call) imsg.Message {
	c.callMu.Lock()
	delete(c.calls, id)
	c.callMu.Unlock()
	select {
	case m := <-k.answer:
		return m
	default:
		return nil
	}
}

// settle gives an answer of e's type to its call. It complains about one of the
// wrong type; an answer nobody waits for any more is late, and what it hands out
// goes back.
func (c *Conn) settle(e *imsg.Entry, id uint32, m imsg.Message, by *reader) error {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	k := c.calls[id]
	if k == nil {
		if e.Back != nil {
			if back := e.Back(m); back != nil {
				c.Send(back)
			}
		}
		return nil
	}
	if _, failed := m.(*imsg.Failure); !failed && e.Name != k.want {
		return bad("%s answers a call for %s", e.Name, k.want)
	}
	if k.then != nil {
		c.callMu.Unlock()
		defer c.callMu.Lock()
		c.end(id, k, by, m, nil)
		return nil
	}
	delete(c.calls, id)
	k.answer <- m
	return nil
}
