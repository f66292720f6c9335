package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// aPair returns a certificate and its key, in PEM.
func aPair(t *testing.T, begin, end time.Duration) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example"}, NotBefore: now.Add(begin), NotAfter: now.Add(end)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", secret)
}

// TestCheckLooksAtPairs: what would keep a start from happening, and what clients will
// stumble over, is said with the file and line that are to blame.
func TestCheckLooksAtPairs(t *testing.T) {
	dir := t.TempDir()
	for path := dir; path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const long = 90 * 24 * time.Hour
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "gate.toml")
	look := func(chain, key, tls string) (int, string) {
		text := "[target]\nmode = \"fixed\"\nserver = \"127.0.0.1\"\nport = 10025\n[users]\nuser = \"nobody\"\n[tls]\n" + tls
		for _, p := range [][2]string{{"good.pem", "good.key"}, {chain, key}} {
			text += fmt.Sprintf("[[tls.certificate]]\nchain = %q\nkey = %q\n", filepath.Join(dir, p[0]), filepath.Join(dir, p[1]))
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		code, out, _ := gatectl("check", file)
		return code, strings.ReplaceAll(out, dir+"/", "")
	}
	const never = "upstream = \"never\"\n"
	good, goodKey := aPair(t, -time.Hour, long)
	other, otherKey := aPair(t, -time.Hour, long)
	ended, endedKey := aPair(t, -long, -time.Hour)
	later, laterKey := aPair(t, time.Hour, long)
	soon, soonKey := aPair(t, -long, 13*24*time.Hour)
	for name, text := range map[string]string{
		"good.pem": good, "good.key": goodKey, "other.pem": other, "other.key": otherKey, "ended.pem": ended, "ended.key": endedKey,
		"later.pem": later, "later.key": laterKey, "soon.pem": soon, "soon.key": soonKey, "empty": "", "rubbish": "rubbish\n",
		"broken.pem": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
		"closed.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
	} {
		write(name, text)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ chain, key, want string }{
		{"other.pem", "other.key", ""},
		{"other.pem", "good.key", "error: gate.toml:14: tls.certificate.key: good.key: it is not that of the first certificate of the chain: name the key"},
		{"empty", "other.key", "error: gate.toml:13: tls.certificate.chain: empty: it has no certificate in PEM"},
		{"rubbish", "other.key", "error: gate.toml:13: tls.certificate.chain: rubbish: it has no certificate in PEM"},
		{"other.key", "other.key", "error: gate.toml:13: tls.certificate.chain: other.key: it has no certificate in PEM"},
		{"broken.pem", "other.key", "error: gate.toml:13: tls.certificate.chain: broken.pem: x509: "},
		{"folder", "other.key", "error: gate.toml:13: tls.certificate.chain: folder is no regular file"},
		{"none.pem", "other.key", "error: gate.toml:13: tls.certificate.chain: open none.pem: no such file"},
		{"other.pem", "none.key", "error: gate.toml:14: tls.certificate.key: open none.key: no such file"},
		{"other.pem", "folder", "error: gate.toml:14: tls.certificate.key: folder is no regular file"},
		{"other.pem", "empty", "error: gate.toml:14: tls.certificate.key: empty: it has no private key in PEM"},
		{"other.pem", "other.pem", "error: gate.toml:14: tls.certificate.key: other.pem: it has no private key in PEM"},
		{"other.pem", "closed.key", "error: gate.toml:14: tls.certificate.key: closed.key: a key of the kind ENCRYPTED PRIVATE KEY is not known, or encrypted: write it without a password"},
		{"ended.pem", "ended.key", "warning: gate.toml:13: tls.certificate.chain: ended.pem: it has expired at "},
		{"ended.pem", "other.key", "error: gate.toml:14: tls.certificate.key: other.key: it is not that"},
		{"later.pem", "later.key", "warning: gate.toml:13: tls.certificate.chain: later.pem: it is not valid before "},
		{"soon.pem", "soon.key", "hint: tls.certificate.chain: soon.pem: the certificate for mail.example ends at "},
	} {
		code, out := look(tc.chain, tc.key, never)
		bad := strings.HasPrefix(tc.want, "error")
		if bad != (code == exitUsage) || !bad && code != exitOK || !strings.Contains(out, tc.want) || strings.Contains(out, "good.pem") || (tc.want == "") != !strings.Contains(out, "tls.certificate") {
			t.Errorf("%s, %s: exit %d\n%s\nwant %s", tc.chain, tc.key, code, out, tc.want)
		}
	}
	if code, out := look("other.pem", "other.key", "verify = \"chain\"\nca_file = \"/none/ca\"\n"); code != exitUsage || !strings.Contains(out, "error: tls.ca_file: open /none/ca: no such file") {
		t.Errorf("no authorities: exit %d\n%s", code, out)
	}

	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	if err := os.Chmod(filepath.Join(dir, "ended.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	look("ended.pem", "ended.key", never) // writes the file
	if err := syscall.Setreuid(-1, 65534); err != nil {
		t.Fatal(err)
	}
	code, out, _ := gatectl("check", file)
	if err := syscall.Setreuid(-1, 0); err != nil {
		t.Fatal(err)
	}
	out = strings.ReplaceAll(out, dir+"/", "")
	for _, want := range []string{
		"warning: gate.toml:10: tls.certificate.chain: open good.pem: permission denied: root can look",
		"warning: gate.toml:14: tls.certificate.key: open ended.key: permission denied: root can look",
		"warning: gate.toml:13: tls.certificate.chain: ended.pem: it has expired",
	} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("somebody else: exit %d\n%s\nwant %s", code, out, want)
		}
	}
}
