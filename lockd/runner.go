package lockd

import (
	"log/slog"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// maxWaiting bounds the scripts kept for a runner that is not there.
const maxWaiting = 64

// runner is the link to the room that runs the administrator's script. It owns that no
// script is lost without a word: those called for while there is no runner wait, within
// bounds, and one that dies at its work leaves the number of those it had. One that
// drains is not watched any more.
type runner struct {
	parent  *process.Parent
	log     *slog.Logger
	observe func(problem string) // how a script has ended; empty: well

	mu      sync.Mutex // no other lock of the room is taken over it
	action  link.Peer
	conn    *link.Conn  // the present end of action
	running int         // scripts it was given and has not dealt with
	waiting []*imsg.Run // for a runner that is being replaced
}

// attachRunner takes up a new runner. An older one, which drains, is left alone with
// what it has.
func (a *runner) attachRunner(r link.Request, m *imsg.Peer) error {
	a.mu.Lock()
	defer a.mu.Unlock() // the handler waits until c is known
	var c *link.Conn
	c, err := a.parent.Accept(r, m, func(r link.Request) {
		defer r.Close() // a runner has but one thing to say
		if m, ok := r.Message.(*imsg.RunDone); ok {
			a.observe(m.Problem)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if c == a.conn {
			a.running--
		}
	})
	if err != nil {
		return err
	}
	a.conn, a.running = c, 0
	a.action.Set(c)
	go func() {
		<-c.Done()
		a.mu.Lock()
		defer a.mu.Unlock()
		if c == a.conn && a.running > 0 {
			a.log.Error("the script runner has died with scripts waiting or under way", "count", a.running)
			a.observe("its runner has died")
		}
	}()
	waiting := a.waiting
	a.waiting = nil
	for _, run := range waiting {
		a.send(run)
	}
	return nil
}

// dispatch gives a script to the runner, or to its successor.
func (a *runner) dispatch(r *imsg.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.send(r)
}

// send is dispatch, with the lock held.
func (a *runner) send(r *imsg.Run) {
	err := a.action.Send(r)
	switch {
	case err == nil:
		a.running++
	case err == imsg.Gone && len(a.waiting) < maxWaiting:
		a.waiting = append(a.waiting, r)
	default:
		a.log.Error("action script is not run", imsg.SessionKey, r.Number, "found", r.Found, "error", err)
		a.observe("it is not run: " + err.Error())
	}
}
