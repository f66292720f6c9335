// The command kill: the end of one live session.

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) killCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kill SESSION ...",
		Short: "End live sessions at once",
		Long: `kill ends live sessions at once, each by its number, as sessions shows it, or by its
whole id, as replies and the log quote it: 1700000000.7.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: t.complete(liveIDs),
		RunE: func(_ *cobra.Command, args []string) error {
			var all []*imsg.EndSession
			for _, arg := range args {
				m, err := endSession(arg)
				if err != nil {
					return err
				}
				all = append(all, m)
			}
			c, err := t.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			var failed error
			for i, m := range all {
				_, err := c.order(m, answerTime)
				if err == nil {
					err = t.said("told to end", clean(args[i]), "")
				} else {
					err = fmt.Errorf("session %s: %w", clean(args[i]), err)
				}
				failed = errors.Join(failed, err)
				if errors.Is(err, imsg.ReadOnly) || errors.Is(err, imsg.Gone) {
					break // nor will the others
				}
			}
			return failed
		},
	}
}

// endSession reads which session is meant. An id may be in the parentheses that a reply has
// it in.
func endSession(arg string) (*imsg.EndSession, error) {
	wrong := fmt.Errorf("%w: %q is neither a session's number nor its id, as 1700000000.7", errUsage, arg)
	start, number, whole := strings.Cut(strings.Trim(arg, " ()<>"), ".")
	m := new(imsg.EndSession)
	if !whole {
		number = start
	} else if n, err := strconv.ParseInt(start, 10, 64); err != nil || n <= 0 {
		return nil, wrong
	} else {
		m.Start = n
	}
	var err error
	if m.Number, err = strconv.ParseUint(number, 10, 64); err != nil || m.Number == 0 {
		if whole && strings.HasPrefix(number, "w") {
			return nil, fmt.Errorf("%w: %q was refused before it was a session", errUsage, arg)
		}
		return nil, wrong
	}
	return m, nil
}
