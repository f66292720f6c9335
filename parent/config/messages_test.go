package config

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestMessages holds the default texts to what a reply can carry, and what every
// mail program shows.
func TestMessages(t *testing.T) {
	// With the longest host name, a zone and an answer behind it, a line stays
	// below the 512 octets of RFC 5321, 4.5.3.1.5.
	const longest = 150
	seen := map[string]string{}
	for i, m := range messages {
		if !strings.HasPrefix(m.name, "msg_") || m.when == "" || m.text == "" {
			t.Errorf("text %d has no name, no occasion or no words", i)
		}
		if len(m.text) > longest {
			t.Errorf("%s: %d octets are too many", m.name, len(m.text))
		}
		if strings.ContainsFunc(m.text, func(r rune) bool { return r < ' ' || r > '~' || r == '%' }) || strings.TrimSpace(m.text) != m.text || strings.Contains(m.text, "  ") {
			t.Errorf("%s: %q", m.name, m.text)
		}
		// A detail or nothing follows: a full stop would stand before a colon.
		if strings.HasSuffix(m.text, ".") || strings.ContainsAny(m.text[:1], "0123456789-") {
			t.Errorf("%s ends or begins badly: %q", m.name, m.text)
		}
		if other := seen[m.text]; other != "" {
			t.Errorf("%s says the same as %s", m.name, other)
		}
		seen[m.text] = m.name
	}
}

// TestForeignMessages: whatever an admin writes reaches the session as it is, in
// either syntax.
func TestForeignMessages(t *testing.T) {
	for _, text := range []string{
		"100% sure, %s %d %n %%", "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144", `back\slash "quote" 'tick'`, "a\tb", "# no comment", "\u2028",
	} {
		for i, m := range messages {
			for _, file := range []string{m.name + " " + text, "[messages]\n" + strings.TrimPrefix(m.name, "msg_") + " = " + quoteTOML(text)} {
				c, warnings, err := Parse("f", []byte(file))
				if err != nil || (len(warnings) > 0) != m.unsaid {
					t.Fatalf("%s: %v %v", file, err, warnings)
				}
				if got := c.Session(facts).Texts[imsg.Text(i)]; got != text {
					t.Fatalf("%s became %q", file, got)
				}
			}
		}
	}
}
