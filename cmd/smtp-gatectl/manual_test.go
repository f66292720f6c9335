// That the manual page speaks of everything there is.

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual: every command has its entry in smtp-gatectl.8, and so has every flag,
// in the manner of mdoc(7).
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../man/smtp-gatectl.8")
	if err != nil {
		t.Fatal(err)
	}
	text, found := string(page), 0
	var look func(c *cobra.Command, name string)
	look = func(c *cobra.Command, name string) {
		below := c.Commands()
		for _, sub := range below {
			look(sub, strings.TrimSpace(name+" "+sub.Name()))
		}
		entry := ".It Ic " + name
		if len(below) == 0 {
			found++
			if !strings.Contains(text, entry+"\n") && !strings.Contains(text, entry+" ") {
				t.Errorf("smtp-gatectl.8 has no entry for %q", name)
			}
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(text, "Fl -"+f.Name) {
				t.Errorf("smtp-gatectl.8 says nothing of --%s of %q", f.Name, name)
			}
		})
	}
	root := new(tool).command()
	look(root, "")
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, ".It Fl -"+f.Name) {
			t.Errorf("smtp-gatectl.8 has no entry for --%s", f.Name)
		}
	})
	if found < 12 {
		t.Errorf("only %d commands found", found)
	}
}
