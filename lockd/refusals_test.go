package lockd

import (
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestRefusalsOfALock: how often a client was turned away is known as long as its lock
// lasts, and no longer; who is let in though a rule only looks was not.
func TestRefusalsOfALock(t *testing.T) {
	h := open(t, plan{config: usual()})
	w := h.worker(0)
	const client = "192.0.2.7"
	counted := func(want uint64) {
		t.Helper()
		if n := h.server.refusals.Of(client); n != want {
			t.Errorf("turned away %d times, want %d", n, want)
		}
	}
	refused := func(times int) {
		t.Helper()
		for range times {
			if a := w.enter(client); a.Refusal != imsg.RefusedLocked {
				t.Fatalf("%+v", a)
			}
		}
	}
	caught := w.enter(client)
	w.offend(imsg.Offence{Number: caught.Number, Transaction: 1, Found: imsg.FoundVirus})
	refused(3)
	counted(3)

	// Whoever removes the file: its client comes in, or an operator sees to it.
	h.server.locks.Files.Remove(client)
	let := w.enter(client)
	counted(0)
	w.offend(imsg.Offence{Number: let.Number, Transaction: 1, Found: imsg.FoundVirus})
	refused(2)
	h.server.locks.Files.Remove(client)
	w.offend(imsg.Offence{Number: let.Number, Transaction: 2, Found: imsg.FoundVirus})
	counted(0)
	refused(1)
	h.clock.move(2 * time.Hour)
	w.enter(client)
	counted(0)

	h = open(t, plan{config: func() imsg.LockdConfig {
		c := usual()
		c.Monitored = c.Monitored.With(imsg.RuleLocked)
		return c
	}()})
	w = h.worker(0)
	h.write(client, "VIRUS\n")
	if a := w.enter(client); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	counted(0)
}
