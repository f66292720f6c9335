package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/session/regex"
)

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	old, converted := filepath.Join(dir, "gate.conf"), filepath.Join(dir, "gate.toml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(old, "# our server\nmode fixed\nfixed_server 192.0.2.25\nmax_procs 100x\nset_user nobody\n")
	code, out, errs := gatectl("convert", old)
	if code != exitOK || strings.Count(errs, "warning: "+old+":4: max_procs: ") != 2 {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"[target]\n# our server\nmode = \"fixed\"\n", "# line 4: max_procs is an old name of max_connections\n", "\nconnections = 100 # max_connections\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	write(converted, out)
	if code, out, errs := gatectl("check", converted); code != exitOK {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := gatectl("convert", converted); code != exitUsage || out != "" || !strings.Contains(errs, "is TOML already") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	write(old, "mode fixed\nfrob 1\nport x\n")
	code, out, errs = gatectl("convert", old)
	if code != exitUsage || out != "" || !strings.Contains(errs, "error: "+old+":2: frob: unknown option") || !strings.Contains(errs, "2 errors") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := gatectl("convert", old+".none"); code != exitUsage || out != "" {
		t.Errorf("a file that is not there: exit %d", code)
	}
}

// TestRegexAgrees holds the judgement on a pattern, when a configuration is read,
// to the engines that match with it: what passes must compile there.
func TestRegexAgrees(t *testing.T) {
	taken := 0
	for _, pattern := range []string{
		`a`, `(?i)^x$`, `(?!a)b`, `(?<=@)x`, `(a)\1`, `(?>a)`, `a++`, `(?P<n>a)(?P=n)`, `a{5000}`, `\Qa(\E(?=b)`, `(?(?=a)b|c)`,
		`(`, `[`, `a**`, `(?R)`, `\h(?=a)`, `(?|a|b)`, `(?=a)[a-[b]]`, `\`, `(?<n>a)\k<m>`, `(?=a)\p{Nonsense}`, `(?=a)[[:nonsense:]]`, `a{2,1}`, `(?=a)b{2,1}`,
	} {
		_, _, err := config.Parse("f", []byte("regex_reject_helo "+pattern))
		if err != nil {
			continue
		}
		taken++
		if _, err := regex.New(pattern); err != nil {
			t.Errorf("%s passes, and then: %v", pattern, err)
		}
	}
	if taken != 11 {
		t.Errorf("%d patterns were taken", taken)
	}
}
