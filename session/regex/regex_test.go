package regex

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		perl    bool // needs the engine that tracks back
		yes, no string
	}{
		{`^(localhost|\[127\.)`, false, "[127.0.0.1]", "mail.localhost"},
		{`\.example\.(com|net)$`, false, "a.example.net", "a.example.net.org"},
		{`Example`, false, "an Example", "an example"},
		{`(?i)example`, false, "EXAMPLE", "sample"},
		{`^\Qa.b\E$`, false, "a.b", "axb"},
		{`^[[:alnum:].-]+$`, false, "a-1.b", "a_b"},
		{`^\x{61}\d{3}$`, false, "a123", "a12"},
		{`^.+$`, false, "\xff\xfe", ""},
		{`@(?!example\.com$)`, true, "a@example.org", "a@example.com"},
		{`(?<=@)spam\.`, true, "x@spam.example", "spam.example"},
		{`(?<!mx)\.example$`, true, "a.example", "mx.example"},
		{`^(\w)\1`, true, "aab", "aba"},
		{`^(?>a+)b`, true, "aaab", "aaac"},
		{`^a++b`, true, "aab", "aac"},
		{`^(?P<c>.)(?P=c)$`, true, "xx", "xy"},
		{`^(a)?(?(1)b|c)$`, true, "ab", "ac"},
		{`(?=[[:digit:]])^\d+\Z`, true, "42", "4x"},
		{`(?=)^\w+$`, true, "az_09", "\xc3\xa9"}, // as in Perl without locale: octets of ASCII
		{`(?!)|a{1001}`, true, strings.Repeat("a", 1001), strings.Repeat("a", 1000)},
	} {
		m, err := New(tc.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if (m.perl != nil) != tc.perl {
			t.Errorf("%s: wrong engine", tc.pattern)
		}
		for text, want := range map[string]bool{tc.yes: true, tc.no: false} {
			if got, err := m.Match([]byte(text)); got != want || err != nil {
				t.Errorf("%s matches %q: %v, %v", tc.pattern, text, got, err)
			}
		}
	}
	for _, pattern := range []string{`(`, `[`, `a**`, `\`, `(?<n>a)\k<m>`, `(?1)`, `(?R)`, `(?|a)`} {
		if m, err := New(pattern); err == nil {
			t.Errorf("%s was taken", pattern)
		} else if m != nil {
			t.Errorf("%s: an error and a matcher", pattern)
		}
	}
}

// TestLimits keeps a client from choosing a text that holds up the room or slips
// through.
func TestLimits(t *testing.T) {
	for _, pattern := range []string{`x`, `(?=x)x`} {
		m, err := New(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := m.Match([]byte(strings.Repeat("a", Longest-1) + "x")); !found || err != nil {
			t.Errorf("%s at the limit: %v, %v", pattern, found, err)
		}
		if found, err := m.Match([]byte(strings.Repeat("a", Longest) + "x")); found || !errors.Is(err, ErrLong) {
			t.Errorf("%s above it: %v, %v", pattern, found, err)
		}
	}

	linear, err := New(`^(a+)+$`)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Repeat("a", Longest-1) + "!"
	if found, err := linear.Match([]byte(secret)); found || err != nil {
		t.Errorf("linear: %v, %v", found, err)
	}
	slow, err := New(`^(?=a)(?:(a)|\1a|aa)+$`)
	if err != nil {
		t.Fatal(err)
	}
	found, err := slow.Match([]byte(secret))
	if found || !errors.Is(err, ErrTime) {
		t.Errorf("slow: %v, %v", found, err)
	}
	if err != nil && strings.Contains(err.Error(), "aaaa") {
		t.Errorf("the error says %v", err)
	}
}

// FuzzMatch: no pattern and no text panics, nothing takes for ever, and where
// both engines know a pattern they agree.
func FuzzMatch(f *testing.F) {
	for _, pattern := range []string{
		`^(localhost|\[127\.)`, `@(?!example\.com$)`, `^(\w)\1`, `(a+)+$`, `(?i)[^\s@]+@\S+`, `^(a)?(?(1)b|c)$`, `\Q\E`, `[[:alpha:]]{2,5}`,
	} {
		f.Add(pattern, []byte("user@example.com"))
	}
	f.Fuzz(func(t *testing.T, pattern string, text []byte) {
		if len(pattern) > 4096 {
			return
		}
		m, err := New(pattern)
		if err != nil {
			return
		}
		found, err := m.Match(text)
		if err != nil && (found || err != ErrLong && err != ErrTime) {
			t.Fatalf("%v, %v", found, err)
		}
		if (len(text) > Longest) != errors.Is(err, ErrLong) {
			t.Fatalf("%d octets: %v", len(text), err)
		}
		if std, serr := regexp.Compile(pattern); serr == nil && err == nil && found != std.Match(text) {
			t.Fatalf("%q matches %q: %v", pattern, text, found)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct{ name, pattern string }{
		{"linear", `^[^@]+@(mail\.)?example\.(com|net|org)$`},
		{"perl", `^[^@]+@(?!spam\.)(mail\.)?example\.(com|net|org)$`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m, err := New(bench.pattern)
			if err != nil {
				b.Fatal(err)
			}
			text := []byte("somebody.with.a.name@mail.example.org")
			b.ReportAllocs()
			for b.Loop() {
				if found, err := m.Match(text); !found || err != nil {
					b.Fatal(found, err)
				}
			}
		})
	}
}
