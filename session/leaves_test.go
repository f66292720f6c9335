package session

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestLeavesGoAhead: who comes behind another is not judged by that one, whether lockd hears
// of ends at once or with the next who comes; and if nobody comes, it hears of them as well.
func TestLeavesGoAhead(t *testing.T) {
	for name, alone := range map[string]bool{"one worker": true, "several": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { c.Alone = alone }) // with one that stays
			come := func() (client, server *talker) {
				client = r.dial()
				c, err := r.listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				return client, newTalker(t, "server", c)
			}
			var late, gone uint64
			r.set(func() {
				r.onEnter = func(uint64) {
					if uint64(len(r.left)) < gone {
						late++
					}
				}
			})
			for n := range 50 {
				client, server := come()
				server.say("220 mx.example\r\n")
				client.hears("220 mx.example\r\n")
				client.say("QUIT\r\n")
				server.hears("QUIT\r\n")
				server.say("221 bye\r\n")
				client.hears("221 bye\r\n")
				server.conn.Close()
				client.end()
				client.conn.Close()
				imsgtest.Until(t, "its end", func() bool { return strings.Count(r.Text(), "CLOSE by=") == n+1 })
				r.set(func() { gone++ })
				time.Sleep(rand.N(2 * leaveWait)) // the next one comes before it, behind it, or just then
			}
			r.seen("all that have ended", func() bool { return uint64(len(r.left)) == gone })
			r.set(func() {
				if late > 0 {
					t.Errorf("%d were asked about before the one that had ended", late)
				}
				if !slices.IsSorted(r.left) {
					t.Errorf("%v", r.left)
				}
			})
		})
	}
}

// TestLeavesAtTheEnd: a worker that drains leaves nothing untold.
func TestLeavesAtTheEnd(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.Alone = true })
	other := r.dial()
	c, err := r.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := newTalker(t, "server", c)
	server.say("220 mx.example\r\n")
	other.hears("220 mx.example\r\n")
	server.conn.Close()
	other.conn.Close()
	r.Tell(&imsg.Drain{})
	wait(t, r.drains)
	r.client.conn.Close()
	r.server.conn.Close()
	r.seen("both leave", func() bool { return len(r.left) == 2 })
}
