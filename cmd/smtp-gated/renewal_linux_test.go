package main

import (
	"crypto/tls"
	"syscall"
	"testing"
	"time"
)

// TestRenewalUnderLoad: a certificate is renewed while clients send under TLS. All see the
// new one, and nobody is cut off or put off; the same with a reload and with another
// program just then.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	daemon := playing(t, "-X github.com/smtp-gated/smtp-gated/parent.pairsEvery=1s")
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := rehearse(t, rooted)
		g.daemon = daemon
		g.tls = &tls.Config{InsecureSkipVerify: true, ServerName: "gate.test"} // without a memory: each is a whole handshake
		must(t, g.certified(busy))
		must(t, g.start())
		serial := func() string {
			s, err := g.secured(g.tls)
			if err != nil {
				t.Error(err)
				return ""
			}
			return s.PeerCertificates[0].SerialNumber.String()
		}
		crowd := g.crowd(m, 20, 0, verdicts...)
		must(t, crowd.moves())
		for _, meanwhile := range []struct {
			name string
			do   func() error
		}{
			{"nothing", func() error { return nil }},
			{"reload", g.reload},
			{"upgrade", func() error {
				old := g.pid
				if err := g.signal(syscall.SIGUSR2); err != nil {
					return err
				}
				if err := g.follow(old); err != nil {
					return err
				}
				return g.alone(old)
			}},
			{"reload behind an upgrade", g.reload},
			{"nothing again", func() error { return nil }},
		} {
			before := serial()
			must(t, g.renew())
			began := time.Now()
			must(t, meanwhile.do())
			must(t, eventually("the new certificate is not shown", func() bool {
				now := serial()
				return now != "" && now != before
			}))
			t.Logf("%s: the new one is shown after %v", meanwhile.name, time.Since(began).Round(time.Millisecond))
			must(t, crowd.moves())
		}
		must(t, crowd.stop())
		must(t, crowd.undisturbed())
		t.Log(crowd)
		noneBad(t, m)
		if n := m.post.count(isTaken); int64(n) != crowd.sent.Load() {
			t.Errorf("%d mails were delivered, %d accepted", n, crowd.sent.Load())
		}
		must(t, g.unharmed())
		must(t, g.terminate())
	})
}
