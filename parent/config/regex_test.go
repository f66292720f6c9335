package config

import (
	"strings"
	"testing"
)

func TestRegex(t *testing.T) {
	for _, pattern := range []string{
		`^(localhost|\[127\.)`, `(?i)^x$`, `\Qa.h\h\E`, `[\w.-]+@[[:alnum:]]+`,
		`@(?!example\.com$)`, `(?<=a)\Q\h\R[\E\d`, `^(\w)\1`, `(?=a)[]\-[]`, `(?=a)[^]a]`, `(?=a)[[:alpha:]-]`,
		`(?=a)\x{41}\cA\t\e`, `(a)?(?(1)b|c)`, `(?(?=a)ab|c)`, `(?(?<!a)b|c)`, `(?=\\h)`, `(?=a)\Qh`, `a{1001}`, `(?=a)\.\-\_\@`,
	} {
		for _, text := range []string{"regex_reject_helo " + pattern, "[policy.regex]\nreject_helo = " + quoteTOML(pattern)} {
			c, _, err := Parse("f", []byte(text))
			if err != nil {
				t.Error(err)
			} else if c.RejectHelo != pattern {
				t.Errorf("%s became %s", pattern, c.RejectHelo)
			}
		}
	}
	for pattern, want := range map[string]string{
		`\h`:             `\h is not supported`,
		`a\K`:            `\K is not supported`,
		`\R`:             `\R is not supported`,
		`\X+`:            `\X is not supported`,
		`\N{U+41}`:       `\N is not supported`,
		`\u0041`:         `\u is not supported`,
		`(a)\g{1}`:       `\g is not supported`,
		`(?=a)[\h]`:      `\h is not supported`,
		`(?=a)\Q\h\E\h`:  `\h is not supported`,
		`(?=a)\\\h`:      `\h is not supported`,
		`(?=a)[a-z-[b]]`: `write -\[`,
		`(?(<n>)a|b)`:    "number of a group",
		`(?(R)a|b)`:      "number of a group",
		`(?(1a)b)`:       "number of a group",
		`(?(DEFINE)(a))`: "number of a group",
		`(`:              "missing closing )",
		`a**`:            "nested repetition",
		`[a`:             "unterminated",
		`(?R)`:           "grouping construct",
		`(?P>n)`:         "grouping construct",
		`(*FAIL)`:        "repetition operator",
		`(?<n>a)\k<m>`:   "undefined group name",
		`\`:              `\ at end`,
	} {
		_, _, err := Parse("f", []byte("\nregex_enforce_rcpt_to "+pattern))
		if err == nil {
			t.Errorf("%s was taken", pattern)
		} else if !strings.HasPrefix(err.Error(), "f:2: regex_enforce_rcpt_to: ") || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
}

// FuzzRegex: what is taken is one line that both syntaxes can say.
func FuzzRegex(f *testing.F) {
	f.Add(`@(?!example\.com$)`)
	f.Add(`(?=a)[\h]\Q[\E(?(1)`)
	f.Add(`[^]-[a]`)
	f.Fuzz(func(t *testing.T, pattern string) {
		c := Default()
		c.RejectHelo = pattern
		if o := index(table(c))["regex_reject_helo"]; pattern == "" || strings.Trim(pattern, blanks) != pattern {
			return
		} else if _, err := o.read(pattern); err == nil {
			same(t, c, false)
		}
	})
}
