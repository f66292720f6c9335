//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// TestRatesInANetwork has clients of one IPv6 network share their quotas, and one
// client call more servers than it may: what no story can tell on one machine.
func TestRatesInANetwork(t *testing.T) {
	l := newLab(t)
	l.rules("nft -f nftables-redirect.nft")
	// Addresses of the server where nobody listens.
	if out, err := exec.Command("ip", "-netns", string(l.server), "route", "add", "local", "198.51.100.64/26", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	g, err := newGate(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	defer explain(t, g)
	g.server = 25
	house := "mode netfilter\nlisten " + everywhere + "\nratelimit_path " + g.path("rates") + "\nratelimit_expiration 3600\n"
	configure := func(own string) {
		t.Helper()
		if err := g.configure(house+own, false); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(from netip.Addr, to netip.AddrPort, want string) {
		t.Helper()
		c, err := l.dial(from, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		if err := c.expect(want); err != nil {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
	}
	ask := func(name string, args ...string) string {
		t.Helper()
		out, err := g.command(program(name), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v: %s", name, args, err, out)
		}
		return string(out)
	}

	configure("ratelimit_connections 2\n")
	if err := l.router.enter(func() error { return g.start() }); err != nil {
		t.Fatal(err)
	}
	six := labFamilies[1]
	hears(six.client, six.server, "220 msa.test")
	hears(six.neighbour, six.server, "220 msa.test")
	hears(six.client, six.server, "421 gate.test You have connected too often")
	hears(six.private, six.server, "220 msa.test") // of another network
	if list := ask("smtp-gatectl", "--socket", g.path("run/control"), "rate", "list"); !matches(`^2001:db8:1::/64 +2 of 2 `, list) || !matches(`^fd00:1::/64 +1 of 2 `, list) {
		t.Errorf("listed:\n%s", list)
	}
	for _, name := range []string{six.neighbour.String(), "2001:db8:1::/64", g.path("rates/" + six.client.String())} {
		if record := ask("smtp-gated", "-L", name, g.path("smtp-gated.conf")); !strings.HasPrefix(record, "client: 2001:db8:1::\nbits: 64\n") {
			t.Errorf("-L %s:\n%s", name, record)
		}
	}
	ask("smtp-gatectl", "--socket", g.path("run/control"), "rate", "reset", six.neighbour.String())
	hears(six.client, six.server, "220 msa.test")
	hears(six.client, six.server, "220 msa.test")
	hears(six.client, six.server, "421 ")
	configure("ratelimit_connections 2\nclient_prefix_ipv6 128\n")
	if err := g.reload(); err != nil {
		t.Fatal(err)
	}
	hears(six.client, six.server, "220 msa.test")

	// So many servers, and one more.
	configure("ratelimit_generation 1\nratelimit_connections 1000\nratelimit_dst_expiration 3600\n")
	if err := g.reload(); err != nil {
		t.Fatal(err)
	}
	four := labFamilies[0]
	for n := range 64 {
		hears(four.client, netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:25", 64+n)), "220 gate.test SMTP")
	}
	hears(four.client, four.server, "421 gate.test You have called too many different mail servers")
	if err := g.inLog(`RATELIMIT:REJECT src=192.0.2.10, ident=, counter=targets, dst=198.51.100.25:25$`); err != nil {
		t.Error(err)
	}
	hears(four.client, netip.MustParseAddrPort("198.51.100.64:25"), "220 gate.test SMTP")
	hears(four.neighbour, four.server, "220 msa.test")
	if record := ask("smtp-gated", "-L", four.client.String(), g.path("smtp-gated.conf")); !matches("^targets: 64$", record) || !matches("^target.0.ip: 198.51.100.64$", record) {
		t.Errorf("record:\n%s", record)
	}
	configure("ratelimit_generation 1\nratelimit_connections 1000\nratelimit_dst_expiration 0\n")
	if err := g.reload(); err != nil {
		t.Fatal(err)
	}
	hears(four.client, four.server, "220 msa.test")
}
