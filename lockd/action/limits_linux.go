// What a script may use up. The limits cannot be ours, which the script would
// inherit: the runtime could not live with them.

package action

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// limits binds the script pid, which has just been started, and with it all it
// will start. A script that is through already is no error.
func limits(pid int, config *imsg.ActionConfig) error {
	for _, l := range []struct {
		name  string
		which int
		most  int64
	}{
		{"limit its address space", unix.RLIMIT_AS, config.Virtual},
		{"limit its data segment", unix.RLIMIT_DATA, config.Data},
		{"limit the size of its files", unix.RLIMIT_FSIZE, config.File},
	} {
		if l.most == 0 {
			continue
		}
		var have unix.Rlimit
		err := unix.Prlimit(pid, l.which, nil, &have)
		if err == nil {
			n := min(uint64(l.most), have.Max)
			err = unix.Prlimit(pid, l.which, &unix.Rlimit{Cur: n, Max: n}, nil)
		}
		if err != nil && err != unix.ESRCH {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}
