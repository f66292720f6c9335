package main

import (
	"crypto/tls"
	"crypto/x509"
	"syscall"
	"testing"
)

// TestResumption: a client's session goes on with whatever worker it meets, behind a
// reload, a new room for the keys, and another program; a certificate that is renewed is
// shown without a word to the daemon.
func TestResumption(t *testing.T) {
	daemon := playing(t, "-X github.com/smtp-gated/smtp-gated/parent.pairsEvery=1s")
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, _ := rehearse(t, rooted)
		g.daemon = daemon
		must(t, g.certified("workers 2\nmax_per_host 0\n"))
		must(t, g.start())
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
