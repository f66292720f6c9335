package sandbox

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// Confine leaves no file, no new socket, no program to run, and no capability but
// those of r, for good. Of Landlock it takes what the kernel has.
func Confine(r Rights) error {
	if err := dropCapabilities(r.Capabilities); err != nil {
		return err
	}
	if err := setNoNewPrivs(); err != nil {
		return err
	}
	landlocked := landlock.V5.BestEffort()
	if err := landlocked.RestrictPaths(); err != nil {
		return fmt.Errorf("no files: %w", err)
	}
	if err := landlocked.RestrictNet(); err != nil {
		return fmt.Errorf("no calls: %w", err)
	}
	return closeCalls()
}
