package smtp

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestExchange(t *testing.T) {
	coded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	const digest = "0123456789abcdef0123456789abcdef"
	for _, row := range []struct {
		name, arg string
		responses []string // meant, in base64 on the wire; * stands as it is
		want      string   // "?" if it is unreadable
	}{
		{"plain, at once", "PLAIN " + coded("\x00bob\x00secret"), nil, "bob"},
		{"plain, for somebody else", "plain " + coded("alice\x00bob\x00secret"), nil, "bob"},
		{"plain, asked", "PLAIN", []string{"alice\x00bob\x00secret"}, "bob"},
		{"plain, behind a tab", "PLAIN\t" + coded("\x00bob\x00secret") + " ", nil, "bob"},
		{"plain, no third field", "PLAIN", []string{"bob\x00secret"}, "?"},
		{"plain, no password", "PLAIN", []string{"bob\x00secret\x00"}, "?"},
		{"plain, nobody", "PLAIN", []string{"bob\x00\x00secret"}, "?"},
		{"plain, a NUL in the password", "PLAIN", []string{"\x00bob\x00sec\x00ret"}, "bob"},
		{"plain, empty", "PLAIN =", []string{"\x00bob\x00x"}, "?"},
		{"plain, cancelled", "PLAIN", []string{"*"}, ""},
		{"plain, asked again", "PLAIN " + coded("\x00bob\x00x"), []string{"\x00eve\x00x"}, "?"},
		{"login", "LOGIN", []string{"bob@a.example", "secret"}, "bob@a.example"},
		{"login, at once", "LOGIN  " + coded("bob"), []string{"secret"}, "bob"},
		{"login, an empty name", "LOGIN", []string{"", "secret"}, "?"},
		{"login, an empty name at once", "LOGIN =", []string{"bob", "secret"}, "?"},
		{"login, asked again", "LOGIN " + coded("eve"), []string{"bob", "secret"}, "?"},
		{"login, a NUL", "LOGIN", []string{"bob\x00secret"}, "?"},
		{"login, in lower case", "login", []string{"bob", "secret"}, "bob"},
		{"login, nothing yet", "LOGIN", nil, ""},
		{"login, an empty password", "LOGIN", []string{"bob", ""}, "bob"},
		{"cram", "CRAM-MD5", []string{"bob " + digest}, "bob"},
		{"cram, two words", "CRAM-MD5", []string{"bob smith " + digest}, "bob smith"},
		{"cram, more blanks", "CRAM-MD5", []string{"bob \t " + digest}, "bob"},
		{"cram, no blank but a tab", "CRAM-MD5", []string{"bob\t" + digest}, "bob"},
		{"cram, one word", "CRAM-MD5", []string{"bob"}, "?"},
		{"cram, the digest alone", "CRAM-MD5", []string{digest}, "?"},
		{"cram, a blank behind it", "CRAM-MD5", []string{"bob " + digest + " "}, "?"},
		{"cram, a NUL", "CRAM-MD5", []string{"bob\x00eve " + digest}, "?"},
		{"scram", "SCRAM-SHA-256 " + coded("n,,n=bob,r=nonce"), []string{"c=biws,r=x,p=y", ""}, "bob"},
		{"scram, the last with an extension", "SCRAM-SHA-256 " + coded("n,,n=bob,r=nonce"), []string{"c=biws,r=x,n=eve,p=y"}, "bob"},
		{"scram, another identity", "SCRAM-SHA-1 " + coded("n,a=alice,n=b=2Cb=3D,r=nonce"), nil, "b,b="},
		{"scram, bound", "scram-sha-256-plus " + coded("p=tls-exporter,,n=bob,r=nonce"), nil, "bob"},
		{"scram, unknown extension", "SCRAM-SHA-1 " + coded("n,,m=x,n=bob,r=nonce"), nil, "?"},
		{"scram, another name behind", "SCRAM-SHA-1 " + coded("n,,n=eve,r=nonce,n=bob"), nil, "?"},
		{"scram, no key", "SCRAM-SHA-1 " + coded("n,,nobob,r=nonce"), nil, "?"},
		{"scram, no escape", "SCRAM-SHA-1 " + coded("n,,n=b=62ob,r=nonce"), nil, "?"},
		{"scram, no header", "SCRAM-SHA-1 " + coded("n,x,n=bob,r=nonce"), nil, "?"},
		{"xoauth2, an error's answer", "XOAUTH2 " + coded("user=bob\x01auth=Bearer t\x01\x01"), []string{""}, "bob"},
		{"xoauth2", "XOAUTH2 " + coded("user=bob@a.example\x01auth=Bearer t\x01\x01"), nil, "bob@a.example"},
		{"xoauth2, twice", "XOAUTH2 " + coded("user=eve\x01user=bob\x01auth=Bearer t\x01\x01"), nil, "?"},
		{"xoauth2, twice in another case", "XOAUTH2 " + coded("user=eve\x01auth=Bearer t\x01User=bob\x01\x01"), nil, "?"},
		{"xoauth2, nobody", "XOAUTH2 " + coded("auth=Bearer t\x01\x01"), nil, "?"},
		{"oauthbearer", "OAUTHBEARER " + coded("n,a=bob@a.example,\x01host=h\x01auth=Bearer t\x01\x01"), []string{"\x01"}, "bob@a.example"},
		{"oauthbearer, nobody", "OAUTHBEARER " + coded("n,,\x01auth=Bearer t\x01\x01"), nil, "?"},
		{"oauthbearer, no key", "OAUTHBEARER " + coded("n,bob,\x01auth=Bearer t\x01\x01"), nil, "?"},
		{"oauthbearer, twice", "OAUTHBEARER " + coded("n,a=eve,a=bob\x01auth=Bearer t\x01\x01"), nil, "?"},
		{"oauthbearer, another header", "OAUTHBEARER " + coded("n,a=eve,\x01n,a=bob,\x01auth=Bearer t\x01\x01"), nil, "?"},
		{"ntlm", "NTLM " + coded("NTLMSSP\x00"), []string{"bob"}, ""},
		{"gssapi", "GSSAPI", []string{"bob\x00bob\x00"}, ""},
		{"external", "EXTERNAL " + coded("bob"), nil, ""},
		{"none", "", []string{"bob"}, ""},
	} {
		x := BeginExchange([]byte(row.arg))
		for _, r := range row.responses {
			if r != "*" {
				r = coded(r)
			}
			x.Respond([]byte(r))
		}
		got := string(x.Login())
		if x.Unreadable() {
			got += "?"
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestUnreadable: what some servers decode all the same is no base64.
func TestUnreadable(t *testing.T) {
	whole := base64.StdEncoding.EncodeToString([]byte("\x00bob\x00xy"))
	for _, line := range []string{
		strings.TrimRight(whole, "="), whole[:4] + " " + whole[4:], whole[:4] + "\r" + whole[4:], whole + "=", "!" + whole, whole[:len(whole)-2] + "R=", strings.ReplaceAll(whole, "A", "-"),
	} {
		if line == whole {
			t.Fatal("that is readable")
		}
		x := BeginExchange([]byte("PLAIN"))
		if x.Respond([]byte(line)); !x.Unreadable() || len(x.Login()) > 0 {
			t.Errorf("%q: %q", line, x.Login())
		}
	}
}

// FuzzExchange: whatever is said, nothing panics, and what is read was said.
func FuzzExchange(f *testing.F) {
	f.Add([]byte("PLAIN"), []byte("AGJvYgB4"))
	f.Add([]byte("SCRAM-SHA-1 biwsbj1ib2I="), []byte("*"))
	f.Fuzz(func(t *testing.T, arg, response []byte) {
		x := BeginExchange(arg)
		x.Respond(response)
		if len(x.Login()) > len(arg)+len(response) || x.Unreadable() && len(x.Login()) > 0 {
			t.Errorf("%q", x.Login())
		}
	})
}
