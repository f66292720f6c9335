package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// effect is what a file amounts to: the options that differ from their
// default, the warnings, and the errors of reading or of starting with it.
func effect(name string, text []byte) string {
	var b strings.Builder
	c, warnings, err := Parse(name, text)
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nerror: "))
		return b.String()
	}
	for _, o := range table(c) {
		if o.Value() != o.Default() {
			fmt.Fprintf(&b, "%s\n", strings.TrimRight(o.line(), " "))
		}
	}
	if err := c.Check(); err != nil {
		fmt.Fprintf(&b, "start: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nstart: "))
	}
	return b.String()
}

// TestCorpus reads whole configurations. Each archive holds one file and its
// effect; -update writes the effects anew.
func TestCorpus(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) != 2 || a.Files[1].Name != "effect" {
				t.Fatal("want one configuration and its effect")
			}
			got := effect(a.Files[0].Name, a.Files[0].Data)
			if *update {
				a.Files[1].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(a.Files[1].Data); got != want {
				t.Errorf("effect:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
