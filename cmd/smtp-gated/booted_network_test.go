//go:build linux && booted

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBootedInterception: the unit leaves the daemon what it needs on a router.
func TestBootedInterception(t *testing.T) {
	for name, dropIn := range strict {
		for _, i := range []interception{
			{mode: "netfilter", rules: "nft -f nftables-redirect.nft"},
			{mode: "tproxy", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft", foreign: true},
		} {
			t.Run(name+"/"+i.mode, func(t *testing.T) {
				b, begin := gateUnit(t, dropIn)
				l := newLab(t)
				l.firewall = "/usr/share/examples/smtp-gated/firewall"
				for line := range strings.SplitSeq(i.rules, ";") {
					l.rules(line)
				}
				g, err := newGate(t.TempDir(), true)
				must(t, err)
				t.Cleanup(g.end)
				g.server = 25
				must(t, g.configure(i.own(), false))
				begin(g, "NetworkNamespacePath=/run/netns/"+string(l.router)+"\n")
				b.runs(g)
				for _, f := range labFamilies {
					defer explain(t, g)
					v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
					v.tell()
				}
			})
		}
	}
}

// TestBootedSocket: systemd listens from one start to the next, so that who connects between
// them waits; a program that takes over has what was given to the one before.
func TestBootedSocket(t *testing.T) {
	b, begin := gateUnit(t, "")
	socket := booted{t, "smtp-gated.socket"}
	g, m := rehearse(t, true)
	begin(g, "")
	t.Cleanup(func() {
		exec.Command("systemctl", "disable", "--now", socket.name).Run()
		exec.Command("systemctl", "reset-failed", socket.name).Run()
	})

	// Beside a service that has not got them it is refused, in words; a restart is what it takes.
	must(t, g.configure("port 9199\nbind_address 0.0.0.0\n", false))
	b.runs(g)
	if out, err := exec.Command("systemctl", "enable", "--now", socket.name).CombinedOutput(); err == nil {
		t.Errorf("a second one listens: %s", out)
	}
	if said := socket.journal(40); !strings.Contains(said, "already active, refusing") {
		t.Errorf("the journal has: %s", said)
	}
	must(t, g.configure("port 1\n", false)) // which must not be tried
	b.systemctl("restart", b.name)
	b.follows(g)
	if state := socket.property("ActiveState"); state != "active" {
		t.Fatalf("after a restart it is %s: %s", state, socket.journal(40))
	}

	from := map[string]string{"127.0.0.1:9199": "127.0.0.1", "[::1]:9199": "::1"}
	mail := func() {
		t.Helper()
		for at, from := range from {
			c, err := dialGate(at, from)
			must(t, err)
			reply, err := c.deliver([]byte(cleanMail))
			if err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Errorf("%s: %q, %v", at, reply, err)
			}
			must(t, c.quit())
		}
	}
	mail()
	old := g.pid
	if out, err := g.ctl("upgrade"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, g.follow(old))
	must(t, g.alone(old))
	mail()

	b.systemctl("stop", b.name)
	// The first client starts it, and is served.
	mail()
	if state := b.property("ActiveState"); state != "active" {
		t.Errorf("it is %s", state)
	}
	b.follows(g)
	// Whoever comes while nobody serves waits.
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		b.systemctl("restart", b.name)
	}()
	for done := false; !done; {
		select {
		case <-restarted:
			done = true
		default:
			c, err := dialGate("127.0.0.1:9199", "127.0.0.66")
			must(t, err)
			must(t, c.conn.Close())
		}
	}
	mail()
	noneBad(t, m)
}
