package main

import (
	"os"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestEventsOfAGoneDaemon: one that goes and does not come back is waited for no longer
// than was asked.
func TestEventsOfAGoneDaemon(t *testing.T) {
	var socket string
	socket = lockdAt(t, func(r link.Request) {
		if m := r.Message.(*imsg.EventsAfter); m.Kinds == 0 { // the number of the newest
			family.Answer(r, &imsg.EventList{})
			return
		}
		os.Remove(socket)
		r.From().Close()
	})
	begun := time.Now()
	code, out, errs := gatectl("--socket", socket, "events", "--once", "--timeout", "100ms")
	if code != exitFailed || out != "" || time.Since(begun) > comeback/2 {
		t.Errorf("exit %d after %v: %s%s", code, time.Since(begun), out, errs)
	}
}
