package relay

import (
	"net/netip"
	"testing"
)

func TestXclientAddresses(t *testing.T) {
	attributes := []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}
	for _, tc := range []struct{ src, local, want string }{
		{"192.0.2.7:1025", "192.0.2.1:25", "XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE] PORT=1025 DESTADDR=192.0.2.1 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
		{"[2001:db8::7]:1025", "[2001:db8::1]:25", "XCLIENT ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE] PORT=1025 DESTADDR=IPV6:2001:db8::1 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
		{"[fe80::1%eth0]:9", "[fe80::2%a=b]:25", "XCLIENT ADDR=IPV6:fe80::1 NAME=[UNAVAILABLE] PORT=9 DESTADDR=IPV6:fe80::2 DESTPORT=25 LOGIN=[UNAVAILABLE]"},
	} {
		f := &Facts{Client: netip.MustParseAddrPort(tc.src), Local: netip.MustParseAddrPort(tc.local)}
		if got := string(AppendXclient(nil, attributes, f)); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}
