package relay

import (
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestSPFAddress(t *testing.T) {
	out4, out6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	c := &client{shared: &shared{Facts: &Facts{Client: netip.MustParseAddrPort("198.51.100.1:1"), Target: netip.MustParseAddrPort("198.51.100.2:25")}}}
	for _, tc := range []struct {
		cfg  imsg.SessionConfig
		want netip.Addr
	}{
		{imsg.SessionConfig{SPF: imsg.SPFIncoming, Outgoing: []netip.Addr{out6, out4}}, c.Client.Addr()},
		{imsg.SessionConfig{SPF: imsg.SPFOutgoing, Outgoing: []netip.Addr{out6, out4}}, out4},
		{imsg.SessionConfig{SPF: imsg.SPFFixed, SPFFixedIP: out6, Outgoing: []netip.Addr{out6, out4}}, out6},
	} {
		c.Config = &tc.cfg
		if got := c.spfClient(); got != tc.want {
			t.Errorf("%d: %v, want %v", tc.cfg.SPF, got, tc.want)
		}
	}
}

func TestRegexIsWrong(t *testing.T) {
	if _, err := Compile(&imsg.SessionConfig{RejectHelo: "("}); err == nil {
		t.Error("compiled")
	}
}
