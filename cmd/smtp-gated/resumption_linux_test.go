package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var sClientSays = regexp.MustCompile(`(?m)^(New|Reused), (TLSv1\.[23]), Cipher is `)

// bySClient has openssl s_client say STARTTLS, going on with the session that the one
// before has left in a folder, and returns whether it did.
func (g *gate) bySClient(folder, version string) (resumed bool, err error) {
	session := filepath.Join(folder, version)
	args := []string{
		"s_client", "-starttls", "smtp", "-connect", g.address(0), "-servername", "gate.test", "-ign_eof",
		"-" + strings.NewReplacer("v", "", ".", "_").Replace(strings.ToLower(version)), "-sess_out", session,
	}
	if _, err := os.Stat(session); err == nil {
		args = append(args, "-sess_in", session)
	}
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = strings.NewReader("QUIT\r\n")
	out, err := cmd.CombinedOutput()
	says := sClientSays.FindSubmatch(out)
	if err != nil || says == nil || string(says[2]) != version {
		return false, fmt.Errorf("openssl says %v: %s", err, out)
	}
	return string(says[1]) == "Reused", nil
}

// TestResumption: a client's session goes on with whatever worker it meets, behind a
// reload, a new room for the keys, and another program; a certificate that is renewed is
// shown without a word to the daemon. What Go's client sees openssl's does as well.
func TestResumption(t *testing.T) {
	t.Parallel()
	needProgram(t, "openssl")
	daemon := playing(t, "-X github.com/smtp-gated/smtp-gated/parent.pairsEvery=1s")
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, _ := rehearse(t, rooted)
		g.daemon = daemon
		must(t, g.certified("workers 2\nmax_per_host 0\n"))
		must(t, g.start())
		folder := t.TempDir()
		var clients []*tls.Config
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			clients = append(clients, &tls.Config{
				InsecureSkipVerify: true, ServerName: "gate.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8),
			})
		}
		meet := func(when string, resumed bool) (shown *x509.Certificate) {
			t.Helper()
			for _, c := range clients {
				s, err := g.secured(c)
				if err != nil || s.DidResume != resumed || s.Version != c.MaxVersion {
					t.Errorf("%s: resumed %v, version %x, %v", when, s.DidResume, s.Version, err)
					continue
				}
				shown = s.PeerCertificates[0]
			}
			for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
				if got, err := g.bySClient(folder, version); err != nil || got != resumed {
					t.Errorf("%s: openssl resumed %s %t, %v", when, version, got, err)
				}
			}
			return shown
		}
		first := meet("at first", false)
		for range 8 { // whichever worker
			meet("again", true)
		}
		must(t, g.reload())
		meet("behind a reload", true)
		must(t, g.kill("keys"))
		meet("with another room of keys", true)
		must(t, g.kill("session"))
		meet("with another worker", true)
		old := g.pid
		must(t, g.signal(syscall.SIGUSR2))
		must(t, g.follow(old))
		must(t, g.alone(old))
		meet("with another program", true)

		must(t, g.renew())
		must(t, eventually("the renewed certificate is not shown", func() bool {
			s, err := g.secured(&tls.Config{InsecureSkipVerify: true, ServerName: "gate.test"})
			return err == nil && !s.PeerCertificates[0].Equal(first)
		}))
		meet("behind a renewal", true)
		must(t, g.terminate())
	})
}
