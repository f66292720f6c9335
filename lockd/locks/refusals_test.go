package locks

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestRefusals(t *testing.T) {
	var r Refusals
	for range 3 {
		r.Count("a")
	}
	r.Count("b")
	r.Forget("nobody")
	if r.Of("a") != 3 || r.Of("b") != 1 || r.Of("c") != 0 {
		t.Errorf("a %d, b %d, c %d", r.Of("a"), r.Of("b"), r.Of("c"))
	}
	r.Forget("b")
	r.Count("c")
	r.Keep(func(name string) bool { return name != "c" })
	if r.Of("a") != 3 || r.Of("b") != 0 || r.Of("c") != 0 {
		t.Errorf("a %d, b %d, c %d", r.Of("a"), r.Of("b"), r.Of("c"))
	}
	// Who finds no room counts as never turned away; the others go on.
	for i := range maxRefusals {
		r.Count(fmt.Sprint(i))
	}
	r.Count("a")
	if n := len(r.counts); n != maxRefusals || r.Of("a") != 4 || r.Of(fmt.Sprint(maxRefusals-1)) != 0 {
		t.Errorf("%d counted", n)
	}
}

// TestNetwork: what a packet filter blocks for a lock is the client and nobody else, or
// nothing.
func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		mode   imsg.Mode
		prefix int
		name   string
		want   string // empty: nothing
	}{
		{imsg.ModeNetfilter, 64, "192.0.2.7", "192.0.2.7/32"},
		{imsg.ModeNetfilter, 64, "2001:db8:1::", "2001:db8:1::/64"},
		{imsg.ModeNetfilter, 128, "2001:db8:1::7", "2001:db8:1::7/128"},
		{imsg.ModeNetfilter, 64, "2001:db8:1::7", ""}, // made by hand, or under another prefix: it locks nobody
		{imsg.ModeNetfilter, 64, "fe80::7", "fe80::7/128"},
		{imsg.ModeNetfilter, 64, "64:ff9b::192.0.2.7", "64:ff9b::c000:207/128"},
		{imsg.ModeNetfilter, 64, "64:ff9b::1:0:0:0", "64:ff9b::/128"}, // never all of IPv4
		{imsg.ModeNetfilter, 64, "64:ff9b:1::", "64:ff9b:1::/64"},
		{imsg.ModeNetfilter, 8, "fe00::", ""},
		{imsg.ModeNetfilter, 0, "::", ""},
		{imsg.ModeNetfilter, 64, "192.0.2.7-bob", ""},
		{imsg.ModeRemote, 64, "192.0.2.7-bob", ""},
		{imsg.ModeRemote, 64, "192.0.2.7-", ""},
		{imsg.ModeRemote, 64, "192.0.2.7", ""},
	} {
		client, ok := Parse(c.name)
		if !ok {
			t.Fatal(c.name)
		}
		n := Naming{Mode: c.mode, PrefixIPv6: c.prefix}
		network, ok := n.Network(n.Today(client))
		if c.name == "2001:db8:1::7" {
			network, ok = n.Network(client)
		}
		want, err := netip.ParsePrefix(c.want)
		if ok != (err == nil) || ok && network != want {
			t.Errorf("%v %d %s: %v, %v", c.mode, c.prefix, c.name, network, ok)
		}
	}
}
