package config

import (
	"errors"
	"strings"
	"testing"
)

// fuzzParse checks what holds for every file: nothing panics, what is refused
// is refused with a place, what is taken prints and reads back the same.
func fuzzParse(t *testing.T, text []byte) {
	c, _, err := Parse("f", text)
	if err == nil {
		same(t, c, false)
		_ = c.Check()
		return
	}
	if c != nil {
		t.Fatal("an error and a configuration")
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if one := (*Error)(nil); !errors.As(e, &one) || one.File != "f" || one.Text == "" {
				t.Fatalf("%v names no place", e)
			}
		}
	}
}

func FuzzLegacy(f *testing.F) {
	f.Add("mode fixed\nfixed_server 192.0.2.1\n")
	f.Add(string(printed(Default().PrintLegacy, false)))
	f.Add("lock_perm 660\nlock_on virus, spam\nleave_on_error 0\nmax_load 1e2x\n")
	f.Add("# a\n\n;b\x01\xff\nmax_procs 5\n# c\nleave_on_virus 1\nmax_connections 6x\n#d\n\n#e")
	f.Add("antivirus_path [::1]:3310\nmsg_hello caf\xe9\nlisten 0.0.0.0:1, [::]:1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if isTOML(text) {
			return
		}
		fuzzParse(t, []byte(text))
		_, _, err := Parse("f", []byte(text))
		if _, _, cerr := Convert("f", []byte(text)); (err == nil) != (cerr == nil) {
			t.Fatalf("parse says %v, convert says %v", err, cerr)
		}
	})
}

func FuzzTOML(f *testing.F) {
	f.Add("[target]\nmode = \"fixed\"\nserver = \"192.0.2.1\"\n")
	f.Add(string(printed(Default().PrintTOML, false)))
	f.Add("[lock]\nperm = \"0600\"\non = [\"virus\"]\nduration = \"1h\"\n[limits]\nload = 1.5\nmessage_size = \"5 kB\"\n")
	f.Add("scan = { antivirus = { engine = 'clamd' } }\n[messages]\nhello = \"\\u00e9\\u2028\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		if isTOML(strings.TrimPrefix(text, "\ufeff")) {
			fuzzParse(t, []byte(text))
		}
	})
}
