package verdict

import (
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestDecisive: the worst finding of a role decides, whatever stands beside it.
func TestDecisive(t *testing.T) {
	const virus, spam, threshold = imsg.RoleVirus, imsg.RoleSpam, 5.0
	clean := imsg.Finding{Roles: virus, Outcome: imsg.Clean, Problem: "clean"}
	failed := imsg.Finding{Roles: virus, Outcome: imsg.Failed, Problem: "failed"}
	late := imsg.Finding{Roles: virus, Outcome: imsg.TimedOut, Problem: "late"}
	caught := imsg.Finding{Roles: virus, Outcome: imsg.Caught, Problem: "caught"}
	bothFailed := imsg.Finding{Roles: virus | spam, Outcome: imsg.Failed, Problem: "both failed"}
	bothCaught := imsg.Finding{Roles: virus | spam, Outcome: imsg.Caught, Score: 9, Problem: "both caught"}
	ham := imsg.Finding{Roles: spam, Outcome: imsg.Clean, Score: 1, Problem: "ham"}
	better := imsg.Finding{Roles: spam, Outcome: imsg.Clean, Score: -3, Problem: "better"}
	much := imsg.Finding{Roles: spam, Outcome: imsg.Clean, Score: 7, Problem: "much"}
	more := imsg.Finding{Roles: spam, Outcome: imsg.Clean, Score: 8, Problem: "more"}
	spamFailed := imsg.Finding{Roles: spam, Outcome: imsg.Failed, Problem: "spam failed"}
	for _, tt := range []struct {
		findings    []imsg.Finding
		virus, spam string
	}{
		{nil, "", ""},
		{[]imsg.Finding{clean, ham}, "clean", "ham"},
		{[]imsg.Finding{clean, caught}, "caught", ""},
		{[]imsg.Finding{caught, clean}, "caught", ""},
		{[]imsg.Finding{failed, caught}, "caught", ""},
		{[]imsg.Finding{clean, failed}, "failed", ""},
		{[]imsg.Finding{late, failed, clean}, "late", ""},
		{[]imsg.Finding{bothFailed}, "both failed", "both failed"},
		{[]imsg.Finding{bothFailed, caught}, "caught", "both failed"},
		{[]imsg.Finding{bothCaught}, "both caught", "both caught"},
		{[]imsg.Finding{clean, bothCaught, ham}, "both caught", "both caught"},
		{[]imsg.Finding{better}, "", "better"},
		{[]imsg.Finding{better, ham}, "", "ham"},
		{[]imsg.Finding{ham, spamFailed}, "", "spam failed"},
		{[]imsg.Finding{spamFailed, much}, "", "much"},
		{[]imsg.Finding{more, much, spamFailed, ham}, "", "more"},
	} {
		if got := virusFinding(tt.findings).Problem; got != tt.virus {
			t.Errorf("%+v: %q decides over a virus", tt.findings, got)
		}
		if got := spamFinding(tt.findings, threshold).Problem; got != tt.spam {
			t.Errorf("%+v: %q decides over spam", tt.findings, got)
		}
	}
	for _, o := range []imsg.Outcome{virusFinding(nil).Outcome, spamFinding(nil, -100).Outcome} {
		if o != imsg.NotAsked {
			t.Errorf("no finding is %s", o)
		}
	}
}
