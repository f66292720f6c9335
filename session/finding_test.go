package session

import (
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestSecondEngineCatches: one of two engines fails, the other one catches.
func TestSecondEngineCatches(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() {
		r.verdict = found(imsg.Finding{Outcome: imsg.Failed, Problem: "gone"}, imsg.Finding{Outcome: imsg.Clean})
		r.verdict.Findings = append(r.verdict.Findings, imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Caught, Name: "V"})
	})
	r.data()
	r.text("x\r\n")
	r.client.say(".\r\n")
	r.client.hears("550 5.7.1 gate.example msg_virus_found (V)\r\n")
	r.server.end()
	if o := r.offence(); o.Virus != "V" {
		t.Errorf("offence %+v", o)
	}
}
