package config

import (
	"bytes"
	"strings"
	"testing"
)

// TestSpeech reads one configuration in both syntaxes: what is said of either
// has the names of its own.
func TestSpeech(t *testing.T) {
	const text = `
mode fixed
fixed_server 192.0.2.25
lock_path /var/spool/smtp-gated/msg/user_lock
lock_on virus,spf,regex,earlytalk,dnsbl
antispam_type spamassassin
ignore_errors yes
earlytalker no
spool_perm 0666
lock_perm 0666
statefile_perm 0666
set_user nobody
spf fixed
pid_hash_size 5
`
	old, _, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	now, warnings, err := Parse("f", printed(old.PrintTOML, false))
	if err != nil {
		t.Fatal(err)
	}
	if !old.equal(now) {
		t.Fatal("they differ")
	}
	said := func(c *Config, warnings []Warning) string {
		var b strings.Builder
		for _, w := range warnings {
			b.WriteString(w.String() + "\n")
		}
		b.WriteString(c.Check().Error() + "\n")
		for _, a := range c.Advise() {
			b.WriteString(a.String() + "\n")
		}
		running := Default()
		b.WriteString("restart: " + strings.Join(c.Keep(running), " ") + "\n")
		return b.String()
	}
	got := said(now, warnings)
	for _, want := range []string{
		"f: unused.pid_hash_size: has no meaning",
		"set users.session, users.lock and users.action, or leave out users.user; spool.path, lock.path and what action.script works with must",
		"lock.path: /var/spool/smtp-gated/msg/user_lock lies in spool.path /var/spool/smtp-gated/msg, which",
		"policy.spf: fixed needs an address: set policy.spf_fixed_ip",
		"target.mode: strangers who reach 0.0.0.0:9199",
		"a policy.regex.enforce_rcpt_to for your domains, or a private listen.address",
		"scan.ignore_errors: while a scanner fails every message passes unscanned: write false,",
		"smtp.forbid_starttls: after STARTTLS a session cannot be scanned: write true where",
		"lock.on: dnsbl never happens: set policy.dnsbl, or",
		"lock.on: earlytalk never happens: write smtp.early_talk true, or",
		"lock.perm, status.perm: everybody",
		"restart: users.user lock.path\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for name := range index(Options()) {
		if strings.Contains(name, "_") && strings.Contains(strings.ReplaceAll(strings.ReplaceAll(got, "msg/user_lock", ""), "policy.spf_fixed_ip", ""), " "+name) {
			t.Errorf("TOML has no %s:\n%s", name, got)
		}
	}
	old, warnings, _ = Parse("f", []byte(text))
	if got := said(old, warnings); strings.Contains(got, "lock.") || strings.Contains(got, "users.") {
		t.Errorf("the old syntax has no such names:\n%s", got)
	}
}

// TestPrint: a file is printed in its own syntax.
func TestPrint(t *testing.T) {
	for text, want := range map[string]string{"port 25": "port                           25\n", "[listen]\nport = 25\n": "\n[listen]\n"} {
		c, _, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := c.Print(&b, false, false); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v %s", text, err, b.String())
		}
	}
	c, _, _ := Parse("f", []byte("[lock]\nduration = 60\n"))
	for _, name := range []string{"lock.duration", "lock_duration"} {
		if line, ok := c.PrintOne(name); !ok || line != `lock.duration = "1m"` {
			t.Errorf("%s: %q", name, line)
		}
		if line, ok := Default().PrintOne(name); !ok || line != "lock_duration                  3600" {
			t.Errorf("%s: %q", name, line)
		}
	}
}
