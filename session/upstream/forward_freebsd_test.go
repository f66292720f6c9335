package upstream

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestForward: with ipfw's fwd getsockname(2) tells whom the client called.
func TestForward(t *testing.T) {
	const number = "17" // of the rule, before all that usually are
	if rules := imsgtest.Command(t, "", "ipfw", "list"); strings.Contains("\n"+rules, "\n000"+number+" ") {
		imsgtest.Lacks(t, "ipfw has a rule %s already", number)
	}
	l := imsgtest.Loopback(t)
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	to := imsgtest.Elsewhere
	imsgtest.Command(t, "", "ipfw", "-q", "add", number, "fwd", "127.0.0.1,"+port, "tcp", "from", "any", "to", to.Addr().String(), fmt.Sprint(to.Port()), "in")
	t.Cleanup(func() { exec.Command("ipfw", "-q", "delete", number).Run() })
	if got := imsgtest.Redirected(t, l).LocalAddr().String(); got != to.String() {
		t.Errorf("%s, want %v", got, to)
	}
}
