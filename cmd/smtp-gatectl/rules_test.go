package main

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

const exampleRules = "../../etc/firewall/"

// madeOf is how each example comes of the configuration in its first comment; files that are
// no example of rules have no arguments.
var madeOf = map[string]struct {
	mode imsg.Mode
	args string
}{
	"ipfw.sh":                       {imsg.ModeIpfw, ""},
	"ipnat.conf":                    {imsg.ModeIpfilter, ""},
	"nftables-mark.nft":             {imsg.ModeFixed, ""},
	"nftables-dnat.nft":             {imsg.ModeNetfilter, "nft --interface lan0 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"nftables-redirect.nft":         {imsg.ModeNetfilter, "nft --interface lan0 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"nftables-remote.nft":           {imsg.ModeRemoteUDP, "nft --interface lan0 --direct 203.0.113.16/28 --direct 2001:db8:cafe::/48"},
	"nftables-tproxy-netfilter.nft": {imsg.ModeTproxyNetfilter, "nft --interface lan0 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"nftables-tproxy.nft":           {imsg.ModeTproxy, "nft --interface lan0 --direct 203.0.113.0/28,2001:db8:cafe::/48 --mark 1 --ports 587,25,25"},
	"pf-freebsd.conf":               {imsg.ModePf, "pf --system freebsd --interface em1 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"pf-openbsd.conf":               {imsg.ModeGetsockname, "pf --system openbsd --interface em1 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"pf-openbsd-tproxy.conf":        {imsg.ModeTproxy, "pf --system openbsd --interface em1 --direct 203.0.113.0/28,2001:db8:cafe::/48"},
	"pf-remote.conf":                {imsg.ModeRemoteUDP, "pf --system freebsd --interface em1 --direct 203.0.113.16/28,2001:db8:cafe::/48"},
}

// snippet is the configuration in the first comment of a file.
func snippet(text string) string {
	head, _, _ := strings.Cut(text, "\n\n")
	var b strings.Builder
	inside := false
	for line := range strings.Lines(head) {
		words, indented := strings.CutPrefix(line, "#     ")
		switch {
		case indented && (words[0] == '[' || inside && strings.Contains(words, " = ")):
			inside = true
			b.WriteString(words)
		case line != "#\n":
			inside = false
		}
	}
	return b.String()
}

// TestExampleRules: what an example says of the configuration is right, in the words of TOML,
// and the rules printed for that are those of the example.
func TestExampleRules(t *testing.T) {
	files, err := filepath.Glob(exampleRules + "*")
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile(`(?m)^#\s+[a-z_]+ [^ ]+$`)
	known := maps.Clone(madeOf)
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".go" || name == "iptables.sh" || name == "tproxy-routes.sh" {
			continue
		}
		from, is := known[name]
		if !is {
			t.Errorf("nobody says which mode %s is for", name)
			continue
		}
		delete(known, name)
		conf := filepath.Join(t.TempDir(), "smtp-gated.toml")
		said := snippet(string(text))
		if from.mode == imsg.ModeFixed { // any will do
			said += "mode = \"fixed\"\nserver = \"192.0.2.25\"\n"
		}
		if err := os.WriteFile(conf, []byte(said), 0o644); err != nil {
			t.Fatal(err)
		}
		c, warnings, err := config.Read(conf)
		if err != nil || len(warnings) > 0 || c.Mode != from.mode {
			t.Errorf("%s: %v, %v, in\n%s", name, err, warnings, said)
			continue
		}
		if at := old.FindString(string(text)); at != "" && slices.ContainsFunc(config.Options(), func(o config.Option) bool { return strings.HasPrefix(strings.TrimLeft(at, "# "), o.Name+" ") }) {
			t.Errorf("%s speaks the old syntax: %s", name, at)
		}
		if from.args == "" {
			continue
		}
		code, out, errs := gatectl(append(append([]string{"rules"}, strings.Fields(from.args)...), conf)...)
		if code != exitOK {
			t.Errorf("%s: exit %d: %s", name, code, errs)
			continue
		}
		head, body, _ := strings.Cut(out, "\n\n")
		_, want, _ := strings.Cut(string(text), "\n\n")
		if name == "pf-remote.conf" { // of the router nothing is known
			want = strings.Replace(want, `dmz = "em2"        #`, `dmz = "EDIT THIS LINE: the interface towards the gateway" #`, 1)
		}
		if body != want {
			t.Errorf("%s is not what is printed for it:\n%s", name, out)
		}
		if !strings.Contains(head, c.Mode.String()) || !strings.Contains(head, conf) || !strings.Contains(head, "not applied") {
			t.Errorf("%s: the head does not say what it is:\n%s", name, head)
		}
	}
	for name := range known {
		t.Errorf("there is no %s", name)
	}
}

// rulesFor prints rules for a configuration.
func rulesFor(t *testing.T, text string, args ...string) (code int, out, errs string) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "smtp-gated.toml")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return gatectl(append(append([]string{"rules"}, args...), conf)...)
}

func at(mode string, listeners ...string) string {
	text := "[target]\nmode = \"" + mode + "\"\n"
	if strings.HasPrefix(mode, "fixed") {
		text += "server = \"192.0.2.25\"\n"
	}
	return text + "[listen]\non = [\"" + strings.Join(listeners, `", "`) + "\"]\n"
}

// TestRulesChosen: which rules there are for what; each definition of an example has a value.
func TestRulesChosen(t *testing.T) {
	const four, six = "0.0.0.0:9199", "[::]:9199"
	for _, tt := range []struct {
		conf, args string
		want       string // what is in the rules, parts joined by |; of an exit status that is not 0, in its text
		no         string // what is not
		code       int
	}{
		{at("netfilter", four, six), "nft --interface lan0", `redirect to :$gate|define gate = 9199|define lan = { "lan0" }|No mail server is left alone`, "elements|The gateway does not|EDIT", 0},
		{at("netfilter", four), "nft --interface lan0,lan1", `redirect to :$gate|{ "lan0", "lan1" }|does not listen for IPv6`, "EDIT", 0},
		{at("netfilter", "127.0.0.1:9198", six), "nft", "redirect to :$gate|define gate = 9199|does not listen for IPv4|EDIT THIS LINE: an interface", "", 0},
		{at("netfilter", "192.0.2.1:9199"), "nft --interface lan0", "dnat ip to $gate4:$gate|define gate4 = 192.0.2.1|iifname { \"lan0\" } tcp dport 9199 accept", "$gate6", 0},
		{at("netfilter", four), "nft --interface lan0 --ports 465,2525 --direct 10.1.2.3,10.0.0.0/8,2001:db8::1", "{ 465, 2525 }|unread|{ 10.0.0.0/8 }|{ 2001:db8::1 }", "10.1|left alone. If", 0},
		{at("netfilter", "127.0.0.1:9199"), "nft", "loopback alone", "", exitUsage},
		{at("netfilter", four, "[2001:db8::1]:9199"), "nft", "all of both, or one of each", "", exitUsage},
		{at("netfilter", four, "[::]:9198"), "nft", "different ports", "", exitUsage},
		{at("netfilter", "0.0.0.0:0"), "nft", "a port that the system picks", "", exitUsage},
		{at("tproxy", four, "[::1]:9199"), "nft --interface lan0 --mark 0x20", "define gate4 = 0.0.0.0|define gate6 = ::1|define here = 0x20|meta mark 0x20 accept|sh ROUTES start", "keep_port is", 0},
		{at("getsockname", four), "nft", "tproxy ip to|sh ROUTES start", "tproxy ip6", 0},
		{strings.Replace(at("tproxy", four), "[listen]", "keep_port = true\nmark = 21319\n[listen]", 1), "nft", "target.keep_port is on", "", 0},
		{strings.Replace(at("tproxy", four), "[listen]", "mark = 1\n[listen]", 1), "nft", "name another by --mark", "", exitUsage},
		{strings.Replace(at("netfilter", four), "[listen]", "mark = 1\n[listen]", 1), "nft", "redirect", "", 0},
		{strings.Replace(at("tproxy", four), "[listen]", "mark = 1\n[listen]", 1), "routes", "name another by --mark", "", exitUsage},
		{at("tproxy", four), "routes --mark 2", "mark=0x2\n", "EDIT", 0},
		{at("netfilter", four), "routes", "needs no routes", "mark=", 0},
		{at("tproxy,netfilter", four, six), "nft", "redirect to :$gate|tproxy to :$gate|tcp dport 9199 accept|meta mark 0x1 accept", "", 0},
		{at("tproxy,netfilter", "192.0.2.1:9199"), "nft", "0.0.0.0 and [::]", "", exitUsage},
		{at("remote", "203.0.113.2:9199"), "nft --interface lan0", "for the router|smtp-gate-helper -a 203.0.113.2\n|define helper = 114", "-s FILE|doctor|$gate6", 0},
		{at("remote-udp", four) + "[target.remote]\nport = 115\nsecret = 4711\n", "nft", "-p 115 -s FILE|define helper = 115|define gate4 = EDIT THIS LINE: the gateway's address", "4711", 0},
		{at("remote", "127.0.0.1:9199"), "nft", "the router is another machine", "", exitUsage},
		{at("fixed", "0.0.0.0:25", "[::]:25"), "nft", "needs no rules|0.0.0.0:25, [::]:25|tcp dport { 25 } accept", "define", 0},
		{at("fixed+xclient", "0.0.0.0:25", "[::]:26"), "pf --system openbsd", "needs no rules|port { 25, 26 }", "lan =", 0},
		{at("pf", four), "nft", "smtp-gatectl rules pf", "", exitUsage},
		{at("ipfw", four), "nft", "ipfw.sh", "", exitUsage},
		{at("ipfilter", four), "pf --system freebsd", "ipnat.conf", "", exitUsage},

		{at("pf", four, six), "pf --system freebsd --interface em1", `gate4 = "127.0.0.1"|gate6 = "EDIT THIS LINE: an address of the clients' interface"|direct = "{ }"|user = "_smtpgated"`, "", 0},
		{at("pf", "192.0.2.1:9199"), "pf --system freebsd --interface em1,em2", `gate4 = "192.0.2.1"|lan = "{ em1, em2 }"`, "$gate6", 0},
		{at("pf", "[::1]:9199"), "pf --system freebsd", "cannot be redirected to ::1", "", exitUsage},
		{at("pf", four), "pf --system openbsd", "divert-to", "", exitUsage},
		{at("getsockname", four), "pf --system openbsd", "finds no listener at 0.0.0.0", "", exitUsage},
		{at("getsockname", "127.0.0.1:9199"), "pf --system openbsd --interface em1,em2", `lan = "{ em1 em2 }"|divert-to $gate4`, "$gate6", 0},
		{strings.Replace(at("getsockname", "127.0.0.1:9199"), "[listen]", "mark = 7\n[listen]", 1) + "[users]\nsession = \"mailgate\"\n", "pf --system openbsd", `user = "root"`, "", 0},
		{at("getsockname", "127.0.0.1:9199") + "[users]\nsession = \"mailgate\"\n", "pf --system openbsd", `user = "mailgate"`, "", 0},
		{at("getsockname", "127.0.0.1:9199"), "pf --system freebsd", "say mode pf", "", exitUsage},
		{at("remote", "203.0.113.2:9199"), "pf --system openbsd", "on the router, in mode getsockname", "", exitUsage},
		{at("remote", "127.0.0.1:9199"), "pf --system freebsd", "the router is another machine", "", exitUsage},
		{at("netfilter", four), "pf --system freebsd", "smtp-gatectl rules nft", "", exitUsage},
		{at("netfilter", four), "pf --system linux", "has no pf", "", exitUsage},

		{at("netfilter", four), "nft --json", "no JSON", "", exitUsage},
		{at("netfilter", four), "nft --config /x", "FILE", "", exitUsage},
		{at("netfilter", four), "nft --interface a;b", "no interface's name", "", exitUsage},
		{at("netfilter", four), "nft --interface an-interface-too-long", "no interface's name", "", exitUsage},
		{at("netfilter", four), "nft --ports 0", "no port", "", exitUsage},
		{at("netfilter", four), "nft --ports 65536", "no port", "", exitUsage},
		{at("netfilter", four), "nft --direct mx.example", "no network", "", exitUsage},
		{at("netfilter", four), "nft --mark 0", "marks nothing", "", exitUsage},
		{"no_such = 1\n", "nft", "no_such", "", exitUsage},
	} {
		code, out, errs := rulesFor(t, tt.conf, strings.Fields(tt.args)...)
		where := out
		if code != exitOK {
			where = errs
			if out != "" {
				t.Errorf("%s: exit %d, and there are rules:\n%s", tt.args, code, out)
			}
		}
		if code != tt.code {
			t.Errorf("%s: exit %d, want %d, for\n%s%s", tt.args, code, tt.code, tt.conf, errs)
		}
		for part := range strings.SplitSeq(tt.want, "|") {
			if !strings.Contains(where, part) {
				t.Errorf("%s: no %q in\n%s", tt.args, part, where)
			}
		}
		for part := range strings.SplitSeq(tt.no, "|") {
			if part != "" && strings.Contains(where, part) {
				t.Errorf("%s: %q in\n%s", tt.args, part, where)
			}
		}
		// What must be edited is said aside, too.
		if edits := strings.Count(out, editMark); strings.Count(errs, editMark) != edits {
			t.Errorf("%s: %d lines to edit, and this is said:\n%s", tt.args, edits, errs)
		}
	}
	// One that is misspelt would lead nobody to the gateway, in silence.
	lo := "lo0"
	if _, err := net.InterfaceByName(lo); err != nil {
		lo = "lo"
	}
	if _, _, errs := rulesFor(t, at("tproxy", "127.0.0.1:9199"), "nft", "--interface", lo); errs != "" {
		t.Errorf("of an interface that is there: %s", errs)
	}
	if code, _, errs := gatectl("rules", "nft", "--socket", filepath.Join(t.TempDir(), "x")); code != exitFailed || !strings.Contains(errs, "name a FILE") {
		t.Errorf("without a daemon: exit %d: %s", code, errs)
	}
	if code, _, errs := gatectl("rules"); code != exitUsage {
		t.Errorf("which rules: exit %d: %s", code, errs)
	}
}

// TestRulesComplete: each line with a name in it is of a definition that stays.
func TestRulesComplete(t *testing.T) {
	use := regexp.MustCompile(`\$([a-z]+[46]?)`)
	for _, conf := range []string{at("netfilter", "0.0.0.0:9199"), at("netfilter", "192.0.2.1:9199"), at("tproxy", "[::]:9199"), at("tproxy,netfilter", "0.0.0.0:9199"), at("remote", "[2001:db8::1]:9199")} {
		_, out, errs := rulesFor(t, conf, "nft")
		if out == "" {
			t.Errorf("%s: %s", conf, errs)
		}
		for _, m := range use.FindAllStringSubmatch(out, -1) {
			if !strings.Contains(out, "define "+m[1]+" = ") {
				t.Errorf("%s: $%s is not defined:\n%s", conf, m[1], out)
			}
		}
	}
}
