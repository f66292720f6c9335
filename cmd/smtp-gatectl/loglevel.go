// The command loglevel: more of the log, or less, for a while.

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
)

// settable are the levels that may be set: errors are always logged.
var settable = logs.Severities[logs.SeverityErr:]

func (t *tool) logLevelCommand() *cobra.Command {
	until := lasting{most: imsg.MaxLogTime}
	cmd := &cobra.Command{
		Use:   "loglevel [LEVEL]",
		Short: "Show what is logged, or have all rooms log more or less until the next reload",
		Long: `loglevel shows the least important level that is logged, or sets it until the next
reload or restart, or for a time. The levels are ` + strings.Join(settable, ", ") + ".",
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: settable,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return t.setLogLevel(args[0], until)
			case until.Duration > 0:
				return fmt.Errorf("%w: --for goes with a LEVEL", errUsage)
			}
			return t.showLogLevel()
		},
	}
	cmd.Flags().Var(&until, "for", "for how long, as 10m (default: until the next reload)")
	return cmd
}

func (t *tool) setLogLevel(name string, until lasting) error {
	below := slices.Index(settable, name)
	if below < 0 {
		return fmt.Errorf("%w: %q is no level to set: there are %s", errUsage, name, strings.Join(settable, ", "))
	}
	done := "logging from " + name + " on"
	if until.Duration > 0 {
		done += " for " + span(until.Duration)
	}
	return t.order(&imsg.SetLogLevel{Below: below, For: until.Duration}, done, "")
}

func (t *tool) showLogLevel() error {
	var words string
	find := func(c *control) (l levelInForce, err error) {
		s, err := c.status()
		if err == nil {
			l, words = levelInForce{s.LogLevel, s.LogSet, s.LogUntil}, s.logLevel()
		}
		return l, err
	}
	return show(t, find, func(w io.Writer, _ levelInForce) error {
		_, err := fmt.Fprintln(w, words)
		return err
	})
}

// levelInForce is by which level everybody logs; its fields are the JSON form.
type levelInForce struct {
	Level string    `json:"level"`
	Set   bool      `json:"set"`
	Until time.Time `json:"until,omitzero"`
}

// logLevel words it.
func (s *status) logLevel() string {
	switch {
	case !s.LogSet:
		return s.LogLevel
	case s.LogUntil.IsZero():
		return s.LogLevel + ", set by hand, until the next reload"
	}
	return s.LogLevel + ", set by hand, for " + span(s.LogUntil.Sub(s.Now)) + " more"
}
