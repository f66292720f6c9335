package session

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Whatever ran out, it is said once, until a connection is accepted again.
func TestAcceptFails(t *testing.T) {
	var said strings.Builder
	w := &worker{cfg: new(imsg.SessionConfig), log: slog.New(slog.NewTextHandler(&said, nil))}
	for _, incident := range []int{1, 2} {
		for _, errno := range []syscall.Errno{syscall.ECONNABORTED, syscall.ENFILE, syscall.EMFILE, syscall.ENOBUFS, syscall.ENOMEM} {
			w.acceptFailed(os.NewSyscallError("accept4", errno))
		}
		if n := strings.Count(said.String(), "accept pauses"); n != incident {
			t.Errorf("said %d times at incident %d:\n%s", n, incident, said.String())
		}
		w.full.Store(false) // as a connection does
	}
}
