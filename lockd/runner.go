// The link to the room that runs the administrator's script. This file owns that
// no script is lost without a word: those called for while there is no runner
// wait, within bounds, and one that dies at its work leaves the number of those it
// had. One that drains is not watched any more.

package lockd

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// maxWaiting bounds the scripts kept for a runner that is not there.
const maxWaiting = 64

// employ takes up a new runner. An older one, which drains, is left alone with
// what it has.
func (k *keeper) employ(r link.Request, m *imsg.Peer) error {
	k.mu.Lock()
	defer k.mu.Unlock() // the handler waits until c is known
	var c *link.Conn
	c, err := k.parent.Accept(r, m, func(r link.Request) {
		r.Close() // a runner has but one thing to say
		k.mu.Lock()
		defer k.mu.Unlock()
		if c == k.runner {
			k.running--
		}
	})
	if err != nil {
		return err
	}
	k.runner, k.running = c, 0
	k.action.Set(c)
	go func() {
		<-c.Done()
		k.mu.Lock()
		defer k.mu.Unlock()
		if c == k.runner && k.running > 0 {
			k.log.Error("the script runner has died with scripts waiting or under way", "count", k.running)
		}
	}()
	waiting := k.waiting
	k.waiting = nil
	for _, run := range waiting {
		k.hand(run)
	}
	return nil
}

// hand gives a script to the runner, or to its successor.
func (k *keeper) hand(r *imsg.Run) {
	err := k.action.Send(r)
	switch {
	case err == nil:
		k.running++
	case err == imsg.Gone && len(k.waiting) < maxWaiting:
		k.waiting = append(k.waiting, r)
	default:
		k.log.Error("action script is not run", imsg.SessionKey, r.Number, "found", r.Found, "error", err)
	}
}
