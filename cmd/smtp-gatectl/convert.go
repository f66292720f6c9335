// The command convert: a configuration of the old syntax in the new one.

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

func (t *tool) convertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "convert FILE",
		Short: "Print a configuration of the old syntax in TOML, with its comments",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := args[0]
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("%w: %w", errConfig, err)
			}
			result, warnings, err := config.Convert(file, text)
			if ce := (*config.Error)(nil); errors.As(err, &ce) {
				for _, e := range flatten(err) {
					fmt.Fprintf(t.err, "error: %v\n", e)
				}
				return fmt.Errorf("%w: %s: %s", errConfig, file, plural(len(flatten(err)), "error"))
			}
			if err != nil {
				return err
			}
			// What there is to say about a line stands in the result, too.
			for _, w := range warnings {
				fmt.Fprintf(t.err, "warning: %s\n", w)
			}
			_, err = t.out.Write(result)
			return err
		},
	}
}
