//go:build linux

package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// circle are rules that catch the gateway's own connections too, but for those
// with its mark.
const circle = `table ip circle {
	chain output {
		type nat hook output priority -100; policy accept;
		meta mark 0x5347 accept
		tcp dport 25 redirect to :9199
	}
}
`

// TestCircle: rules that lead the gateway's own connections back to it cost two
// sessions, not as many as there can be; its mark keeps them out.
func TestCircle(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := filepath.Join(t.TempDir(), "circle.nft")
	if err := os.WriteFile(file, []byte(circle), 0o644); err != nil {
		t.Fatal(err)
	}
	l.rules("nft -f nftables-redirect.nft")
	l.rules("nft -f " + file)
	i := interception{mode: "netfilter\nso_mark 1"} // not its own yet, but it may set one
	g := i.gate(t, l)
	defer explain(t, g)
	f := labFamilies[0]
	v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
	v.refused(f.client, f.server, "lead back")
	if err := g.inLog(`loop refused src=198\.51\.100\.\d+:\d+, dst=198\.51\.100\.25:25`); err != nil {
		t.Error(err)
	}
	imsgtest.Until(t, "a finding tells of it", func() bool {
		found, _ := g.ctl("status", "--check")
		return strings.Contains(found, "\nloop: ")
	})
	if _, calls := l.witness.last(); calls > 0 {
		t.Errorf("the server was called %d times", calls)
	}

	if err := g.configure("mode netfilter\nso_mark 21319\nlisten "+everywhere+"\n", false); err != nil {
		t.Fatal(err)
	}
	if err := g.reload(); err != nil {
		t.Fatal(err)
	}
	v.send(f.client, cleanMail, "250 ")
}

// round has the gateway find whoever calls its port at any address.
const round = `table ip round {
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		tcp dport 9199 redirect to :9199
	}
}
`

// TestOwnAddresses: an address that the router gets while the gateway runs is one
// of ours from the next reload on.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := filepath.Join(t.TempDir(), "round.nft")
	if err := os.WriteFile(file, []byte(round), 0o644); err != nil {
		t.Fatal(err)
	}
	l.rules("nft -f " + file)
	i := interception{mode: "netfilter"}
	g := i.gate(t, l)
	defer explain(t, g)
	f := labFamilies[0]
	v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
	v.refused(f.neighbour, netip.AddrPortFrom(f.outer, 9199), "lead back")
	at := netip.MustParseAddrPort("198.51.100.77:9199")
	c, err := l.dial(f.neighbour, at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	// Nobody is there.
	if err := errors.Join(c.expect("220 gate.test SMTP"), c.quit()); err != nil {
		t.Fatal(err)
	}
	l.configure(l.router, "addr add 198.51.100.77/24 dev wan0\n")
	if err := g.reload(); err != nil {
		t.Fatal(err)
	}
	v.refused(f.neighbour, at, "lead back")
	// Nothing of that was a connection of ours.
	if found, _ := g.ctl("status", "--check"); strings.Contains(found, "loop:") {
		t.Errorf("strangers at the gateway's port make findings: %s", found)
	}
}
