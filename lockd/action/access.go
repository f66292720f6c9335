// Whether the script can be run at all, asked before it is needed. This file owns
// the question, which only this room can ask: it is who the script will be. It
// must never run anything.

package action

import (
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// look says what keeps the script from being run.
func (a *runner) look(config *imsg.ActionConfig) {
	if config.Script == "" {
		return
	}
	for _, path := range []string{config.Program, config.Script, config.Directory} {
		if at, err := barred(path); err != nil {
			a.log.Warn("the action script cannot be run", "script", config.Script, "works_in", config.Directory,
				"closed", at, "user", os.Geteuid(), "group", os.Getegid(), "error", err,
				"remedy", "open it to this user, or name another for the script alone: one for all rooms must own the spool and the locks, too, and be in the scanners' groups")
		}
	}
	if info, err := os.Stat(config.Script); err == nil && !info.Mode().IsRegular() {
		a.log.Warn("the action script cannot be run: it is no file", "script", config.Script)
	}
}

// barred returns the first part of path that this process may not search or, at
// its end, execute.
func barred(path string) (at string, err error) {
	steps := []string{filepath.Clean(path)}
	for at := steps[0]; at != "/" && at != "."; {
		at = filepath.Dir(at)
		steps = append(steps, at)
	}
	for _, at := range slices.Backward(steps) {
		if err := unix.Faccessat(unix.AT_FDCWD, at, unix.X_OK, unix.AT_EACCESS); err != nil {
			return at, err
		}
	}
	return "", nil
}
