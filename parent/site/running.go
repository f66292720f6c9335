// The file that says which configuration is in force. Nothing depends on it: it is for
// who looks.

package site

import (
	"os"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// ShowRunning writes the configuration of a site whose rooms are in force, for root or our
// user alone.
func (h *Holdings) ShowRunning(s *Site, generation int) error {
	f, err := host.NewFresh(s.RunningFile(), 0o600)
	if err != nil {
		return err
	}
	r := &config.Running{Config: s.Config, PID: os.Getpid(), Generation: generation}
	name, err := f.FinishNamed(r.Print(f))
	if err == nil {
		h.running = name
	}
	return err
}

// removeRunning takes it away, if it is ours still.
func (h *Holdings) removeRunning() {
	if h.running != nil {
		h.running.Remove()
		h.running = nil
	}
}
