package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

const aCertificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

// TestAuthorities: the rooms are told the certificates of a file and nothing else of it,
// and only if somebody needs them.
func TestAuthorities(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := config.NewSite()
	c.Mode, c.TLS.Verify = imsg.ModeFixed, imsg.TLSVerifyChain
	c.TLSCertificates = []config.Certificate{{Chain: "/c", Key: "/k"}}
	s := &Site{Config: c}
	for _, tc := range []struct{ path, want, err string }{
		{file("good", "# a comment\n"+aCertificate+"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"+aCertificate), aCertificate + aCertificate, ""},
		{file("empty", ""), "", "has no certificate"},
		{file("large", strings.Repeat(aCertificate, 20000)), "", "more than"},
		{filepath.Join(dir, "absent"), "", "no such file"},
		{dir, "", "no regular file"},
	} {
		c.TLSCAFile = tc.path
		text, err := s.readAuthorities()
		if string(text) != tc.want || (err == nil) != (tc.err == "") || err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "tls.ca_file: ") || !strings.Contains(err.Error(), tc.path)) {
			t.Errorf("%s: %q %v", tc.path, text, err)
		}
	}
	c.TLSCAFile = filepath.Join(dir, "absent")
	c.TLS.Verify = imsg.TLSVerifyNone
	if text, err := s.readAuthorities(); text != nil || err != nil {
		t.Errorf("nobody needs them: %q %v", text, err)
	}
	c.TLS.Verify, c.TLSCAFile = imsg.TLSVerifyName, ""
	authorityFiles = []string{filepath.Join(dir, "absent"), filepath.Join(dir, "good")}
	if text, err := s.readAuthorities(); string(text) != aCertificate+aCertificate || err != nil {
		t.Errorf("the system's: %q %v", text, err)
	}
	authorityFiles = authorityFiles[:1]
	if _, err := s.readAuthorities(); err == nil || !strings.Contains(err.Error(), "tls.ca_file: this system has no file") {
		t.Errorf("a system without: %v", err)
	}
}
