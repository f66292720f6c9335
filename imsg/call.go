// Calls: an Ask, its id, its deadline, its answer. This file owns the calls that
// are open on a link, and that what a late answer hands out is given back.

package imsg

import (
	"fmt"
	"os"
	"sync"
	"time"
)

type call struct {
	want   Type
	answer chan Message // one place; nil says the link has ended
	timer  *time.Timer
}

var callPool = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &call{answer: make(chan Message, 1), timer: t}
}}

// Call asks m and waits for its answer, at most for timeout. Failures come back
// as a Kind: Timeout, Gone when the room ended, Busy when too many calls are
// open, or what the other room said. What a late answer hands out is given back, as
// the table says.
func (c *Conn) Call(m Message, timeout time.Duration, files ...*os.File) (Message, error) {
	return c.CallUntil(nil, m, timeout, files...)
}

// CallUntil is Call, and gives the question up when done is closed: Gone is the
// error then, too, and the other room is told that it may stop.
func (c *Conn) CallUntil(done <-chan struct{}, m Message, timeout time.Duration, files ...*os.File) (Message, error) {
	e := entry(m.Type())
	if e == nil || e.Way != Ask {
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
			return nil, Busy
		case <-c.done:
			return nil, Gone
		case <-done:
			return nil, Gone
		}
		defer func() { <-c.flight }()
	}

	id := c.open(k)
	if err := c.send(m, header{id: id, until: until}, files); err != nil {
		c.forget(id, k)
		return nil, err
	}
	var answer Message
	select {
	case answer = <-k.answer:
	case <-c.done:
		if answer = c.forget(id, k); answer == nil {
			return nil, Gone
		}
	case <-done:
		if answer = c.forget(id, k); answer == nil {
			c.Send(&GiveUp{ID: id})
			return nil, Gone
		}
	case <-k.timer.C:
		if answer = c.forget(id, k); answer == nil {
			return nil, Timeout
		}
	}
	if f, ok := answer.(*Failure); ok {
		return nil, f.Kind
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
func (c *Conn) forget(id uint32, k *call) Message {
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

// settle gives an answer to its call. It complains about one of the wrong type;
// an answer nobody waits for any more is late, and what it hands out goes back.
func (c *Conn) settle(id uint32, m Message) error {
	c.callMu.Lock()
	defer c.callMu.Unlock()
	k := c.calls[id]
	if k == nil {
		if e := entry(m.Type()); e.Back != nil {
			if back := e.Back(m); back != nil {
				c.Send(back)
			}
		}
		return nil
	}
	if t := m.Type(); t != k.want && t != tFailure {
		return bad("%s answers a call for %s", Table[t].Name, Table[k.want].Name)
	}
	delete(c.calls, id)
	k.answer <- m
	return nil
}
