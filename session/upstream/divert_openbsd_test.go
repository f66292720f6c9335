package upstream

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// anchor is where pf.conf lets the test put its rules: anchor "smtp-gated-test". It
// may not say "set skip on lo".
const anchor = "smtp-gated-test"

// TestDivert: with divert-to getsockname(2) tells whom the client called.
func TestDivert(t *testing.T) {
	if rules := imsgtest.Command(t, "", "pfctl", "-s", "rules"); !strings.Contains(rules, `anchor "`+anchor+`"`) {
		imsgtest.Lacks(t, "pf.conf has no anchor %q", anchor)
	}
	l := imsgtest.Loopback(t)
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	to := imsgtest.Elsewhere
	rule := fmt.Sprintf("pass in quick on lo0 inet proto tcp to %v port %d divert-to 127.0.0.1 port %s\n", to.Addr(), to.Port(), port)
	imsgtest.Command(t, rule, "pfctl", "-a", anchor, "-f", "-")
	t.Cleanup(func() { exec.Command("pfctl", "-a", anchor, "-F", "rules").Run() })
	if got := imsgtest.Redirected(t, l).LocalAddr().String(); got != to.String() {
		t.Errorf("%s, want %v", got, to)
	}
}
