package config

import (
	"bytes"
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

// TestCorpus reads whole configurations. Each archive holds one file, its effect,
// and what a good one of the old syntax becomes in TOML; -update writes the
// latter two anew.
func TestCorpus(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) < 20 {
		t.Fatalf("%d archives: %v", len(archives), err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) == 0 {
				t.Fatal("no configuration")
			}
			name, text := a.Files[0].Name, a.Files[0].Data
			// An archive keeps no carriage returns and no octets beyond UTF-8.
			if name == "windows.conf" {
				text = bytes.ReplaceAll(append([]byte("\ufeff"), text...), []byte("\n"), []byte("\r\n"))
			}
			if name == "latin1.conf" {
				text = latin(text)
			}
			got := []txtar.File{{Name: "effect", Data: []byte(effect(name, text))}}
			c, _, err := Parse(name, text)
			if result, _, cerr := Convert(name, text); cerr == nil {
				if back, _, err := Parse("smtp-gated.toml", result); err != nil || !back.equal(c) {
					t.Errorf("converted it is another one: %v", err)
				}
				got = append(got, txtar.File{Name: "smtp-gated.toml", Data: result})
			} else if !isTOML(string(text)) && (err == nil || cerr.Error() != err.Error()) {
				t.Errorf("convert: %v", cerr)
			}
			want := a.Files[1:]
			a.Files = append(a.Files[:1:1], got...)
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i].Name != got[i].Name || !bytes.Equal(want[i].Data, got[i].Data) {
					t.Fatalf("it amounts to\n%s\nwant:\n%s", txtar.Format(&txtar.Archive{Files: got}), txtar.Format(&txtar.Archive{Files: want}))
				}
			}
		})
	}
}

// latin writes UTF-8 as ISO 8859-1.
func latin(text []byte) []byte {
	var b []byte
	for _, r := range string(text) {
		b = append(b, byte(r))
	}
	return b
}
