package upstream

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestUsesClientAddress(t *testing.T) {
	for client, public := range map[string]bool{
		"192.0.2.1": true, "9.255.255.255": true, "10.0.0.0": false, "10.255.255.255": false, "11.0.0.0": true,
		"172.15.255.255": true, "172.16.0.0": false, "172.31.255.255": false, "172.32.0.0": true,
		"192.167.255.255": true, "192.168.0.0": false, "192.168.255.255": false, "192.169.0.0": true,
		"169.253.255.255": true, "169.254.0.0": false, "169.254.255.255": false, "169.255.0.0": true,
		"2001:db8::1": true, "fc00::": false, "fdff::1": false, "fe80::1": false, "febf::1": false, "fec0::1": true,
	} {
		a := netip.MustParseAddr(client)
		if got := usesClientAddress(imsg.ModeTproxyNetfilter, a); got != public {
			t.Errorf("tproxy,netfilter: %s uses its address: %v", a, got)
		}
		if !usesClientAddress(imsg.ModeTproxy, a) || usesClientAddress(imsg.ModeNetfilter, a) || usesClientAddress(imsg.ModeFixed, a) {
			t.Errorf("%s in another mode", a)
		}
	}
}

func TestSource(t *testing.T) {
	for _, c := range []struct {
		mode                          imsg.Mode
		keep                          bool
		outgoing, client, server, out string
	}{
		{imsg.ModeFixed, true, "0.0.0.0", "192.0.2.1:7", "198.51.100.1:25", "invalid AddrPort"},
		{imsg.ModeFixed, true, "203.0.113.1", "192.0.2.1:7", "198.51.100.1:25", "203.0.113.1:0"},
		{imsg.ModeFixed, true, "203.0.113.1", "192.0.2.1:7", "[2001:db8::1]:25", "invalid AddrPort"},
		{imsg.ModeFixed, true, "2001:db8::2", "192.0.2.1:7", "[2001:db8::1]:25", "[2001:db8::2]:0"},
		{imsg.ModeNetfilter, false, "203.0.113.1,2001:db8::2", "192.0.2.1:7", "[2001:db8::1]:25", "[2001:db8::2]:0"},
		{imsg.ModeNetfilter, false, "2001:db8::2,203.0.113.1", "192.0.2.1:7", "198.51.100.1:25", "203.0.113.1:0"},
		{imsg.ModeTproxy, false, "203.0.113.1", "192.0.2.1:7", "198.51.100.1:25", "192.0.2.1:0"},
		{imsg.ModeTproxy, true, "203.0.113.1", "192.0.2.1:7", "198.51.100.1:25", "192.0.2.1:7"},
		{imsg.ModeTproxyNetfilter, true, "203.0.113.1", "10.0.0.1:7", "198.51.100.1:25", "203.0.113.1:0"},
		{imsg.ModeTproxyNetfilter, false, "::", "[fd00::1]:7", "[2001:db8::1]:25", "invalid AddrPort"},
	} {
		var outgoing []netip.Addr
		for word := range strings.SplitSeq(c.outgoing, ",") {
			outgoing = append(outgoing, netip.MustParseAddr(word))
		}
		cfg := &imsg.SessionConfig{Mode: c.mode, KeepPort: c.keep, Outgoing: outgoing}
		if got := source(cfg, netip.MustParseAddrPort(c.client), netip.MustParseAddrPort(c.server)); got.String() != c.out {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestLoops(t *testing.T) {
	for _, c := range []struct {
		mode                      imsg.Mode
		listener, src, local, dst string
		loop                      bool
	}{
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "198.51.100.25:25", false},
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "192.0.2.1:9199", true},
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "192.0.2.1:25", false},        // the router's own server
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "198.51.100.1:9199", true},    // by another address of ours
		{imsg.ModeNetfilter, "192.0.2.1:9199", "192.0.2.10:7", "192.0.2.1:9199", "198.51.100.1:9199", false}, // where we do not listen
		{imsg.ModeNetfilter, "192.0.2.1:9199", "192.0.2.10:7", "192.0.2.1:9199", "192.0.2.1:9199", true},
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "127.0.0.1:9199", true},
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "192.0.2.10:25", true},   // the client itself
		{imsg.ModeNetfilter, "0.0.0.0:9199", "192.0.2.1:7", "192.0.2.1:9199", "198.51.100.25:25", true}, // we ourselves
		{imsg.ModeTproxy, "[::]:9199", "[fe80::1%lan0]:7", "[2001:db8::1]:25", "[2001:db8::1]:25", true},
		{imsg.ModeTproxy, "[::]:9199", "[fe80::2%lan0]:7", "[2001:db8::1]:25", "[2001:db8::1]:25", false},
		{imsg.ModeGetsockname, "[::]:9199", "[2001:db8::2]:7", "[2001:db8::9]:9199", "[2001:db8::9]:9199", true},
		{imsg.ModeFixed, "0.0.0.0:9199", "127.0.0.1:7", "127.0.0.1:9199", "127.0.0.1:25", false},
		{imsg.ModeFixed, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "192.0.2.10:25", false},
		{imsg.ModeFixed, "0.0.0.0:9199", "192.0.2.10:7", "192.0.2.1:9199", "198.51.100.1:9199", true},
	} {
		cfg := &imsg.SessionConfig{
			Mode: c.mode, Listeners: []netip.AddrPort{netip.MustParseAddrPort(c.listener)},
			Own: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("fe80::1")},
		}
		a := netip.MustParseAddrPort
		if got := Loops(cfg, a(c.src), a(c.local), a(c.dst)); got != c.loop {
			t.Errorf("%+v: %v", c, got)
		}
		// A stranger at our port is no loop of ours, but for the fixed modes: there nobody
		// chooses the server.
		if got := Returns(cfg, a(c.src)); got != (c.mode == imsg.ModeFixed || strings.HasPrefix(c.src, "192.0.2.1:") || strings.HasPrefix(c.src, "[fe80::1%")) {
			t.Errorf("%+v returns: %v", c, got)
		}
	}
}
