// The command check: whether a configuration could be put in force, and whether
// it should be.

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/parent"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

func (t *tool) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration, in either syntax, and what it meets here; touch nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := args[0]
			c, warnings, err := config.Load(file)
			if err == nil {
				err = c.Check()
			}
			var advice []config.Advice
			if err == nil {
				var met []config.Warning
				met, err = parent.Look(c)
				errs := []error{err}
				for _, w := range met {
					w.File = file
					if w.Fatal {
						errs = append(errs, &config.Error{File: file, Option: w.Option, Text: w.Text})
					} else {
						warnings = append(warnings, w)
					}
				}
				pairs := lookAtPairs(c, file, time.Now())
				warnings = append(warnings, pairs.warnings...)
				err = errors.Join(append(errs, pairs.errs...)...)
				advice = slices.Concat(parent.Exposed(c), c.Advise(), pairs.hints)
			}
			if t.json {
				if jerr := t.checkJSON(file, warnings, advice, err); jerr != nil {
					return jerr
				}
			} else {
				for _, w := range warnings {
					fmt.Fprintf(t.out, "warning: %s\n", w)
				}
				for _, a := range advice {
					fmt.Fprintf(t.out, "%s: %s\n", a.Severity, a)
				}
				for _, e := range flatten(err) {
					fmt.Fprintf(t.out, "error: %v\n", e)
				}
			}
			if err != nil {
				return fmt.Errorf("%w: %s: %s", errConfig, file, plural(len(flatten(err)), "error"))
			}
			if !t.json {
				dangers := 0
				for _, a := range advice {
					if a.Severity == config.Danger {
						dangers++
					}
				}
				fmt.Fprintf(t.out, "%s: good, %s, %s, %s\n", file, plural(len(warnings), "warning"),
					plural(dangers, "danger"), plural(len(advice)-dangers, "hint"))
			}
			return nil
		},
	}
}

// remark is an error, a warning or a piece of advice in its JSON form.
type remark struct {
	Severity string `json:"severity"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Option   string `json:"option,omitempty"`
	Text     string `json:"text"`
}

// checkResult is what was found of a file; its fields are the JSON form.
type checkResult struct {
	File     string         `json:"file"`
	Good     bool           `json:"good"`
	Errors   listOf[remark] `json:"errors"`
	Warnings listOf[remark] `json:"warnings"`
	Advice   listOf[remark] `json:"advice"`
}

func (t *tool) checkJSON(file string, warnings []config.Warning, advice []config.Advice, err error) error {
	result := checkResult{file, err == nil, []remark{}, []remark{}, []remark{}}
	for _, e := range flatten(err) {
		if ce := (*config.Error)(nil); errors.As(e, &ce) {
			result.Errors = append(result.Errors, remark{"error", ce.File, ce.Line, ce.Option, ce.Text})
		} else {
			result.Errors = append(result.Errors, remark{Severity: "error", Text: e.Error()})
		}
	}
	for _, w := range warnings {
		result.Warnings = append(result.Warnings, remark{"warning", w.File, w.Line, w.Option, w.Text})
	}
	for _, a := range advice {
		result.Advice = append(result.Advice, remark{Severity: a.Severity.String(), Option: a.Option, Text: a.Text})
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
