package imsg

import (
	"net/netip"
	"testing"
)

func TestPolicyFor(t *testing.T) {
	networks := func(all ...string) (n []netip.Prefix) {
		for _, s := range all {
			n = append(n, netip.MustParsePrefix(s))
		}
		return n
	}
	c := TLSConfig{Policy: TLSTerminate, Rules: []TLSRule{
		{Client: networks("192.0.2.0/24", "2001:db8::/32"), Policy: TLSPass},
		{Server: networks("198.51.100.25/32"), Port: []uint16{587, 465}, Policy: TLSMask},
		{Port: []uint16{26}, Policy: TLSPass},
	}}
	for _, tc := range []struct {
		client, server string
		want           TLSPolicy
	}{
		{"203.0.113.1", "198.51.100.25:25", TLSTerminate},
		{"192.0.2.7", "198.51.100.25:587", TLSPass},
		{"::ffff:192.0.2.7", "198.51.100.25:25", TLSPass},
		{"2001:db8::1%eth0", "[2001:db8::2]:25", TLSPass},
		{"203.0.113.1", "198.51.100.25:587", TLSMask},
		{"203.0.113.1", "[::ffff:198.51.100.25]:465", TLSMask},
		{"203.0.113.1", "198.51.100.26:587", TLSTerminate},
		{"203.0.113.1", "198.51.100.26:26", TLSPass},
	} {
		if got := c.PolicyFor(netip.MustParseAddr(tc.client), netip.MustParseAddrPort(tc.server)); got != tc.want {
			t.Errorf("%s to %s: %d, want %d", tc.client, tc.server, got, tc.want)
		}
	}
	for server, want := range map[string]bool{
		"198.51.100.26:465": true, "198.51.100.25:587": false, "198.51.100.26:26": true, "198.51.100.26:25": false, "198.51.100.26:2465": false,
	} {
		if got := c.BeginsWithTLS(netip.MustParseAddr("203.0.113.1"), netip.MustParseAddrPort(server)); got != want {
			t.Errorf("%s speaks TLS at once: %v", server, got)
		}
	}
	if !c.Terminates() || (&TLSConfig{Policy: TLSMask}).Terminates() || !(&TLSConfig{Rules: []TLSRule{{Policy: TLSTerminate}}}).Terminates() {
		t.Error("who ends TLS is not told")
	}
}
