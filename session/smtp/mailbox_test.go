package smtp

import (
	"strconv"
	"strings"
	"testing"
)

func TestMailbox(t *testing.T) {
	const spam = "spam@x.example"
	for arg, want := range map[string]string{
		"<spam@x.example>":                   spam,
		"  <spam@x.example> SIZE=1 BODY=x":   spam,
		"spam@x.example":                     spam,
		"spam@x.example AUTH=<> SIZE=1":      spam,
		"<spam@x.example> AUTH=<b@y>":        spam,
		"x <spam@x.example>":                 spam,
		`"x <y>" <spam@x.example>`:           spam,
		"x<spam@x.example>":                  spam,
		"<x<spam@x.example>>":                spam,
		"<<spam@x.example>>":                 spam,
		"(c) <spam@x.example>":               spam,
		"<(c)spam(d (e\\)))@(\"f)x.example>": spam,
		"<spam@x.example(>)>":                spam,
		"< spam @ x . example >":             spam,
		"<spam @x.example>":                  spam,
		`<"spam"@x.example>`:                 spam,
		`<"sp\am"@x.example>`:                spam,
		`<s\pam@x.example>`:                  spam,
		"<@r.example,@s:spam@x.example>":     spam,
		"g:spam@x.example;":                  spam,
		"spam @ x.example SIZE=1":            spam,
		"spam@x .example SMTPUTF8":           spam,
		"spam (c) @x.example SMTPUTF8":       spam,
		"<spam@x.example.>":                  spam,
		"<spam@x.example":                    spam,
		"<>":                                 "",
		"":                                   "",
		"<> SIZE=1":                          "",
		"<postmaster>":                       "postmaster",
		`<"a b>"@x.example>`:                 "a b>@x.example",
		`<"a@b"@x.example>`:                  "a@b@x.example",
		`<"spam@x.example>`:                  `"spam@x.example`,
		"<(spam@x.example>":                  "(spam@x.example",
		"<((a)spam@x.example>":               "(spam@x.example",
		"<)spam@x.example>":                  ")spam@x.example",
		"<\\(spam(\\)@x.example>":            "(spam()@x.example",
		"spam \t \t @x.example":              spam,
		"<spam@[IPv6:::1]>":                  "spam@[IPv6:::1]",
		"a@b\\":                              "a@b\\",
		"<a\x00\xff@b>":                      "a\x00\xff@b",
	} {
		if got := string(Mailbox([]byte(arg))); got != want {
			t.Errorf("%q: %q, want %q", arg, got, want)
		}
	}
}

func FuzzMailbox(f *testing.F) {
	for _, s := range []string{"<a@b>", `"`, `\`, "(", "(\\", `"\`, "<a@b (c", "<a b@c. d>", "=<"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		if box := Mailbox(arg); len(box) > len(arg) {
			t.Errorf("%q: %q", arg, box)
		}
	})
}

// BenchmarkMailbox has the longest lines that a client may send, each made to be
// slow. Time must grow with the length, not with its square: twice as long a line
// costs twice as much.
func BenchmarkMailbox(b *testing.B) {
	for name, hostile := range map[string]func(n int) string{
		"open":   func(n int) string { return strings.Repeat("(", n) },
		"nested": func(n int) string { return strings.Repeat("(", n/2) + strings.Repeat(")", n/2) },
		"blanks": func(n int) string { return "a" + strings.Repeat(" ", n-2) + "." },
		"mixed":  func(n int) string { return "a" + strings.Repeat(` " "`, n/4) + "." },
		"colons": func(n int) string { return "a" + strings.Repeat(":", n-1) },
		"quotes": func(n int) string { return strings.Repeat(`"\"`, n/3) },
	} {
		for _, n := range []int{CommandLimit / 2, CommandLimit} {
			arg := []byte(hostile(n))
			b.Run(name+"/"+strconv.Itoa(n), func(b *testing.B) {
				for b.Loop() {
					Mailbox(arg)
				}
			})
		}
	}
}
