package config

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
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
	got := allSaid(now, warnings)
	for _, want := range []string{
		"f: unused.pid_hash_size: has no meaning",
		"set users.session, users.lock and users.action, or leave out users.user; spool.path, lock.path and what action.script works with must",
		"lock.path: /var/spool/smtp-gated/msg/user_lock lies in spool.path /var/spool/smtp-gated/msg, which",
		"policy.spf: fixed needs an address: set policy.spf_fixed_ip",
		"target.mode: strangers who reach 0.0.0.0:9199",
		"use target.mode fixed+xclient or fixed+proxy, smtp.auth_require mandatory",
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
	ownNames(t, text)
	if strings.Contains(got, "{") {
		t.Errorf("a mark is left:\n%s", got)
	}
}

// allSaid is all that is said of a configuration.
func allSaid(c *Config, warnings []Warning) string {
	var b strings.Builder
	for _, w := range warnings {
		b.WriteString(w.String() + "\n")
	}
	if err := c.Check(); err != nil {
		b.WriteString(err.Error() + "\n")
	}
	for _, a := range c.Advise() {
		b.WriteString(a.String() + "\n")
	}
	b.WriteString("restart: " + strings.Join(c.Keep(Default()), " ") + "\n")
	return b.String()
}

// ownNames looks whether what is said of a file has the names of its syntax; of one in
// the old syntax what is said of the same in TOML, too.
func ownNames(t *testing.T, text string) {
	t.Helper()
	toml := isTOML(text)
	c, warnings, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := allSaid(c, warnings)
	for _, word := range words.FindAllString(strings.ReplaceAll(all, "/msg/user_lock", ""), -1) {
		if foreign()[toml][word] {
			t.Errorf("%s: its syntax has no %s:\n%s", text, word, all)
		}
	}
	if !toml {
		ownNames(t, string(printed(c.PrintTOML, false)))
	}
}

// foreign has, for TOML and for the old syntax, the names of the other.
var foreign = sync.OnceValue(func() map[bool]map[string]bool {
	all := map[bool]map[string]bool{true: {}, false: {}}
	for _, o := range Options() {
		all[true][o.Name] = o.key() != o.Name
		all[false][o.Path] = true
	}
	return all
})

var words = regexp.MustCompile(`[a-z0-9_.]*[a-z0-9_]`)

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
