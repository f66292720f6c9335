package smtp

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	tests := []struct{ in, printable, header, xtext string }{
		{"", "", "", ""},
		{"mail.example.org", "mail.example.org", "mail.example.org", "mail.example.org"},
		{"a b", "a b", "a#b", "a+20b"},
		{"a\r\nX: y", "a##X: y", "a##X:#y", "a+0D+0AX:+20y"},
		{"\x00\x1b\x7f\x80\xff", "#####", "#####", "+00+1B+7F+80+FF"},
		{"\xc3\xa9", "##", "##", "+C3+A9"},
		{"a+b=c", "a+b=c", "a+b=c", "a+2Bb+3Dc"},
		{"[x](y)<z>,;\"", "[x](y)<z>,;\"", "#x##y##z####", "[x](y)<z>,;\""},
		{`DOM\user@x:1/2`, `DOM\user@x:1/2`, `DOM\user@x:1/2`, `DOM\user@x:1/2`},
	}
	for _, tt := range tests {
		if got := string(AppendPrintable([]byte("^"), []byte(tt.in))); got != "^"+tt.printable {
			t.Errorf("AppendPrintable(%q) = %q, want %q", tt.in, got, tt.printable)
		}
		if got := string(AppendHeader([]byte("^"), []byte(tt.in))); got != "^"+tt.header {
			t.Errorf("AppendHeader(%q) = %q, want %q", tt.in, got, tt.header)
		}
		if got := string(AppendXtext([]byte("^"), []byte(tt.in))); got != "^"+tt.xtext {
			t.Errorf("AppendXtext(%q) = %q, want %q", tt.in, got, tt.xtext)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("a b+c=\r\n\x00\xff]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, out := range [][]byte{AppendPrintable(nil, in), AppendHeader(nil, in), AppendXtext(nil, in)} {
			if i := bytes.IndexFunc(out, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
				t.Errorf("%q became %q", in, out)
			}
		}
		// With "%" set apart, xtext is what the path escapes of a URL are.
		escaped := strings.NewReplacer("%", "%25", "+", "%").Replace(string(AppendXtext(nil, in)))
		if back, err := url.PathUnescape(escaped); err != nil || back != string(in) {
			t.Errorf("%q became %q, and back %q, %v", in, escaped, back, err)
		}
	})
}
