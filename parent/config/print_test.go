package config

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the default files and the expected outputs anew")

// drawn returns a configuration of random values that the options take.
func drawn(t *rapid.T) *Config {
	c := Default()
	words := regexp.MustCompile(`[a-z0-9+,.-]+`)
	for _, o := range table(c) {
		var g *rapid.Generator[string]
		switch kind, _, _ := strings.Cut(o.Kind(), " "); kind {
		case "INT", "UINT", "PORT":
			g = rapid.StringMatching(`-?(0x)?[1-9][0-9]{0,18}`)
		case "FLOAT":
			g = rapid.StringMatching(`-?[0-9]{1,6}(\.[0-9]{0,9})?`)
		case "OCT":
			g = rapid.StringMatching(`0[0-7]{0,4}`)
		case "BOOL":
			g = rapid.SampledFrom([]string{"yes", "no"})
		case "ENUM":
			all := words.FindAllString(strings.TrimSuffix(strings.TrimPrefix(o.Accepted(), "any of "), ", joined by commas"), -1)
			for i := range all {
				all[i] = strings.Trim(all[i], ",")
			}
			g = rapid.SampledFrom(all)
			if o.Kind() == "ENUM [MULTI]" {
				g = rapid.Map(rapid.SliceOfN(g, 1, 5), func(v []string) string { return strings.Join(v, ",") })
			}
		case "IP":
			g = rapid.StringMatching(`([0-9]{1,2}\.){3}[0-9]{1,2}|([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|::|::ffff:10\.0\.0\.[1-9]`)
		case "IP:PORT":
			g = rapid.StringMatching(`(([1-9]{1,2}\.){3}[1-9]{1,2}:[1-9][0-9]{0,3}, ){0,3}\[([1-9a-f]{1,4}:){7}[1-9a-f]\]:[1-9]{1,4}`)
		case "NET":
			g = rapid.StringMatching(`(([1-9]{1,2}\.){3}[1-9]{1,2}(/[1-2][0-9])?, ?){0,3}([1-9a-f]{1,4}:){7}[1-9a-f](/[1-9][0-9])?`)
		case "HOST":
			g = rapid.StringMatching(`[a-z0-9]{1,9}\.[a-z-]{1,9}`)
		case "PIN":
			g = rapid.StringMatching(`([a-zA-Z0-9+/]{42}[AEIMQUYcgkosw048]=, ?){0,3}[a-zA-Z0-9+/]{42}[AEIMQUYcgkosw048]=`)
		case "SOCKET":
			g = rapid.StringMatching(`/[a-z/ ]{0,9}[a-z]|([1-9]{1,2}\.){3}[1-9]{1,2}:[1-9]{1,4}|\[::1\]:[1-9]{1,4}`)
		case "ZONE":
			g = rapid.StringMatching(`[a-zA-Z0-9.-]{1,12}(=127\.[0-9]\.\[[0-9];[1-4][0-9]?\.\.[5-9][0-9]\]\.[2-9])?(, ?[a-z.]{1,9}(=127\.0\.0\.[2-9])?){0,4}`)
		case "FILE", "PATH":
			g = rapid.Map(rapid.String(), func(s string) string { return "/" + s })
		default:
			if g = rapid.String(); o.Name == "log_target" { // few texts are one
				g = rapid.SampledFrom([]string{"stderr", "journal", "/var/log/mail"})
			}
		}
		text := strings.Trim(g.Draw(t, o.Name), blanks)
		// What is refused leaves the default.
		if _, err := o.read(text); err != nil {
			o.reset()
		}
	}
	c.PipelineSize = max(c.PipelineSize, leastPipeline)
	return c
}

func printed(print func(io.Writer, bool, bool) error, comments bool) []byte {
	var b bytes.Buffer
	print(&b, true, comments)
	return b.Bytes()
}

// same fails unless c survives being printed and read in both syntaxes.
func same(t interface {
	Fatalf(format string, args ...any)
}, c *Config, comments bool,
) {
	for _, text := range [][]byte{printed(c.PrintLegacy, comments), printed(c.PrintTOML, comments)} {
		back, _, err := Parse("printed", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !c.equal(back) {
			for i, o := range table(back) {
				if was := table(c)[i]; o.Value() != was.Value() {
					t.Fatalf("%s was %q, reads back as %q", o.Name, was.Value(), o.Value())
				}
			}
			t.Fatalf("reads back different:\n%s", text)
		}
	}
	if _, _, err := Convert("printed", printed(c.PrintLegacy, comments)); err != nil {
		t.Fatalf("%v", err)
	}
}

func TestPrintedReadsBack(t *testing.T) {
	same(t, Default(), false)
	same(t, Default(), true)
	same(t, NewSite(), true)
	rapid.Check(t, func(t *rapid.T) { same(t, drawn(t), rapid.Bool().Draw(t, "comments")) })
}

// TestConvertedMeansTheSame: a file says some of the options only, and the
// defaults of the two syntaxes differ.
func TestConvertedMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for line := range strings.Lines(string(printed(drawn(t).PrintLegacy, false))) {
			if rapid.Bool().Draw(t, "said") {
				text.WriteString(line)
			}
		}
		old, _, err := Parse("f", []byte(text.String()))
		if err != nil {
			t.Fatalf("%v", err)
		}
		result, _, err := Convert("f", []byte(text.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, text.String())
		}
		now, _, err := Parse("f", result)
		if err != nil || !isTOML(string(result)) || !now.equal(old) {
			t.Fatalf("%v\n%s\nis converted to\n%s", err, text.String(), result)
		}
	})
}

// TestDrawnIsVaried guards the property above against drawing defaults only.
func TestDrawnIsVaried(t *testing.T) {
	changed := map[string]bool{}
	for seed := range 400 {
		c := rapid.Custom(drawn).Example(seed)
		for _, o := range table(c) {
			changed[o.Name] = changed[o.Name] || o.Value() != o.Default()
		}
	}
	for _, o := range Options() {
		if !changed[o.Name] {
			t.Errorf("%s is never drawn", o.Name)
		}
	}
}

func TestPrintLegacyLayout(t *testing.T) {
	var b bytes.Buffer
	if err := Default().PrintLegacy(&b, false, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if !strings.HasPrefix(lines[0], "#") {
		t.Errorf("the first line is no comment: %s", lines[0])
	}
	for _, want := range []string{
		"proxy_name                     *",
		"abuse                          ",
		"max_load                       2.000000",
		"lock_perm                      0660",
		"ignore_errors                  no",
		"lock_on                        virus,spam,maxhost,maxident,dnsbl,spf,regex,earlytalk,ratelimit",
	} {
		if !strings.Contains(b.String(), "\n"+want+"\n") {
			t.Errorf("missing line %q", want)
		}
	}
	if len(lines)-1 != len(Options())-len(messages) || strings.Contains(b.String(), "msg_") {
		t.Errorf("%d lines for %d options without messages", len(lines)-1, len(Options())-len(messages))
	}
	b.Reset()
	if err := Default().PrintLegacy(&b, true, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nmsg_hello                      Hello\n", "accepted: no | ifsupported | mandatory\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
}

func TestPrintOne(t *testing.T) {
	c := Default()
	if line, ok := c.PrintOne("earlytalk"); !ok || line != "earlytalker                    yes" {
		t.Errorf("%q", line)
	}
	if _, ok := c.PrintOne("bogus"); ok {
		t.Error("there is an option bogus")
	}
}

// TestDefaultFiles holds the files that are installed to the table; -update
// writes them anew.
func TestDefaultFiles(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"smtp-gated.toml": DefaultTOML,
		"smtp-gated.conf": DefaultLegacy,
	} {
		init := Default()
		if name == "smtp-gated.toml" {
			init = NewSite()
		}
		path := filepath.Join("..", "..", "etc", name)
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, b.Bytes()) {
			t.Errorf("%s differs from the option table: go test ./parent/config -update writes it anew", path)
		}
		c, warnings, err := Load(path)
		if err != nil || len(warnings) > 0 || !c.equal(init) {
			t.Errorf("%s is not the default: %v %v", path, warnings, err)
		}
		// Every line an admin uncomments must be a good one.
		settings := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAll(text, []byte("$1"))
		if c, _, err = Parse(path, settings); err != nil || !c.equal(init) {
			t.Errorf("%s, uncommented: %v", path, err)
		}
	}
}
