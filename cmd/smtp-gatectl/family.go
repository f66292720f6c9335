// The commands reload and stop: orders to the whole family.

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read the configuration again; a wrong one changes nothing",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			err := t.order(&imsg.ReloadNow{}, "reloaded", "")
			if errors.Is(err, imsg.Invalid) {
				return fmt.Errorf("%w; the old one stays in force:\n%w", errConfig, err)
			}
			return err
		},
	}
}

func (t *tool) stopCommand() *cobra.Command {
	var now bool
	stop := &cobra.Command{
		Use:   "stop",
		Short: "Stop listening and end with the last session",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			word := "stopping: new clients are refused, running sessions may end"
			if now {
				word = "stopped"
			}
			err := t.order(&imsg.StopNow{Now: now}, word, "")
			if now && errors.Is(err, imsg.Gone) {
				// It was faster than its own answer.
				return t.said(word, "", "")
			}
			return err
		},
	}
	stop.Flags().BoolVar(&now, "now", false, "end running sessions too")
	return stop
}

// order has the daemon do something and says what was done to what.
func (t *tool) order(q imsg.Question[imsg.Done], done, name string) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	detail, err := c.order(q, reloadTime)
	if err != nil {
		return err
	}
	return t.said(done, name, detail)
}

// orderResult is what was done to what; its fields are the JSON form.
type orderResult struct {
	Result string `json:"result"`
	Name   string `json:"name,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func (t *tool) said(done, name, detail string) error {
	if t.json {
		return printJSONLine(t.out, orderResult{done, name, detail})
	}
	line := done
	if name != "" {
		line = name + " " + done
	}
	if detail != "" {
		line += ": " + detail
	}
	_, err := fmt.Fprintln(t.out, line)
	return err
}
