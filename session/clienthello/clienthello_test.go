package clienthello

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stored is a hello that a real client once said.
func stored(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// said is the first record of a client of this program.
func said(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go tls.Client(theirs, c).Handshake()
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 32<<10)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// encrypted says its own name in an inner hello, and public in the outer one.
func encrypted(t testing.TB, public string) *tls.Config {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte{7, 0, 0x20} // identifier, DHKEM(X25519)
	content = appendVector(content, 2, key.PublicKey().Bytes())
	content = appendVector(content, 2, []byte{0, 1, 0, 1}) // HKDF-SHA256, AES-128-GCM
	content = append(content, 0)                           // any length of a name
	content = appendVector(content, 1, []byte(public))
	content = appendVector(content, 2, nil)
	list := appendVector(nil, 2, appendVector([]byte{0xfe, 0x0d}, 2, content))
	return &tls.Config{ServerName: "secret.example", EncryptedClientHelloConfigList: list, MinVersion: tls.VersionTLS13}
}

func appendVector(dst []byte, width int, v []byte) []byte {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(v)))
	return append(append(dst, n[8-width:]...), v...)
}

// hello is one with these extensions, each a kind and its data.
func hello(extensions ...[]byte) []byte {
	body := make([]byte, beforeID)
	body = appendVector(body, 1, make([]byte, 32))
	body = appendVector(body, 2, []byte{0x0a, 0x0a, 0x13, 0x01}) // GREASE and one more (RFC 8701)
	body = appendVector(body, 1, []byte{0})
	body = appendVector(body, 2, slices.Concat(extensions...))
	return record(appendVector([]byte{clientHello}, 3, body))
}

func record(fragment []byte) []byte {
	return appendVector([]byte{handshake, version, 1}, 2, fragment)
}

func extension(kind uint16, data []byte) []byte {
	return appendVector([]byte{byte(kind >> 8), byte(kind)}, 2, data)
}

func named(kind byte, name string) []byte { return appendVector([]byte{kind}, 2, []byte(name)) }

func sni(names ...[]byte) []byte {
	return extension(serverName, appendVector(nil, 2, slices.Concat(names...)))
}

func TestServerName(t *testing.T) {
	plain := hello(sni(named(hostName, "mx.example")))
	at := strings.Index(string(plain), "mx.example")
	cut := func(n int) []byte { // the same message in two records
		message := plain[recordHeader:]
		return append(record(message[:n-recordHeader]), record(message[n-recordHeader:])...)
	}
	long := strings.Repeat("a", 300) + ".example"
	tooLong := slices.Clone(plain)
	binary.BigEndian.PutUint16(tooLong[3:], maxRecord+1)
	for _, row := range []struct {
		name string
		in   []byte
		want string
	}{
		{"openssl s_client", stored(t, "openssl-3.0"), "mx.openssl.example"},
		{"openssl s_client, TLS 1.2", stored(t, "openssl-3.0-tls1.2"), "mx.openssl.example"},
		{"openssl s_client without a name", stored(t, "openssl-3.0-noservername"), ""},
		{"Python", stored(t, "python-3.11"), "mx.python.example"},
		{"swaks", stored(t, "swaks-2020"), "mx.swaks.example"},
		{"Go", said(t, &tls.Config{ServerName: "mx.go.example"}), "mx.go.example"},
		{"Go, by address", said(t, &tls.Config{ServerName: "192.0.2.1"}), ""},
		{"Go, encrypted: the outer one", said(t, encrypted(t, "public.example")), "public.example"},

		{"plain", plain, "mx.example"},
		{"GREASE before it", hello(extension(0x7a7a, nil), extension(0x1a1a, []byte{0}), sni(named(hostName, "mx.example"))), "mx.example"},
		{"another kind of name before it", hello(sni(named(7, "x"), named(hostName, "mx.example"))), "mx.example"},
		{"two names", hello(sni(named(hostName, "one.example"), named(hostName, "two.example"))), "one.example"},
		{"no name in the list", hello(sni()), ""},
		{"the answer's form", hello(extension(serverName, nil)), ""},
		{"no extensions", hello(), ""},
		{"octets behind", append(slices.Clone(plain), "more"...), "mx.example"},
		{"unprintable", hello(sni(named(hostName, "a\r\nb, src=\x00é"))), "a##b##src###" + "#"},
		{"a name too long", hello(sni(named(hostName, long))), long[:MaxName]},

		{"two records, cut behind the name", cut(at + len("mx.example")), "mx.example"},
		{"two records, cut in the name", cut(at + 1), ""},
		{"two records, cut at its start", cut(recordHeader + 1), ""},
		{"the first part, as far as the name", plain[:at+len("mx.example")], "mx.example"},
		{"the first part", plain[:at+1], ""},
		{"over 16 KiB", tooLong, ""},

		{"nothing", nil, ""},
		{"one octet", plain[:1], ""},
		{"the header alone", plain[:recordHeader], ""},
		{"an empty record", record(nil), ""},
		{"SMTP", []byte("MAIL FROM:<a@mx.example>\r\n"), ""},
		{"an alert", []byte{21, 3, 1, 0, 2, 2, 40}, ""},
		{"SSL 2", []byte{0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10}, ""},
		{"another handshake message", record([]byte{2, 0, 0, 1, 0}), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := ServerName(row.in); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

func TestStarts(t *testing.T) {
	for _, row := range []struct {
		in         string
		tls, known bool
	}{
		{"", false, false},
		{"\x16", false, false},
		{"\x16\x03", true, true},
		{"\x16\x02", false, true},
		{"E", false, true},
		{"\x80", false, true},
	} {
		if is, known := Starts([]byte(row.in)); is != row.tls || known != row.known {
			t.Errorf("%q: %v, %v", row.in, is, known)
		}
	}
}

// FuzzServerName: whatever comes, a name is short and may stand in a log; and what comes
// behind octets that hold one changes nothing.
func FuzzServerName(f *testing.F) {
	for _, name := range []string{"openssl-3.0", "python-3.11", "swaks-2020"} {
		f.Add(stored(f, name), []byte(nil))
	}
	f.Add(hello(sni(named(hostName, "mx.example"))), []byte("x"))
	f.Add(hello(sni(named(7, ""), named(hostName, "a b")))[:60], []byte{0})
	f.Fuzz(func(t *testing.T, in, more []byte) {
		name := ServerName(in)
		if len(name) > MaxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' || r == '=' || r == '"' }) {
			t.Errorf("%q", name)
		}
		if longer := ServerName(append(slices.Clone(in), more...)); name != "" && longer != name {
			t.Errorf("%q becomes %q", name, longer)
		}
	})
}

func BenchmarkServerName(b *testing.B) {
	in := stored(b, "python-3.11")
	b.ReportAllocs()
	for b.Loop() {
		ServerName(in)
	}
}
