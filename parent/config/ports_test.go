package config

import (
	"fmt"
	"testing"
)

// TestPorts: a room may connect to every port that the configuration sends it to.
func TestPorts(t *testing.T) {
	for _, row := range []struct {
		file string
		of   func(*Config) (connect, bind []uint16)
		want string
	}{
		{"mode fixed\nfixed_server 192.0.2.1\nfixed_server_port 2525\n", (*Config).SessionPorts, "[2525] [0]"},
		{"mode fixed+xclient\nfixed_server 192.0.2.1\n", (*Config).SessionPorts, "[25] [0]"},
		{"mode fixed\nfixed_servers 192.0.2.1:25, 192.0.2.2:2525\ntarget_tls_port 465\n", (*Config).SessionPorts, "[25 2525 465] [0]"},
		{"mode netfilter\n", (*Config).SessionPorts, "any [0]"},
		{"mode tproxy\ntproxy_keep_port on\n", (*Config).SessionPorts, "any any"},
		{"mode remote\nremote_port 115\n", (*Config).LookupdPorts, "[53 115] [0]"},
		{"nameservers 192.0.2.1,192.0.2.2:5353\n", (*Config).LookupdPorts, "[53 53 5353] [0]"},
		{"mode remote-udp\n", (*Config).LookupdPorts, "[53 114] [0]"},
		{"mode fixed\nfixed_server 192.0.2.1\nremote_port 115\n", (*Config).LookupdPorts, "[53] [0]"},
		{"antivirus_type off\nantispam_type off\n", (*Config).ScandPorts, "[] [0]"},
		{"antivirus_type clamd\nantivirus_path 127.0.0.1:3310\nantispam_type spamassassin\nantispam_path [::1]:783\n", (*Config).ScandPorts, "[3310 783] [0]"},
		{"antivirus_type clamd\nantivirus_path /run/clamd\n", (*Config).ScandPorts, "[] [0]"},
	} {
		c, _, err := Parse("f", []byte(row.file))
		if err != nil {
			t.Fatalf("%q: %v", row.file, err)
		}
		connect, bind := row.of(c)
		if got := said(connect) + " " + said(bind); got != row.want {
			t.Errorf("%q: %s, want %s", row.file, got, row.want)
		}
	}
}

func said(ports []uint16) string {
	if ports == nil {
		return "any"
	}
	return fmt.Sprint(ports)
}
