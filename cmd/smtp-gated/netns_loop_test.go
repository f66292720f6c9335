//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
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
	i := interception{mode: "netfilter"}
	g := i.gate(t, l)
	defer explain(t, g)
	f := labFamilies[0]
	v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
	v.refused(f.client, f.server, "lead back")
	if err := g.inLog(`loop refused src=198\.51\.100\.\d+:\d+, dst=198\.51\.100\.25:25`); err != nil {
		t.Error(err)
	}
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
