package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const withTLS = `
[target]
mode = "fixed"
server = "192.0.2.25"
tls_port = 465
[listen]
on = ["127.0.0.1:25"]
tls = ["127.0.0.1:465"]
[tls]
min_version = "1.3"
upstream = "always"
verify = "name"
pins = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
server_name = "mail.example.net"
handshake_timeout = "45s"
[[tls.certificate]]
chain = "/etc/a/fullchain.pem"
key = "/etc/a/privkey.pem"
[[tls.rule]]
client = ["192.0.2.7/24", "2001:db8::1"]
port = [587, 465]
policy = "pass"
[[ tls . "certificate" ]] # another
key = "/etc/b/privkey.pem"
chain = "/etc/b/fullchain.pem"
`

// TestTLSReachesSessions: a worker hears what the file says of TLS, and what auto means.
func TestTLSReachesSessions(t *testing.T) {
	c := parsed(t, withTLS)
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	want := imsg.TLSConfig{
		Policy: imsg.TLSTerminate,
		Rules: []imsg.TLSRule{{
			Client: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")},
			Port:   []uint16{587, 465},
			Policy: imsg.TLSPass,
		}},
		MinVersion: imsg.TLS13, Upstream: imsg.TLSAlways, Verify: imsg.TLSVerifyName, Roots: facts.Roots,
		ServerName: "mail.example.net", HandshakeTimeout: 45 * time.Second, Port: 465,
	}
	want.Pins = make([]imsg.Pin, 1)
	for i := range want.Pins[0] {
		want.Pins[0][i] = byte(i)
	}
	if s := c.Session(facts); !reflect.DeepEqual(s.TLS, want) {
		t.Errorf("a worker is told %+v, want %+v", s.TLS, want)
	}
	if connect, _ := c.SessionPorts(); !reflect.DeepEqual(connect, []uint16{25, 465}) {
		t.Errorf("it may connect to ports %v", connect)
	}
	if all := c.Listeners(); len(all) != 2 || all[1].Port() != 465 || !c.EndsTLS() || !c.NeedsRoots() {
		t.Errorf("listeners %v", all)
	}
	if want := []Certificate{{"/etc/a/fullchain.pem", "/etc/a/privkey.pem"}, {"/etc/b/fullchain.pem", "/etc/b/privkey.pem"}}; !reflect.DeepEqual(c.TLSCertificates, want) {
		t.Errorf("certificates %v", c.TLSCertificates)
	}
	for text, want := range map[string]imsg.TLSPolicy{
		"mode fixed\n":                      imsg.TLSPass,
		"mode fixed\nforbid_starttls yes\n": imsg.TLSMask,
		"tls_policy mask\n":                 imsg.TLSMask,
		"[target]\nmode = \"fixed\"\n[[tls.certificate]]\nchain = \"/c\"\nkey = \"/k\"\n":       imsg.TLSTerminate,
		"[target]\nmode = \"getsockname\"\n[[tls.certificate]]\nchain = \"/c\"\nkey = \"/k\"\n": imsg.TLSPass,
	} {
		if got := parsed(t, text).Session(facts).TLS.Policy; got != want {
			t.Errorf("%s: policy %d, want %d", text, got, want)
		}
	}
}

// TestVerifyReachesSessions: a worker hears how servers are verified, and has the
// authorities for it, if there may be TLS with one.
func TestVerifyReachesSessions(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   imsg.TLSVerify
	}{
		"all":          {func(*Config) {}, imsg.TLSVerifyName},
		"passed":       {func(c *Config) { c.TLSPolicy = imsg.TLSPass }, imsg.TLSVerifyName}, // but clients may begin with it
		"a port alone": {func(c *Config) { c.TLS.Upstream = imsg.TLSNever }, imsg.TLSVerifyName},
		"no port":      {func(c *Config) { c.TLS.Port = 0 }, imsg.TLSVerifyName},
		"never":        {func(c *Config) { c.TLS.Upstream, c.TLS.Port = imsg.TLSNever, 0 }, imsg.TLSUndecided},
		"all passed":   {func(c *Config) { c.TLSPolicy, c.ListenTLS = imsg.TLSPass, nil }, imsg.TLSUndecided},
	} {
		c := parsed(t, withTLS)
		tc.change(c)
		if got := c.Session(facts).TLS.Verify; got != tc.want || c.NeedsRoots() != (tc.want == imsg.TLSVerifyName) {
			t.Errorf("%s: verify %d, want %d; authorities %t", name, got, tc.want, c.NeedsRoots())
		}
	}
}

func TestCheckTLS(t *testing.T) {
	const fixed = "[target]\nmode = \"fixed\"\nserver = \"192.0.2.25\"\n"
	const certificate = "[[tls.certificate]]\nchain = \"/c\"\nkey = \"/k\"\n"
	const rule = "[[tls.rule]]\npolicy = \"pass\"\n"
	for _, tc := range []struct{ text, want string }{
		{fixed, ""},
		{fixed + rule, ""},
		{fixed + "[tls]\nverify = \"none\"\n" + certificate, ""},
		{fixed + "[tls]\nupstream = \"never\"\n" + certificate, ""},
		{fixed + "tls_port = 465\n[listen]\ntls = [\"127.0.0.1:465\"]\n[tls]\nupstream = \"never\"\n" + certificate, "tls.verify: say how"},
		{fixed + certificate, "tls.verify: say how the server's certificate is looked at when TLS ends here: name (signed by an authority of tls.ca_file, for tls.server_name), chain"},
		{fixed + "[tls]\nverify = \"pin\"\n" + certificate, "set tls.pins"},
		{fixed + "[tls]\nverify = \"name\"\n" + certificate, "set tls.server_name"},
		{fixed + "[tls]\nverify = \"chain\"\n" + certificate, ""},
		{fixed + "[tls]\npolicy = \"terminate\"\n", "tls.policy: terminate needs a certificate: write [[tls.certificate]]"},
		{"[target]\nmode = \"tproxy\"\n[tls]\nverify = \"none\"\npolicy = \"terminate\"\n" + certificate, "tls.policy: terminate is for the fixed modes, and mode is tproxy"},
		{"[target]\nmode = \"tproxy\"\n[tls]\nverify = \"none\"\n" + certificate + strings.Replace(rule, "pass", "mask", 1) + strings.Replace(rule, "pass", "terminate", 1), "tls.rule: number 2: policy terminate is for the fixed modes"},
		{fixed + "[tls]\nverify = \"none\"\n" + strings.Replace(rule, "pass", "terminate", 1), "tls.rule: number 1: policy terminate needs a certificate"},
		{fixed + "[listen]\ntls = [\"127.0.0.1:465\"]\n[tls]\nverify = \"none\"\n", "listen.tls: it needs a certificate"},
		{"[target]\nmode = \"tproxy\"\n[listen]\ntls = [\"127.0.0.1:465\"]\n[tls]\nverify = \"none\"\n" + certificate, "listen.tls: it is for the fixed modes"},
		{fixed + "[listen]\ntls = [\"0.0.0.0:9199\"]\n[tls]\nverify = \"none\"\n" + certificate, "overlap"},
		{fixed + "[smtp]\nforbid_starttls = true\n[tls]\npolicy = \"pass\"\n", "tls.policy: it excludes smtp.forbid_starttls"},
		{fixed + "[smtp]\nforbid_starttls = true\n" + rule, "tls.rule: it excludes smtp.forbid_starttls"},
		{fixed + "[smtp]\nforbid_starttls = true\n", ""},
		{"mode fixed\nfixed_server 192.0.2.25\nforbid_starttls yes\ntls_policy mask\n", "tls_policy: it excludes forbid_starttls"},
		{"mode fixed\nfixed_server 192.0.2.25\ntls_policy terminate\nlisten_tls 127.0.0.1:465\n", "in a file in TOML"},
	} {
		ownNames(t, tc.text)
		err := parsed(t, tc.text).Check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
	}
}

// TestArrays: what is wrong in one table of many is found there.
func TestArrays(t *testing.T) {
	const good = "[[tls.certificate]]\nchain = \"/c\"\nkey = \"/k\"\n"
	for _, tc := range []struct{ text, err string }{
		{good + good, ""},
		{"tls.certificate = [{ chain = \"/c\", key = \"/k\" }]\n", ""},
		{"tls.certificate = []\n", ""},
		{good + "[[tls.certificate]]\n# no\nchain = 1\nkey = \"/k\"\n" + good, "f:6: tls.certificate.chain: 1 is not a string (accepted: an absolute path)"},
		{good + "[[tls.certificate]]\nkey = \"/k\"\n" + good, "f:4: tls.certificate.chain: is missing"},
		{good + "[[tls.certificate]]\nkey = \"/k\"\nchain = \"/c\"\nname = \"x\"\n" + good, "f:7: tls.certificate.name: unknown key"},
		{"\n\ntls.certificate = [{ chain = \"/c\" }]\n", "f:3: tls.certificate.key: is missing"},
		{"[tls.certificate]\nchain = \"/c\"\nkey = \"/k\"\n", "f:1: tls.certificate: is a list of tables, each written [[tls.certificate]]"},
		{"[tls]\ncertificate = [1]\n", "f:2: tls.certificate: is a list of tables"},
		{"[tls]\ncertificate = \"/c\"\n", "f:2: tls.certificate: is a list of tables"},
		{"[[tls.rule]]\nclient = [\"10.0.0.0/33\"]\npolicy = \"mask\"\n", `f:2: tls.rule.client: "10.0.0.0/33" is no network`},
		{"[[tls.rule]]\nport = [0]\npolicy = \"mask\"\n", "f:2: tls.rule.port: 0 is out of range"},
		{"[[tls.rule]]\nport = [25]\n", "f:1: tls.rule.policy: is missing"},
		{"[[tls.rule]]\npolicy = \"auto\"\n", `unknown word "auto" (accepted: pass | mask | terminate)`},
		{"[tls]\npins = [\"AAAA\"]\n", "f:2: tls.pins: \"AAAA\" is not the base64 of 32 octets"},
		{"[tls]\nserver_name = \"mail.example.net.\"\n", "is no host name"},
		{"[tls]\nserver_name = \"192.0.2.1\"\n", "is no host name"},
	} {
		c, _, err := Parse("f", []byte(tc.text))
		if tc.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), "f:") || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %s", tc.text, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		back, _, err := Parse("f", printed(c.PrintTOML, true))
		if err != nil || !c.equal(back) {
			t.Errorf("%s reads back different: %v\n%s", tc.text, err, printed(c.PrintTOML, true))
		}
	}
	c := parsed(t, withTLS)
	for _, comments := range []bool{false, true} {
		back, _, err := Parse("f", printed(c.PrintTOML, comments))
		if err != nil || !c.equal(back) {
			t.Errorf("reads back different: %v\n%s", err, printed(c.PrintTOML, comments))
		}
	}
	for i, want := range []int{17, 25, 0} { // the keys of the second are the other way round
		if got := c.Line("tls.certificate.chain", i); got != want {
			t.Errorf("chain %d is in line %d, want %d", i, got, want)
		}
	}
	if got := parsed(t, "\ntls.certificate = [{ chain = \"/c\", key = \"/k\" }]\n").Line("tls.certificate.key", 0); got != 2 {
		t.Errorf("inline it is in line %d", got)
	}
	line, ok := c.PrintOne("tls.certificate")
	if want := `tls.certificate = [{ chain = "/etc/a/fullchain.pem", key = "/etc/a/privkey.pem" }, { chain = "/etc/b/fullchain.pem", key = "/etc/b/privkey.pem" }]`; !ok || line != want {
		t.Errorf("printed alone: %s", line)
	}
}

// TestAdviceOnTLS: what is dangerous or idle is named, and what it says to write is not
// what another check refuses, or what leads to clear text.
func TestAdviceOnTLS(t *testing.T) {
	const site = "[target]\nmode = \"fixed\"\nserver = \"192.0.2.25\"\n[tls]\n"
	const here = "[target]\nmode = \"fixed\"\nserver = \"127.0.0.1\"\nport = 10025\n[tls]\n"
	const certificate = "[[tls.certificate]]\nchain = \"/c\"\nkey = \"/k\"\n"
	const scanned = "[scan.antivirus]\nengine = \"clamd\"\n"
	const never, none, name, login = "upstream = \"never\"\n", "verify = \"none\"\n", "verify = \"name\"\nserver_name = \"a.example\"\n", "[listen]\ntls = [\"127.0.0.1:4465\"]\n"
	const clear, unlooked = "danger tls.upstream: never has mail go on to 192.0.2.25 in clear", "hint tls.verify: none encrypts to"
	for _, tc := range []struct {
		text string
		want []string // the beginning of all that is said of it
	}{
		{site, nil},
		{site + name + certificate, nil},
		{site + none + "min_version = \"1.0\"\n" + certificate, []string{"danger tls.min_version: TLS 1.0", unlooked}},
		{site + none + certificate, []string{unlooked}},
		{site + none, []string{"hint tls.verify: no session of ours"}},
		{site + "pins = [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]\n", []string{"hint tls.pins: nothing is held"}},
		{site + "ca_file = \"/ca\"\n", []string{"hint tls.ca_file: it is not read"}},
		{site + "policy = \"pass\"\n" + certificate, []string{"hint tls.certificate: nobody is shown it: write tls.policy terminate"}},
		{site + "policy = \"mask\"\n" + name + certificate, []string{"hint tls.certificate: nobody is shown it: write tls.policy terminate"}},
		{site + name + "ca_file = \"/ca\"\n[smtp]\nforbid_starttls = true\n" + certificate, []string{"hint tls.certificate: nobody is shown it, because smtp.forbid_starttls is set: leave that out"}},
		{strings.Replace(site, "fixed", "netfilter", 1) + none + certificate, []string{"hint tls.certificate: nobody is shown it: TLS ends here in the fixed modes, and mode is netfilter: leave it out"}},
		{site + never + certificate, []string{clear}},
		{site + never + name + certificate, []string{clear, "hint tls.verify: it does nothing beside tls.upstream never: leave that out"}},
		{site + never + "policy = \"pass\"\n" + login + certificate, []string{clear}},
		{strings.Replace(site, "[tls]", "tls_port = 465\n[tls]", 1) + never + "policy = \"pass\"\n" + name + login + certificate, nil},
		{site + never + "policy = \"pass\"\n" + certificate + "[[tls.rule]]\npolicy = \"terminate\"\n", []string{clear}},
		{here + never + certificate, nil},
		{here + never + none + certificate, []string{"hint tls.verify: no session of ours has TLS with a server: leave it out"}},
		{site + scanned, []string{"hint smtp.forbid_starttls: after STARTTLS a session cannot be scanned: write true"}},
		{site + "policy = \"pass\"\n" + scanned, []string{"hint tls.policy: after STARTTLS a session cannot be scanned: write tls.policy mask"}},
		{site + scanned + "[[tls.rule]]\nport = [25]\npolicy = \"mask\"\n", []string{"hint tls.policy: after STARTTLS a session cannot be scanned"}},
		{site + name + login + "[policy.regex]\nenforce_rcpt_to = \"@a.example\"\n" + certificate, []string{"hint policy.regex.enforce_rcpt_to: it holds for clients that log in at listen.tls"}},
	} {
		ownNames(t, tc.text)
		c := parsed(t, tc.text)
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", tc.text, err)
		}
		var said []string
		for _, a := range c.Advise() {
			if strings.Contains(a.Option, "tls") || strings.Contains(a.Option, "enforce") {
				said = append(said, a.Severity.String()+" "+a.String())
			}
		}
		if !slices.EqualFunc(said, tc.want, strings.HasPrefix) {
			t.Errorf("%s: said is\n%s\nwant %q", tc.text, strings.Join(said, "\n"), tc.want)
		}
	}
}
