package config

import (
	"slices"
	"strings"
	"testing"
)

// TestLegacyValues holds each kind to what it takes, refuses and warns about.
func TestLegacyValues(t *testing.T) {
	for _, tc := range []struct {
		text    string // lines; the option asked for is that of the last one
		want    string // its value then, or
		err     string // a part of the error, or
		warning string // a part of the only warning
	}{
		{text: "timeout_idle 300", want: "300"},
		{text: "timeout_idle\t 0454", want: "300"},
		{text: "timeout_idle 0x12C", want: "300"},
		{text: "timeout_idle 0X12c", want: "300"},
		{text: "timeout_idle +300", want: "300"},
		{text: "timeout_idle 300s", want: "300", warning: "read as 300"},
		{text: "timeout_idle 5m", want: "5", warning: "read as 5"},
		{text: "timeout_idle 089", err: "out of range"},
		{text: "timeout_idle 0", err: "out of range"},
		{text: "timeout_idle -1", err: "out of range"},
		{text: "timeout_direct 0", err: "out of range"},
		{text: "timeout_connect 0", want: "0"},
		{text: "timeout_lookup 0", want: "0"},
		{text: "timeout_scanner 0", want: "0"},
		{text: "timeout_spam 0", want: "0"},
		{text: "timeout_session 0", want: "0"},
		{text: "timeout_session -1", err: "out of range"},
		{text: "antispam_refuse no", want: "no"},
		{text: "lock_on virus\nantispam_refuse yes", want: "yes"},
		{text: "antispam_refuse yes\nlock_on virus", want: "virus"},
		{text: "timeout_idle 4294967296", err: "out of range"},
		{text: "timeout_idle 99999999999999999999999", err: "out of range"},
		{text: "timeout_idle x", err: `"x" is not a number`},
		{text: "timeout_idle -", err: "not a number"},
		{text: "timeout_idle", err: "has no value"},
		{text: "timeout_idle ", err: "has no value"},
		{text: "max_per_host 0x", want: "0", warning: "read as 0"},
		{text: "max_per_host 08", want: "0", warning: "read as 0"},
		{text: "max_per_host 010", want: "8"},
		{text: "lock_duration -1", want: "-1"},
		{text: "lock_duration -2", err: "-1 or more"},
		{text: "limit_core_size -1", want: "-1"},
		{text: "remote_udp_secret 4294967295", want: "4294967295"},
		{text: "remote_udp_secret -2147483648", want: "-2147483648"},
		{text: "ratelimit_generation 20240101120000", want: "20240101120000"},
		{text: "pipeline_size 4", want: "16", warning: "too small"},
		{text: "timeout_idle 1\ntimeout_idle 2\n", want: "2"},

		{text: "max_load 2.5", want: "2.500000"},
		{text: "max_load .5", want: "0.500000"},
		{text: "max_load 1e2", want: "100.000000"},
		{text: "max_load 2,5", want: "2.000000", warning: "read as 2"},
		{text: "max_load -1", err: "out of range"},
		{text: "max_load inf", err: "not a number"},
		{text: "max_load nan", err: "not a number"},
		{text: "max_load 1e999", err: "out of range"},
		{text: "spam_threshold -0.0", want: "0.000000"},
		{text: "spam_threshold -5", want: "-5.000000"},
		{text: "spam_threshold 0.12345678", want: "0.123457"},

		{text: "ignore_errors YES", want: "yes"},
		{text: "ignore_errors 1", want: "yes"},
		{text: "ignore_errors On", want: "yes"},
		{text: "ignore_errors true", want: "yes"},
		{text: "earlytalk off", want: "no"},
		{text: "earlytalker False", want: "no"},
		{text: "ignore_errors 2", err: "accepted: yes or no"},

		{text: "lock_perm 0600", want: "0600"},
		{text: "lock_perm 0", want: "0"},
		{text: "lock_perm 660", want: "01224", warning: "decimal and means 01224"},
		{text: "lock_perm 0660x", want: "0660", warning: "read as"},
		{text: "lock_perm 010000", err: "octal"},
		{text: "lock_perm rw", err: "not a number"},

		{text: "outgoing_addr 192.0.2.1", want: "192.0.2.1"},
		{text: "outgoing_addr 2001:db8::1, 192.0.2.1", want: "2001:db8::1,192.0.2.1"},
		{text: "outgoing_addr 192.0.2.1,192.0.2.2", err: "of one family"},
		{text: "outgoing_addr mail.example", err: "not an IP address"},

		{text: "mode fixed", want: "fixed"},
		{text: "mode tproxy,netfilter", want: "tproxy,netfilter"},
		{text: "mode tproxy, netfilter", want: "tproxy,netfilter"},
		{text: "mode FIXED", err: "none | fixed | fixed+xclient"},
		{text: "mode fixed,pf", err: "unknown word"},
		{text: "log_level 7", want: "debug"},
		{text: "log_level 0", want: "emerg"},
		{text: "log_level 8", err: "unknown word"},
		{text: "log_facility 16", want: "mail"},
		{text: "nat_header_type 1", want: "generic"},
		{text: "nat_header_type simple", want: "generic"},
		{text: "nat_header_type 2", want: "ip-only"},
		{text: "auth_require 2", want: "mandatory"},
		{text: "antivirus_type builtin", want: "builtin"},
		{text: "antispam_type builtin", want: "builtin"},
		{text: "spf none", want: "off"},

		{text: "lock_on spam, virus", want: "virus,spam"},
		{text: "lock_on virus,\tspam", want: "virus,spam"},
		{text: "lock_on virus ,spam", err: `unknown word "virus "`},
		{text: "lock_on virus,", err: `unknown word ""`},
		{text: "lock_on never", want: "never"},
		{text: "lock_on never,spam", want: "spam"},
		{text: "lock_on earlytalker", want: "earlytalk"},
		{text: "statefile_type human,slots", want: "slots"},
		{text: "statefile_type flat,human", want: "flat"},
		{text: "statefile_type human", want: "human"},
		{text: "spool_leave_on always,error", want: "error,always"},
		{text: "auth_skip none", want: "none"},
		{text: "log_mail_from 5", want: "accepted,base64"},
		{text: "log_mail_from 0", want: "off"},
		{text: "log_mail_from 8", err: "unknown word"},
		{text: "log_rcpt_to none", want: "off"},
		{text: "log_rcpt_to no", want: "off"},

		{text: "bind_address 192.0.2.1", want: "192.0.2.1"},
		{text: "bind_address 2001:DB8::1", want: "2001:db8::1"},
		{text: "bind_address ::ffff:192.0.2.1", want: "192.0.2.1"},
		{text: "bind_address fe80::1%eth0", err: "IP address"},
		{text: "bind_address localhost", err: "IP address"},
		{text: "bind_address 10.1", err: "IP address"},
		{text: "fixed_server ", want: ""},
		{text: "fixed_server", err: "has no value"},
		{text: "port 65536", err: "from 0 to 65535"},
		{text: "fixed_server_port 0", err: "from 1 to 65535"},
		{text: "listen 127.0.0.1:9199, [::1]:9199", want: "127.0.0.1:9199,[::1]:9199"},
		{text: "listen 127.0.0.1", err: "address with a port"},
		{text: "nameservers 192.0.2.53,[2001:db8::53]:5353, 2001:db8::1", want: "192.0.2.53:53,[2001:db8::53]:5353,[2001:db8::1]:53"},
		{text: "nameservers 192.0.2.53:0", err: "no port"},
		{text: "antivirus_path /run/clamd", want: "/run/clamd"},
		{text: "antivirus_path 127.0.0.1:3310", want: "127.0.0.1:3310"},
		{text: "antivirus_path [::1]:3310", want: "[::1]:3310"},
		{text: "antivirus_path run/clamd", err: "address with a port"},
		{text: "antivirus_path /run/", err: "no path of a socket"},
		{text: "antivirus_path 127.0.0.1:0", err: "no port"},
		{text: "antivirus_path ", err: "has no value"},

		{text: "pidfile run/pid", err: "absolute"},
		{text: "abuse  mailto:abuse@example.net  \r", want: "mailto:abuse@example.net"},
		{text: "abuse a # b", want: "a # b"},
		{text: "abuse = x", want: "= x"},
		{text: "abuse a\x01b", err: "control character"},
		{text: "abuse a\rb", err: "control character"},
		{text: "abuse a\u0085b", err: "control character"},
		{text: "abuse caf\xe9", err: "UTF-8"},
		{text: "abuse " + strings.Repeat("x", longest+1), err: "longer than"},
		{text: "msg_hello caf\xe9", want: "caf?", warning: "UTF-8"},
		{text: "msg_hello 100% Größe %s", want: "100% Größe %s"},
		{text: "msg_hello ", err: "has no value"},
		{text: "msg_dnsbl_reject no", want: "no"},
		{text: "nat_header X-A:", err: "header field"},
		{text: "nat_header 3", err: "header field"},
		{text: "set_user mail", want: "mail", warning: "users of their own"},
		{text: "set_user a:b", err: "name of a user"},
		{text: "log_target /var/log/x", want: "/var/log/x"},
		{text: "log_target console", err: "auto, stderr"},
		{text: "dnsbl a.example, b.example.", want: "a.example,b.example."},
		{text: "dnsbl a..b", err: "DNS zone"},
		{text: "dnsbl a b", err: "DNS zone"},
		{text: "dnsbl a.example=127.0.0.[2;4..11], b.example=127.0.0.3", want: "a.example=127.0.0.[2;4..11],b.example=127.0.0.3"},
		{text: "dnsbl a.example=[127].[0..255].[0;1..1].[002]", want: "a.example=127.[0..255].[0;1].2"},
		{text: "dnsbl a.example=127.[0;255].[0;255].1", want: "a.example=127.[0;255].[0;255].1"},
		{text: "dnsbl a.example=", err: "number from 0 to 255"},
		{text: "dnsbl =127.0.0.2", err: "DNS zone"},
		{text: "dnsbl a.example=127.0.0", err: "3 octets"},
		{text: "dnsbl a.example=127.0.0.2.3", err: "5 octets"},
		{text: "dnsbl a.example=127.0.0.", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.2*3", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.256", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.-1", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.2..5", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.2;3", err: "no pattern"},
		{text: "dnsbl a.example=127.0.0.[2", err: "no pattern"},
		{text: "dnsbl a.example=127.0.0.[2]3", err: "no pattern"},
		{text: "dnsbl a.example=127.0.0.[]", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.[2;]", err: "number from 0 to 255"},
		{text: "dnsbl a.example=127.0.0.[11..4]", err: "ends before it begins"},
		{text: "dnsbl a.example=127.0.0.[2..]", err: "number from 0 to 255"},
		{text: "dnsbl a.example=192.0.2.1", err: "outside 127.0.0.0/8"},
		{text: "dnsbl a.example=[127;128].0.0.2", err: "outside 127.0.0.0/8"},
		{text: "dnsbl a.example=127.0.0.1", err: "never list"},
		{text: "dnsbl a.example=127.0.0.[0..1]", err: "never list"},
		{text: "dnsbl a.example=127.255.255.[2;4]", err: "never list"},
		{text: "dnsbl " + strings.TrimSuffix(strings.Repeat("a,", 33), ","), err: "33 zones are too many"},

		{text: "Port 25", err: "unknown option"},
		{text: "port=25", err: "unknown"},
		{text: "ratelimit_period 60", want: "60"},
		{text: "ratelimit_sessions 3", want: "3"},
		{text: "locale pl_PL", want: "pl_PL", warning: "no meaning"},
	} {
		t.Run(tc.text[:min(len(tc.text), 40)], func(t *testing.T) {
			lines := strings.Split(strings.TrimSpace(tc.text), "\n")
			name := strings.FieldsFunc(lines[len(lines)-1], func(r rune) bool { return r == ' ' || r == '\t' })[0]
			c, warnings, err := Parse("f", []byte("\n# first\n ; second\n  "+tc.text))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "f:4: ") {
					t.Fatalf("error %v, want one with f:4 and %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, _ := c.PrintOne(name); strings.TrimSpace(line[31:]) != tc.want {
				t.Errorf("value is %q, want %q", line[31:], tc.want)
			}
			expectWarning(t, warnings, tc.warning)
		})
	}
}

func expectWarning(t *testing.T, warnings []Warning, want string) {
	t.Helper()
	switch {
	case want == "" && len(warnings) > 0:
		t.Errorf("warned: %v", warnings)
	case want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0].String(), want)):
		t.Errorf("warnings %v, want one with %q", warnings, want)
	}
}

func TestRenamed(t *testing.T) {
	for _, tc := range []struct{ text, name, want string }{
		{"source_addr 192.0.2.1", "outgoing_addr", "192.0.2.1"},
		{"dumpfile /s", "statefile", "/s"},
		{"dumpfile_perm 0600", "statefile_perm", "0600"},
		{"max_procs 3", "max_connections", "3"},
		{"load_max 3", "max_load", "3.000000"},
		{"lookup_port 3", "remote_port", "3"},
		{"timeout_connection 3", "timeout_idle", "3"},
		{"clamd_path /c", "antivirus_path", "/c"},
		{"spamd_path 127.0.0.1:783", "antispam_path", "127.0.0.1:783"},
		{"nat_header 0", "nat_header_type", "none"},
		{"nat_header 1", "nat_header_type", "generic"},
		{"nat_header 2", "nat_header_type", "ip-only"},
		{"use_netfilter 1", "mode", "netfilter"},
		{"mode fixed\nuse_netfilter 0", "mode", "fixed"},
		{"leave_on_error 1", "spool_leave_on", "error"},
		{"leave_on_error 0", "spool_leave_on", "never"},
		{"leave_on_virus 1", "spool_leave_on", "error,virus"},
		{"leave_on_error 0\nleave_on_spam yes", "spool_leave_on", "spam"},
		{"lock_on virus\nspam_block 1", "lock_on", "virus,spam"},
		{"lock_on virus,spam\nspam_block 0", "lock_on", "virus"},
		{"lock_on never\nmax_per_host_lock 1", "lock_on", "maxhost"},
		{"lock_on never\nmax_per_ident_lock 1", "lock_on", "maxident"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			c, warnings, err := Parse("f", []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			if line, _ := c.PrintOne(tc.name); line[31:] != tc.want {
				t.Errorf("%s is %q, want %q", tc.name, line[31:], tc.want)
			}
			for _, w := range warnings {
				if !strings.Contains(w.Text, `old form, write "`+tc.name) {
					t.Errorf("warning %q names no new form", w)
				}
			}
			if len(warnings) == 0 {
				t.Error("no warning")
			}
		})
	}
	_, warnings, _ := Parse("f", []byte("spf source"))
	if len(warnings) == 0 || warnings[0].String() != `f:1: spf: is an old form, write "spf incoming"` {
		t.Errorf("spf source: %v", warnings)
	}
	for _, text := range []string{"spam_block maybe", "use_netfilter", "max_procs", "max_procs 0"} {
		if _, _, err := Parse("f", []byte(text)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestErrorsAreCollected(t *testing.T) {
	_, _, err := Parse("/etc/x", []byte("port nine\n\nbogus 1\nmode magic\n"))
	want := `/etc/x:1: port: "nine" is not a number (accepted: a whole number from 0 to 65535)
/etc/x:3: bogus: unknown option (smtp-gated -T lists all of them)
/etc/x:4: mode: unknown word "magic" (accepted: none | fixed | fixed+xclient | fixed+proxy | remote | remote-udp | getsockname | netfilter | tproxy | tproxy,netfilter | ipfw | ipfilter | pf)`
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
	_, _, err = Parse("f", []byte(strings.Repeat("bogus 1\n", 1000)))
	if n := strings.Count(err.Error(), "\n"); n != tooMany {
		t.Errorf("%d lines of errors", n+1)
	}
	if _, _, err = Parse("f", make([]byte, largest+1)); err == nil {
		t.Error("a huge file was taken")
	}
	if _, _, err = Parse("f", []byte("\x1b[31m 1\n")); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
}

func TestWarningsComeOnce(t *testing.T) {
	_, warnings, err := Parse("f", []byte("set_user mail\nlocale C\nlocale D\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := []string{
		"f: locale: has no meaning in this program",
		"f: the rooms for sessions, locks and the action script should have users of their own: set user_session, user_lock and user_action, or leave out set_user; spool_path, lock_path and what action_script works with must then be open to the new users. Who comes from 1.4 does that later: smtp-gated-migration(7)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
