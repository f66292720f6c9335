package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestCheck(t *testing.T) {
	const good = "mode fixed\nfixed_server 192.0.2.25\n"
	for _, tc := range []struct{ text, want string }{
		{good, ""},
		{"mode getsockname\n", ""},
		{"mode pf\n", ""},
		{"mode ipfilter\n", ""},
		{"mode netfilter\nlisten 0.0.0.0:9199, [::]:9199\n", ""},
		{"", "mode: is none: set how"},
		{"mode fixed\n", "fixed_server: is empty"},
		{good + "fixed_server 0.0.0.0\n", "no server's address"},
		{good + "outgoing_addr 2001:db8::1\n", "one family"},
		{good + "outgoing_addr ::\n", ""},
		{good + "outgoing_addr 192.0.2.1,2001:db8::1\n", ""},
		{good + "listen 192.0.2.25:25\n", "our own listener"},
		{good + "fixed_server 127.0.0.1\nfixed_server_port 9199\nbind_address 127.0.0.1\n", "our own listener"},
		{good + "fixed_server ::1\nlisten [::]:25\n", "our own listener"},
		{"mode fixed\nfixed_servers 192.0.2.25:25, 192.0.2.26:25, [2001:db8::25]:2525\noutgoing_addr 0.0.0.0, ::\n", ""},
		{good + "fixed_servers 192.0.2.26:25\n", "fixed_servers: it excludes fixed_server"},
		{"mode fixed\nfixed_servers 192.0.2.25:25, 192.0.2.26:25, 192.0.2.25:25\n", "fixed_servers: 192.0.2.25:25 is there twice"},
		{"mode fixed\nfixed_servers 192.0.2.25:25, 0.0.0.0:25\n", "fixed_servers: 0.0.0.0 is no server's address"},
		{"mode fixed\nfixed_servers 192.0.2.25:25, 127.0.0.1:9199\nbind_address 127.0.0.1\n", "fixed_servers: 127.0.0.1 port 9199 is our own listener"},
		{"mode fixed\nfixed_servers 192.0.2.25:25, [2001:db8::25]:25\noutgoing_addr 192.0.2.1\n", "cannot reach fixed_servers 2001:db8::25"},
		{"mode fixed\nfixed_servers " + strings.Repeat("192.0.2.25:25, ", 16) + "192.0.2.26:25\n", "fixed_servers: there are 17, at most 16"},
		{good + "fixed_server ::1\nlisten 0.0.0.0:25\n", ""},
		{good + "pidfile /run/g/pid\ncontrol_read_socket /run/g/x/../control\n", "control_read_socket: /run/g/control is what control_socket names: give each"},
		{good + "pidfile /run/g/status\n", "control_read_socket: /run/g/status is what pidfile names"},
		{good + "statefile /run/control\npidfile /run/pid\n", "control_socket: /run/control is what statefile names"},
		{good + "control_socket /run/a\ncontrol_read_socket /run/b\nstatefile /run/c\n", ""},
		{good + "listen 127.0.0.1:25,127.0.0.1:25\n", "listen: 127.0.0.1:25 and 127.0.0.1:25 overlap"},
		{good + "listen 127.0.0.1:0,127.0.0.1:0\n", "overlap"},
		{good + "listen 127.0.0.1:0,0.0.0.0:0,[::1]:0,127.0.0.2:0\n", ""},
		{good + "listen 0.0.0.0:25,127.0.0.1:25\n", "overlap"},
		{good + "listen [::1]:25,[::]:25\n", "overlap"},
		{good + "listen 127.0.0.1:25,127.0.0.2:25\n", ""},
		{good + "antivirus_type mksd\nantivirus_path 127.0.0.1:1\n", "antivirus_path: 127.0.0.1:1 is not a UNIX socket"},
		{good + "antivirus_type clamd\nantivirus_method fildes\nantivirus_path 127.0.0.1:1\n", "fildes needs a UNIX socket"},
		{good + "antivirus_type clamd\nantivirus_path 127.0.0.1:1\n", ""},
		{good + "antivirus_method fildes\nantivirus_path 127.0.0.1:1\n", ""},
		{good + "lock_path /var/spool/smtp-gated/msg\n", "lock_path: /var/spool/smtp-gated/msg lies in spool_path"},
		{good + "lock_path /var/spool/smtp-gated/msg/lock/\n", "lock_path: "},
		{good + "spool_path /var/spool/smtp-gated\n", "lies in spool_path /var/spool/smtp-gated,"},
		{good + "spool_path /var/spool/smtp-gated/msg2\n", ""},
		{good + "listen_proxy_from 192.0.2.9, 2001:db8:9::/48\n", ""},
		{good + "listen_proxy_from " + strings.Repeat("192.0.2.9,", imsg.MaxProxyFrom) + "192.0.2.9\n", "at most 256"},
		{"mode tproxy\nlisten_proxy_from 192.0.2.9\n", "listen_proxy_from: it is for the fixed modes, and mode is tproxy"},
		{good + "spf fixed\n", "set spf_fixed_ip"},
		{good + "spf fixed\nspf_fixed_ip 192.0.2.1\n", ""},
		{good + "set_user root\nuser_scan scan\n", "set_user: no room runs as root"},
		{good + "user_lock root\n", "user_lock: no room runs as root"},
	} {
		c, _, err := Parse("f", []byte(tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		ownNames(t, tc.text)
		err = c.Check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
	}
}

func TestCheckCollects(t *testing.T) {
	c := Default()
	c.SpoolPath, c.SPF = c.LockPath, imsg.SPFFixed
	err := c.Check()
	if n := strings.Count(err.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d errors:\n%v", n, err)
	}
}

// TestReach: an engine is looked for only where it can be.
func TestReach(t *testing.T) {
	unix, tcp := Socket{Path: "/run/engine.sock"}, Socket{Address: netip.MustParseAddrPort("127.0.0.1:3310")}
	for name, tt := range map[string]struct {
		kind imsg.EngineKind
		at   Socket
		bad  bool
	}{
		"UNIX alone, there":  {imsg.EngineKind{Unix: true}, unix, false},
		"UNIX alone, by TCP": {imsg.EngineKind{Unix: true}, tcp, true},
		"TCP alone, there":   {imsg.EngineKind{TCP: true}, tcp, false},
		"TCP alone, by UNIX": {imsg.EngineKind{TCP: true}, unix, true},
		"both, by UNIX":      {imsg.EngineKind{Unix: true, TCP: true}, unix, false},
		"both, by TCP":       {imsg.EngineKind{Unix: true, TCP: true}, tcp, false},
		"neither":            {imsg.EngineKind{}, unix, false},
	} {
		bad := false
		checkReach(func(string, string, ...any) { bad = true }, "antivirus_path", &tt.kind, tt.at)
		if bad != tt.bad {
			t.Errorf("%s: complaint %v", name, bad)
		}
	}
}
