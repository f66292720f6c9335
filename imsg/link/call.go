// Calls: a question, its id, its deadline, its answer. This file owns the calls
// that are open on a link, and that what a late answer hands out is given back.

package link

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
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

func (c *Conn) open(k *call) uint32 {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	for {
		c.lastID++
		if _, taken := c.calls[c.lastID]; c.lastID != 0 && !taken {
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
func (c *Conn) settle(e *imsg.Entry, id uint32, m imsg.Message) error {
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
	delete(c.calls, id)
	k.answer <- m
	return nil
}
