// The command upgrade: another program takes over. This file owns how it is seen whether
// it has, for the daemon that was asked is not the one that knows.

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// takeoverTime is how long another program may take from when it is ready; then the
	// old one goes on.
	takeoverTime = 45 * time.Second
	takeoverLook = 50 * time.Millisecond
)

func (t *tool) upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Have the program that is installed now take over from the one that runs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			was, err := t.askUpgrade()
			if err != nil {
				return err
			}
			for end := time.Now().Add(takeoverTime); time.Now().Before(end); time.Sleep(takeoverLook) {
				is, version, err := t.daemon()
				if err == nil && is != was {
					return t.said("upgraded", "", fmt.Sprintf("version %s, process %d", version, is))
				}
			}
			return errors.New("the program that is installed now did not take over, the log says why; the old one goes on")
		},
	}
}

// askUpgrade asks for it, and returns which process was asked.
func (t *tool) askUpgrade() (was int, err error) {
	if was, _, err = t.daemon(); err != nil {
		return 0, err
	}
	c, err := t.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_, err = c.order(&imsg.UpgradeNow{}, reloadTime)
	if errors.Is(err, imsg.Invalid) {
		return 0, fmt.Errorf("the old one goes on: %w", err)
	}
	return was, err
}

// daemon returns the process that answers, and its version.
func (t *tool) daemon() (pid int, version string, err error) {
	c, err := t.look()
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	s, err := c.status()
	if err != nil {
		return 0, "", err
	}
	for _, r := range s.Rooms {
		if r.Name == imsg.Parent.String() {
			return r.PID, s.Version, nil
		}
	}
	return 0, "", errors.New("the daemon does not say which process it is")
}
