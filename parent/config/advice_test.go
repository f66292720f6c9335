package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestWithoutRoot: what is said for those who are not root leaves no folder of ours
// where only root can make it, and the scanner's socket where it is.
func TestWithoutRoot(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := "[target]\nmode = \"getsockname\"\n[scan.antivirus]\nengine = \"clamd\"\n" +
		regexp.MustCompile(`(?m)^    \[server\]\n(.*\n)+?\S`).FindString(string(page))
	c, _, err := Parse("README.md", []byte(text[:strings.LastIndexByte(text, '\n')]))
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, path := range []string{c.PidFile, c.ControlSockets()[0].Path, c.StateFile, c.SpoolPath, c.LockPath, c.RatePath} {
		if !strings.HasPrefix(c.Inside(path), "/home/me/gate/") {
			t.Errorf("%s is no place for somebody who is not root", c.Inside(path))
		}
	}
	if got := c.ScannerSockets(); len(got) != 1 || got[0] != clamdCtl.Path {
		t.Errorf("sockets: %v", got)
	}
}

// TestReadme: each file that README.md has somebody write is one that the daemon starts with,
// and of which no danger is told; so is what it has changed in one.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile(`(?m)^    \[.*\n(?:\n?    .*\n)*`).FindAllString(string(page), -1)
	beginning := func(text, with string) string {
		t.Helper()
		for _, f := range files {
			if strings.HasPrefix(f, "    ["+text) && strings.Contains(f, with) {
				return f
			}
		}
		t.Fatalf("README.md has no [%s with %s", text, with)
		return ""
	}
	one, router, bsd := beginning("target]", "fixed+xclient"), beginning("target]", "netfilter"), beginning("target]", "getsockname")
	_, rest, _ := strings.Cut(router, "    [limits]")
	forbids := regexp.MustCompile(`(?m)^ +forbid_starttls .*\n`)
	there := regexp.MustCompile(`(?m)^ +server = .*\n +port = .*\n`)
	for name, text := range map[string]string{
		"one server": one,
		"with TLS":   forbids.ReplaceAllString(one, "") + beginning("tls]", "tls.certificate"),
		"elsewhere":  forbids.ReplaceAllString(there.ReplaceAllString(one, "    server = \"192.0.2.25\"\n"), "") + beginning("tls]", "verify") + "[[tls.certificate]]\nchain = \"/a\"\nkey = \"/b\"\n",
		"no XCLIENT": strings.Replace(one, "fixed+xclient", "fixed", 1) + beginning("policy.regex]", "enforce"),
		"a router":   router,
		"a BSD":      bsd + "    [limits]" + rest,
		"FreeBSD":    strings.Replace(bsd, "getsockname", "pf", 1) + "    [limits]" + rest,
	} {
		c, warnings, err := Parse("README.md", []byte(text))
		if err == nil {
			err = c.Check()
		}
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", name, warnings, err)
			continue
		}
		for _, a := range c.Advise() {
			if a.Severity == Danger {
				t.Errorf("%s: %v", name, a)
			}
		}
	}
}

// calm is a configuration that nothing is to be said about.
const calm = `
mode netfilter
connect_queue 64
max_connections 65
max_per_host 9
max_load 3
scan_max_size 20000000
spam_max_size 400000
spam_max_load 2
log_mail_from accepted
log_rcpt_to accepted
antivirus_type clamd
antispam_type spamassassin
size_limit 20000000
forbid_starttls yes
lock_on virus,spam
spool_leave_on never
history_max 9
`

func TestAdvice(t *testing.T) {
	known := index(Options())
	const fixed = "mode fixed\nfixed_server 192.0.2.25\nlock_on virus\nantispam_refuse yes\n"
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{fixed, "danger mode"},
		{fixed + "bind_address 198.51.100.1", "danger mode"},
		{fixed + "listen 10.0.0.1:25, [2001:db8::1]:25", "danger mode"},
		{fixed + "bind_address 127.0.0.1", ""},
		{fixed + "bind_address 192.168.1.1", ""},
		{fixed + "bind_address fd00::1", ""},
		{fixed + "auth_require mandatory", ""},
		{fixed + "auth_require ifsupported", "danger mode"},
		{fixed + "regex_enforce_rcpt_to @example.com$", ""},
		{fixed + "mode fixed+xclient", ""},
		{fixed + "bind_address 10.0.0.1\nlisten_proxy_from 10.0.0.9", ""},
		{fixed + "bind_address 10.0.0.1\nlisten_proxy_from 10.0.0.9, 0.0.0.0/0", "danger listen_proxy_from"},
		{fixed + "bind_address 10.0.0.1\nlisten_proxy_from ::/0", "danger listen_proxy_from"},
		{"bare_newline pass", "danger bare_newline"},
		{"mode pf", "hint mode"},
		{"mode ipfilter", ""},
		{"mode remote-udp", "danger remote_udp_secret"},
		{"mode remote-udp\nremote_udp_secret 5", ""},
		{"antivirus_type off\nantispam_type off\nlock_on never", "danger antivirus_type"},
		{"scan_max_size 0\nlock_on spam", "hint scan_max_size"},
		{"spam_max_size 0\nlock_on virus", "hint spam_max_size"},
		{"antivirus_type builtin", "danger antivirus_type"},
		{"antivirus_type builtin\nlisten 127.0.0.1:9199", "hint antivirus_type"},
		{"antispam_type builtin", "danger antispam_type"},
		{"lock_on virus", "hint antispam_refuse"},
		{"lock_on never", "hint antispam_refuse"},
		{"lock_on virus\nantispam_refuse yes", ""},
		{"antispam_refuse no", "hint antispam_refuse; hint lock_on"},
		{fixed + "bind_address 10.0.0.1\nlock_on virus,spam", "danger lock_on"},
		{fixed + "bind_address 10.0.0.1\nlock_on virus,spam\nlock_by login\nforbid_starttls yes", "danger lock_on; hint lock_by"},
		{fixed + "bind_address 10.0.0.1\nlock_on virus,spam\nlock_by login\nauth_require mandatory\nforbid_starttls yes", "hint lock_by"},
		{fixed + "bind_address 10.0.0.1\nlock_on virus,spam\nlock_by both\nauth_require mandatory\nforbid_starttls yes", "danger lock_on; hint lock_by"},
		{fixed + "bind_address 10.0.0.1\nlock_on virus,earlytalk\nantispam_refuse yes", ""},
		{fixed + "bind_address 10.0.0.1\nlock_on maxhost\nantispam_refuse yes", "danger lock_on"},
		{fixed + "bind_address 10.0.0.1\nlock_on dnsbl\nantispam_refuse yes\ndnsbl a.example", "danger lock_on"},
		{"mode fixed+xclient\nfixed_server 192.0.2.25\nlock_on spam,maxhost", "danger lock_on"},
		{fixed + "bind_address 10.0.0.1\nlock_on spam,maxhost\nlock_duration 0", "hint lock_duration"},
		{"timeout_connect 0\ntimeout_lookup 0\ntimeout_session 0", "hint timeout_connect; hint timeout_lookup; hint timeout_session"},
		{"timeout_scanner 0\ntimeout_spam 0", "hint timeout_scanner; hint timeout_spam"},
		{"max_load 2", "hint "},
		{"ignore_errors yes", "danger ignore_errors"},
		{"size_limit 0", "danger size_limit; hint "},
		{"size_limit 20000001", "danger size_limit"},
		{"size_limit 5000000", "hint size_limit"},
		{"size_limit 26214400\nscan_max_size 26214400", ""},
		{"size_limit 26214401\nscan_max_size 26214401", "hint scan_max_size"},
		{"size_limit 26214401\nscan_max_size 26214401\nantivirus_type mksd\nantivirus_path /run/x", ""},
		{"size_limit 0\nscan_max_size 26214401", "danger size_limit; hint scan_max_size; hint "},
		{"forbid_starttls no", "hint forbid_starttls"},
		{"auth_skip direct", "danger auth_skip"},
		{"timeout_spam 181", "hint timeout_scanner"},
		{"drain_timeout 20", "hint drain_timeout"},
		{"spool_leave_on always", "hint spool_leave_on"},
		{"lock_duration 0", "hint lock_duration"},
		{"lock_duration 0\nlock_on never\nantispam_type off", ""},
		{"lock_duration -1", "hint lock_duration"},
		{"antivirus_type off", "hint lock_on"},
		{"antispam_type off", "hint lock_on"},
		{"antispam_type off\nlock_on virus,spam,maxhost,maxident,dnsbl,spf,regex,earlytalk,ratelimit", "hint "}, // nobody chose these words
		{"lock_on virus,spam,maxhost\nmax_per_host 0", "hint lock_on; hint max_per_host"},
		{"lock_on virus,spam,maxident", "hint lock_on"},
		{"lock_on virus,spam,dnsbl,spf", "hint lock_on; hint lock_on"},
		{"lock_on virus,spam,regex,earlytalk\nearlytalker no", "hint lock_on; hint lock_on"},
		{"lock_on virus,spam,ratelimit\nratelimit_expiration 60\nratelimit_messages 5", "hint lock_on"},
		{"lock_on virus,spam,ratelimit\nratelimit_expiration 60\nratelimit_rcptto_rejects 5", ""},
		{"dnsbl a.example", "hint dnsbl"},
		{"spf incoming", "hint spf"},
		{"spf outgoing\nspf_log_only yes", "hint spf_log_only"},
		{"lock_by login", "hint lock_by"},
		{"lock_by both\nforbid_starttls no", "hint forbid_starttls; hint lock_by; hint lock_by"},
		{"ratelimit_by login", "hint ratelimit_by"},
		{"max_per_login 2", "hint max_per_login; hint max_per_login"},
		{"policy_monitor spam", ""},
		{"policy_monitor virus,spam", "danger policy_monitor"},
		{"auth_skip regex\nregex_reject_helo x", "hint auth_skip"},
		{"ratelimit_messages 5", "hint ratelimit_expiration"},
		{"ratelimit_expiration 5", "hint ratelimit_expiration"},
		{"max_load 0", ""},
		{"max_per_host 65", "hint max_per_host"},
		{"spam_max_load 0.5", "hint spam_max_load"},
		{"spool_perm 0666\nlock_perm 0666\ncontrol_perm 0666", "danger spool_perm, lock_perm, control_perm"},
		{"spool_perm 0644\nlock_perm 0644", "danger spool_perm"},
		{"control_read_perm 0666", "hint control_read_perm"},
		{"spool_leave_on always\nignore_errors yes", "danger ignore_errors; hint spool_leave_on"},
	} {
		ownNames(t, calm+tc.text)
		c := parsed(t, calm+tc.text)
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", tc.text, err)
		}
		var got []string
		for _, a := range c.Advise() {
			got = append(got, fmt.Sprintf("%s %s", a.Severity, a.Option))
			if !strings.Contains(a.Text, ": ") {
				t.Errorf("%s: %s names no remedy", tc.text, a)
			}
			for word := range strings.FieldsFuncSeq(a.Option+" "+a.Text, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
				if strings.Contains(strings.TrimRight(word, "_"), "_") && known[word].value == nil {
					t.Errorf("%s: there is no option %s", a, word)
				}
			}
		}
		if strings.Join(got, "; ") != tc.want {
			t.Errorf("%s: %s, want %s", tc.text, strings.Join(got, "; "), tc.want)
		}
	}
}
