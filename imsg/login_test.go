package imsg

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	long := strings.Repeat("a", MaxLogin)
	for _, row := range []struct{ name, want string }{
		{"", ""},
		{"Bob@Example.COM", "bob@example.com"},
		{`DOMAIN\bob`, "domain%5Cbob"},
		{"bob smith", "bob%20smith"},
		{"b%6f", "b%256f"},
		{"../x/\x00", "..%2Fx%2F%00"},
		{"jürgen", "j%C3%BCrgen"},
		{"sha256=" + strings.Repeat("0", 64), "sha256%3D" + strings.Repeat("0", 64)},
		{long, long},
		{long + "a", "sha256=a92efd82109373e58f9a2056dee01e807e216ce6075f7051207c0a9f7d666e50"},
	} {
		if got := Login([]byte(row.name)); got != row.want {
			t.Errorf("%q: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestParseLogin(t *testing.T) {
	for _, row := range []struct {
		text, want string
		ok         bool
	}{
		{"Bob@Example.COM", "bob@example.com", true},
		{"domain%5Cbob", "domain%5Cbob", true},
		{`domain\bob`, "domain%5Cbob", true},
		{"b%6f", "b%256f", true}, // no login is written so
		{"50%", "50%25", true},
		{"sha256=" + strings.Repeat("0", 64), "sha256=" + strings.Repeat("0", 64), true},
		{"sha256=x", "sha256%3Dx", true},
		{"", "", false},
		{strings.Repeat("a", MaxWord+1), "", false},
	} {
		if got, ok := ParseLogin(row.text); got != row.want || ok != row.ok {
			t.Errorf("%q: %q, %v", row.text, got, ok)
		}
	}
}

// FuzzLogin: no two logins share a name, whatever they hold, but for the case of ASCII; and
// each is fit for a file, a message and an operator's line.
func FuzzLogin(f *testing.F) {
	long := strings.Repeat("x", MaxLogin)
	for _, pair := range [][2]string{
		{"a", "A"},
		{"a%20", "a "},
		{long, long + "x"},
		{long + "y", long + "z"},
		{"é", "É"},
		{long + "x", Login([]byte(long + "x"))},
		{"sha256=", "sha256%3D"},
		{"\x00", ""},
	} {
		f.Add([]byte(pair[0]), []byte(pair[1]))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		one, other := Login(a), Login(b)
		if same := bytes.Equal(asciiLower(a), asciiLower(b)); same != (one == other) {
			t.Errorf("%q and %q are %q and %q", a, b, one, other)
		}
		for _, login := range []string{one, other} {
			name := "login=" + login
			if len(login) > MaxLogin || strings.ContainsFunc(login, func(c rune) bool { return !isGraphic(c) }) || !filepath.IsLocal(name) || filepath.Base(name) != name {
				t.Errorf("%q", login)
			}
			if login != "" && !IsLogin(login) {
				t.Errorf("%q is none", login)
			}
			if again, ok := ParseLogin(login); login != "" && (!ok || again != login) {
				t.Errorf("%q is parsed to %q", login, again)
			}
		}
	})
}

func asciiLower(b []byte) []byte {
	b = bytes.Clone(b)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return b
}
