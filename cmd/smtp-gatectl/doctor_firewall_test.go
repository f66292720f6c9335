// What rules of firewalls do to packets. The texts are what the programs have printed.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func recorded(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "doctor", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tell words what a firewall does to a packet.
func (f firewall) tell(hook string, p packet) string {
	var words []string
	for _, h := range f.hits(hook, p) {
		words = append(words, fmt.Sprintf("%s %v", map[likely]string{maybe: "perhaps", yes: "surely"}[h.sure], h.to.Port()))
	}
	return strings.Join(words, ", ")
}

func TestFirewallRules(t *testing.T) {
	nft, err := parseNft(recorded(t, "nft.json"))
	if err != nil {
		t.Fatal(err)
	}
	tproxy := append(parseIptables(recorded(t, "iptables-tproxy.txt"), false), parseIptables(recorded(t, "ip6tables-tproxy.txt"), true)...)
	dnat := parseIptables(recorded(t, "iptables-dnat.txt"), false)
	freebsd := parsePf(recorded(t, "pf-freebsd.txt"))
	openbsd := parsePf(recorded(t, "pf-openbsd.txt"))
	server, other := netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("198.51.100.7")
	six := netip.MustParseAddr("2001:db8::25")
	for _, tt := range []struct {
		name string
		f    firewall
		hook string
		packet
		want string
	}{
		{"nft, a client", nft, "prerouting", packet{port: 25, incoming: true}, "perhaps 9199, perhaps 9198"},
		{"nft, a client of IPv6", nft, "prerouting", packet{port: 25, six: true, incoming: true}, "perhaps 9199, perhaps 9198"},
		{"nft, another port", nft, "prerouting", packet{port: 80, incoming: true}, ""},
		{"nft, our own", nft, "output", packet{to: server, port: 25, uid: new(7), marked: true}, "surely 9199"},
		{"nft, our own, port in a range", nft, "output", packet{to: server, port: 24, uid: new(7), marked: true}, "surely 9199"},
		{"nft, who knows whereto", nft, "output", packet{port: 25, uid: new(7), marked: true}, "perhaps 9199"},
		{"nft, exempt by user", nft, "output", packet{to: server, port: 25, uid: new(65534), marked: true}, ""},
		{"nft, exempt by a range of users", nft, "output", packet{to: server, port: 25, uid: new(150), marked: true}, ""},
		{"nft, exempt by mark", nft, "output", packet{to: server, port: 25, uid: new(7), mark: 0x5347, marked: true}, ""},
		{"nft, exempt by a negated address", nft, "output", packet{to: other, port: 25, uid: new(7), marked: true}, ""},
		{"nft, that is of IPv4", nft, "output", packet{to: six, six: true, port: 25, uid: new(7), marked: true}, "surely 9199"},

		{"tproxy, a client", tproxy, "prerouting", packet{port: 25, incoming: true}, "perhaps 9199"},
		{"tproxy, a client of IPv6", tproxy, "prerouting", packet{port: 587, six: true, incoming: true}, "perhaps 9199"},
		{"tproxy, another port", tproxy, "prerouting", packet{port: 80, incoming: true}, ""},
		{"iptables, our own", tproxy, "output", packet{port: 25, uid: new(7), marked: true}, "surely 9199"},
		{"iptables, exempt by user", tproxy, "output", packet{port: 25, uid: new(65534), marked: true}, ""},
		{"iptables, exempt by mark", tproxy, "output", packet{port: 25, uid: new(7), mark: 0x5347, marked: true}, ""},
		{"iptables, of IPv6", tproxy, "output", packet{port: 25, six: true, uid: new(7), marked: true}, ""},
		{"dnat, a client", dnat, "prerouting", packet{port: 25, incoming: true}, "perhaps 9199"},
		{"dnat, our own", dnat, "output", packet{port: 25, uid: new(7)}, ""},

		{"FreeBSD, a client", freebsd, "prerouting", packet{port: 25, incoming: true}, "perhaps 9199"},
		{"FreeBSD, a client of IPv6", freebsd, "prerouting", packet{port: 25, six: true, incoming: true}, "perhaps 9199"},
		{"FreeBSD, another port", freebsd, "prerouting", packet{port: 80, incoming: true}, ""},
		{"FreeBSD, our own", freebsd, "output", packet{port: 25, uid: new(7)}, ""},
		{"OpenBSD, a client", openbsd, "prerouting", packet{port: 25, incoming: true}, "perhaps 9199"},
		{"OpenBSD, a client of IPv6", openbsd, "prerouting", packet{port: 25, six: true, incoming: true}, "perhaps 9199"},
		{"OpenBSD, our own", openbsd, "output", packet{port: 25, uid: new(7)}, "perhaps 9199"},
		{"OpenBSD, exempt", openbsd, "output", packet{port: 25, uid: new(1000)}, ""},
	} {
		if got := tt.f.tell(tt.hook, tt.packet); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for _, h := range tproxy.hits("prerouting", packet{port: 25, incoming: true}) {
		if !h.tproxy || h.mark != 1 {
			t.Errorf("a rule with TPROXY is %+v", h)
		}
	}
	for _, text := range []string{`""`, `"" x`, `-A ""`, `*nat` + "\n" + `:""` + "\n" + `-A "" -j ""`} {
		parseIptables(text, false) // quotes around nothing
	}
	if _, err := parseNft("{"); err == nil {
		t.Error("half of an answer is read")
	}
	// A chain that leads to itself comes to an end.
	round := parseIptables("*nat\n:OUTPUT ACCEPT [0:0]\n:x - [0:0]\n-A OUTPUT -j x\n-A x -m y -j x\n-A x -g x\nCOMMIT\n", false)
	if got := round.tell("output", packet{port: 25}); got != "" {
		t.Errorf("a circle: %s", got)
	}
}

// TestDoctorFirewallJudges: what is said of rules, by the modes.
func TestDoctorFirewallJudges(t *testing.T) {
	p := patientWith(t, "mode netfilter\nlisten 0.0.0.0:9199\n")
	p.root = true
	printed := map[string]string{}
	p.run = func(_ context.Context, name string, args ...string) (string, error) {
		text, ok := printed[strings.Join(append([]string{name}, args...), " ")]
		if !ok {
			return "", missingProgram(name)
		}
		if text == "fails" {
			return "", errors.New(text)
		}
		return text, nil
	}
	list := func() (firewall, string) { return p.listRules(context.Background(), "linux") }
	if _, none := list(); !strings.Contains(none, "nft (package nftables)") || !strings.Contains(none, "package iptables") {
		t.Errorf("no program: %s", none)
	}
	p.loads = func(string) bool { return true }
	if f, none := list(); len(f) != 0 || none != "" {
		t.Errorf("a kernel that has none: %v, %s", f, none)
	}
	p.loads = nil
	printed["nft -j list ruleset"] = "fails"
	if _, none := list(); none != "fails" {
		t.Errorf("one that fails: %s", none)
	}
	printed["nft -j list ruleset"] = `{"nftables": []}`
	f, none := list()
	if none != "" {
		t.Fatal(none)
	}
	same(t, "no rules", []result{p.judgeRedirect("x", f), p.judgeOwn(context.Background(), "x", f)}, "x red", "x green")
	printed["iptables-save"] = recorded(t, "iptables-tproxy.txt")
	f, _ = list()
	same(t, "rules of another mode", []result{p.judgeRedirect("x", f)}, "x red")
	dnat := parseIptables(strings.ReplaceAll(recorded(t, "iptables-dnat.txt"), "192.0.2.1:", "127.0.0.1:"), false)
	same(t, "rules", []result{p.judgeRedirect("x", dnat)}, "x green")
	for _, mode := range []string{"tproxy", "getsockname"} {
		q := patientWith(t, "mode "+mode+"\nlisten 0.0.0.0:9199\n")
		same(t, "rules", []result{q.judgeRedirect("x", f)}, "x green")
		same(t, "rules of another mode", []result{q.judgeRedirect("x", dnat)}, "x red")
	}
	p.own() // of a user that is not there
	q := patientWith(t, "mode netfilter\nlisten 0.0.0.0:9199,[::]:9199\nso_mark 21319\n")
	same(t, "IPv6 is forgotten", []result{q.judgeRedirect("x", dnat)}, "x warning")
	q.run = p.run
	same(t, "a mark, and no ip", []result{q.judgeOwn(context.Background(), "x", f)}, "x skipped")
	printed["ip -4 -j rule"], printed["ip -6 -j rule"] = `[{"src":"all","table":"local"}]`, `[]`
	same(t, "a mark", []result{q.judgeOwn(context.Background(), "x", f)}, "x green")
	delete(printed, "ip -4 -j rule")
	q = patientWith(t, "mode netfilter\nlisten 0.0.0.0:25\n")
	same(t, "another port", []result{q.judgeRedirect("x", f)}, "x red")
	q = patientWith(t, "mode tproxy\nlisten 0.0.0.0:9199\n")
	same(t, "root's socket", []result{q.judgeOwn(context.Background(), "x", f)}, "x red")
	far := parseIptables(strings.ReplaceAll(recorded(t, "iptables-dnat.txt"), "192.0.2.1:", "203.0.113.77:"), false)
	same(t, "to another machine", []result{q.judgeRedirect("x", far)}, "x red")

	q.run = p.run
	routes := func() []result { return []result{q.judgeRoutes(context.Background(), "x", f)} }
	same(t, "no ip", routes(), "x skipped")
	printed["ip -4 -j rule"] = `[{"priority":0,"src":"all","table":"local"}]`
	same(t, "no rule", routes(), "x red")
	printed["ip -4 -j rule"] = `[{"priority":0,"src":"all","table":"local"},{"priority":900,"src":"all","fwmark":"0x1","table":"100"}]`
	printed["ip -4 -j route show table 100"] = `[]`
	same(t, "no route", routes(), "x red")
	printed["ip -4 -j route show table 100"] = `[{"type":"local","dst":"default","dev":"lo","scope":"host","flags":[]}]`
	same(t, "all", routes(), "x green")
	printed["ip -4 -j rule"] = `nonsense`
	same(t, "nonsense", routes(), "x red")
}

// TestDoctorFollowsMarks: what a mark brings back to us has no rule with a redirect.
func TestDoctorFollowsMarks(t *testing.T) {
	const policy = `[{"src":"all","table":"local"},{"src":"all","fwmark":"0x1","table":"100"},{"src":"all","fwmark":"0x10","fwmask":"0xf0","iif":"eth0","table":"100"},{"src":"all","fwmark":"0x7","table":"7"},{"src":"all","not":null,"fwmark":"0x8","table":"100"}]`
	nft := func(kind, match, value string) string {
		if match != "" {
			match = `{"match":` + match + `},`
		}
		return `{"nftables":[{"chain":{"family":"inet","table":"t","name":"c","type":"` + kind + `","hook":"output","prio":-150}},
			{"rule":{"family":"inet","table":"t","chain":"c","expr":[` + match + `{"mangle":{"key":{"meta":{"key":"mark"}},"value":` + value + `}}]}}]}`
	}
	const mail, other = `{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":25}`, `{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":80}`
	const some = `{"op":"==","left":{"meta":{"key":"cgroup"}},"right":5}`
	const ored = `{"|":[{"meta":{"key":"mark"}},1]}`
	for _, tt := range []struct {
		name, options, nft, iptables, want string
	}{
		{"so_mark is the clients'", "so_mark 1\n", "", "", "red"},
		{"so_mark leads out by a table", "so_mark 7\n", "", "", "green"},
		{"for what comes in", "so_mark 16\n", "", "", "green"},
		{"for all but", "so_mark 8\n", "", "", "green"},
		{"a chain marks it", "", nft("route", mail, "1"), "", "red"},
		{"it may", "", nft("route", some, "1"), "", "warning"},
		{"it adds the mark", "", nft("route", mail, ored), "", "red"},
		{"it changes the mark into one that leads out", "so_mark 1\n", nft("route", mail, "9"), "", "green"},
		{"another port", "", nft("route", other, "1"), "", "green"},
		{"a chain behind which nothing is routed anew", "", nft("filter", mail, "1"), "", "green"},
		{"iptables", "", "", "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 25 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n", "red"},
		{"the bits that it keeps", "so_mark 4096\n", "", "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j MARK --set-xmark 0x1/0xff\nCOMMIT\n", "green"},
		{"a connection's mark", "", "", "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j CONNMARK --set-xmark 0x1/0xffffffff\nCOMMIT\n", "green"},
	} {
		p := patientWith(t, "mode netfilter\nlisten 0.0.0.0:9199\n"+tt.options)
		p.run = func(_ context.Context, _ string, args ...string) (string, error) {
			switch args := strings.Join(args, " "); {
			case strings.HasSuffix(args, "rule"):
				return policy, nil
			case strings.HasSuffix(args, "100"):
				return `[{"type":"local","dst":"default","dev":"lo"}]`, nil
			}
			return `[{"dst":"default","dev":"eth0"}]`, nil
		}
		f := parseIptables(tt.iptables, false)
		if tt.nft != "" {
			var err error
			if f, err = parseNft(tt.nft); err != nil {
				t.Fatal(err)
			}
		}
		same(t, tt.name, []result{p.judgeOwn(context.Background(), "x", f)}, "x "+tt.want)
	}
	p := patientWith(t, "mode fixed\nfixed_server 127.0.0.1\nso_mark 1\n")
	same(t, "a server on this machine", []result{p.judgeOwn(context.Background(), "x", nil)}, "x green")
}

// TestPfOrder: the last rule decides, or the first with quick; of translations the first.
func TestPfOrder(t *testing.T) {
	const lead = "out inet proto tcp from any to any port = 25 rdr-to 127.0.0.1 port 9199\n"
	for name, tt := range map[string]struct{ rules, want string }{
		"one":                    {"pass " + lead, "surely 9199"},
		"an exemption behind it": {"pass " + lead + "pass out proto tcp from any to any port = smtp user = 7\n", ""},
		"one before it":          {"pass out proto tcp from any to any port = smtp user = 7\npass " + lead, "surely 9199"},
		"a quick one before it":  {"pass out quick proto tcp from any to any port = smtp user = 7\npass " + lead, ""},
		"behind a quick one":     {"pass quick " + lead + "pass out all\n", "surely 9199"},
		"of another direction":   {"pass " + lead + "block drop in all\n", "surely 9199"},
		"of both":                {"pass " + lead + "block drop all\n", ""},
		"on an interface":        {"pass " + lead + "pass out on em0 all\n", "perhaps 9199"},
		"from a network":         {"pass " + strings.Replace(lead, "from any", "from 192.0.2.0/24", 1), "perhaps 9199"},
		"from a port":            {"pass " + strings.Replace(lead, "from any", "from any port = 24", 1), "perhaps 9199"},
		"to others":              {"pass " + strings.Replace(lead, "to any", "to 198.51.100.0/24", 1), ""},
		"to others than":         {"pass " + strings.Replace(lead, "to any", "to ! 198.51.100.0/24", 1), "perhaps 9199"},
		"a match":                {"match " + lead + "pass out all\n", "surely 9199"},
		"a match of nothing":     {"pass " + lead + "match out all scrub (no-df)\n", "surely 9199"},
		"a name for it":          {"pass out all label \"user\"\npass " + lead, "surely 9199"},
	} {
		p := packet{to: netip.MustParseAddr("192.0.2.25"), port: 25, uid: new(7)}
		if got := parsePf(tt.rules).tell("output", p); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	rdr := "rdr pass inet proto tcp from any to any port = smtp -> 127.0.0.1 port 9199\n"
	for rules, want := range map[string]string{rdr: "surely 9199", "no rdr proto tcp from any to any\n" + rdr: "", rdr + "no rdr all\n": "surely 9199"} {
		if got := parsePf(rules).tell("prerouting", packet{port: 25, incoming: true}); got != want {
			t.Errorf("%s%q, want %q", rules, got, want)
		}
	}
}

func TestRunProgram(t *testing.T) {
	ctx := context.Background()
	if out, err := runProgram(ctx, "echo", "a  b", "$PATH"); err != nil || out != "a  b $PATH\n" {
		t.Errorf("%q, %v", out, err)
	}
	var missing missingProgram
	if _, err := runProgram(ctx, "no-such-program"); !errors.As(err, &missing) {
		t.Errorf("one that is missing: %v", err)
	}
	if _, err := runProgram(ctx, "ls", "/no/such/file"); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("one that fails: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 1)
	defer cancel()
	if _, err := runProgram(short, "sleep", "100"); err == nil {
		t.Error("one that does not end has ended well")
	}
}

// FuzzRules: whatever is printed is read to an end.
func FuzzRules(f *testing.F) {
	for _, name := range []string{"nft.json", "iptables-tproxy.txt", "ip6tables-tproxy.txt", "pf-openbsd.txt", "pf-freebsd.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", "doctor", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(_ *testing.T, text string) {
		nft, _ := parseNft(text)
		for _, rules := range []firewall{nft, parseIptables(text, false), parsePf(text)} {
			rules.tell("output", packet{port: 25, uid: new(1)})
			rules.tell("prerouting", packet{port: 25, six: true, incoming: true})
		}
	})
}
