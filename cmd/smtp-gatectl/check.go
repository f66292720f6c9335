// The command check: whether a configuration could be put in force.

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

func (t *tool) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration, in either syntax, and touch nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := args[0]
			c, warnings, err := config.Load(file)
			if err == nil {
				err = c.Check()
			}
			if t.json {
				if jerr := t.checkJSON(file, warnings, err); jerr != nil {
					return jerr
				}
			} else {
				for _, w := range warnings {
					fmt.Fprintf(t.out, "warning: %s\n", w)
				}
				for _, e := range flatten(err) {
					fmt.Fprintf(t.out, "error: %v\n", e)
				}
			}
			if err != nil {
				return fmt.Errorf("%w: %s: %s", errConfig, file, plural(len(flatten(err)), "error"))
			}
			if !t.json {
				fmt.Fprintf(t.out, "%s: good, %s\n", file, plural(len(warnings), "warning"))
			}
			return nil
		},
	}
}

// remark is an error or warning in its JSON form.
type remark struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Option string `json:"option,omitempty"`
	Text   string `json:"text"`
}

func (t *tool) checkJSON(file string, warnings []config.Warning, err error) error {
	result := struct {
		File     string   `json:"file"`
		Good     bool     `json:"good"`
		Errors   []remark `json:"errors"`
		Warnings []remark `json:"warnings"`
	}{file, err == nil, []remark{}, []remark{}}
	for _, e := range flatten(err) {
		if ce := (*config.Error)(nil); errors.As(e, &ce) {
			result.Errors = append(result.Errors, remark{ce.File, ce.Line, ce.Option, ce.Text})
		} else {
			result.Errors = append(result.Errors, remark{Text: e.Error()})
		}
	}
	for _, w := range warnings {
		result.Warnings = append(result.Warnings, remark{w.File, w.Line, w.Option, w.Text})
	}
	return printJSON(t.out, result)
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
