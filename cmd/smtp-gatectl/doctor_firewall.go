// Probes of the firewall: that clients are led to us, and that we are not. The rules are
// read, never changed.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// mailPort is the one that mail servers listen on.
const mailPort = 25

// packages are what programs come with, on Debian.
var packages = map[string]string{"nft": "nftables", "iptables-save": "iptables", "ip6tables-save": "iptables", "ip": "iproute2"}

// printed is what a program prints of the rules, and how it is read.
type printed struct {
	program string
	args    []string
	read    func(string) (firewall, error)
}

func printers(system string) []printed {
	if system == "linux" {
		tables := func(six bool) func(string) (firewall, error) {
			return func(text string) (firewall, error) { return parseIptables(text, six), nil }
		}
		return []printed{
			{"nft", []string{"-j", "list", "ruleset"}, parseNft},
			{"iptables-save", nil, tables(false)},
			{"ip6tables-save", nil, tables(true)},
		}
	}
	pf := func(text string) (firewall, error) { return parsePf(text), nil }
	all := []printed{{"pfctl", []string{"-s", "rules"}, pf}}
	if system == "freebsd" {
		all = append(all, printed{"pfctl", []string{"-s", "nat"}, pf})
	}
	return all
}

// readFirewall reads all rules there are, once. none says why there are none to judge.
func (p *patient) readFirewall(ctx context.Context) (f firewall, none string) {
	p.firewall.Do(func() { p.rules, p.unread = p.listRules(ctx, runtime.GOOS) })
	return p.rules, p.unread
}

func (p *patient) listRules(ctx context.Context, system string) (f firewall, none string) {
	if !p.root {
		return nil, "only root may list rules"
	}
	var missing, failed []string
	for _, from := range printers(system) {
		if p.loads != nil && p.loads(from.program) {
			continue // there are no rules
		}
		text, err := p.run(ctx, from.program, from.args...)
		var rules firewall
		if err == nil {
			rules, err = from.read(text)
		}
		var no missingProgram
		switch {
		case errors.As(err, &no):
			word := string(no)
			if pack := packages[word]; pack != "" {
				word += " (package " + pack + ")"
			}
			missing = append(missing, word)
		case err != nil:
			failed = append(failed, err.Error())
		default:
			f = append(f, rules...)
		}
	}
	switch {
	case f == nil && len(failed) > 0:
		return nil, strings.Join(failed, "; ")
	case f == nil && len(missing) == len(printers(system)):
		return nil, "there is no program to list rules by: " + strings.Join(missing, ", ")
	}
	return f, ""
}

// ports are those of our listeners.
func (p *patient) ports() (all []uint16) {
	for _, l := range p.Listeners() {
		all = append(all, l.Port())
	}
	return all
}

// leads tells whether a rule leads a packet to one of our listeners.
func (p *patient) leads(r fwRule, from uint16) bool {
	port := r.to.Port()
	if port == 0 {
		port = from
	}
	if !slices.Contains(p.ports(), port) {
		return false
	}
	a := r.to.Addr()
	return !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || host.HasAddress(a)
}

func probeRedirect(ctx context.Context, p *patient) []result {
	const id = "firewall-redirect"
	switch {
	case p.Mode.Fixed():
		return []result{skip(id, "mode %s: clients call us by our address", p.Mode)}
	case p.Mode.Remote():
		return []result{skip(id, "mode %s: the rules are the router's", p.Mode)}
	case p.Mode == imsg.ModeIpfilter, runtime.GOOS == "freebsd" && p.Mode != imsg.ModePf:
		return []result{skip(id, "mode %s: rules of ipfilter and ipfw are not read: see ipnat -l and ipfw list", p.Mode)}
	}
	f, none := p.readFirewall(ctx)
	if none != "" {
		return []result{skip(id, "%s", none)}
	}
	return []result{p.judgeRedirect(id, f)}
}

func (p *patient) judgeRedirect(id string, f firewall) result {
	const example = "load the rules that smtp-gatectl rules prints, as by smtp-gatectl rules nft"
	var by, lacking []string
	var astray, strange string
	for _, six := range []bool{false, true} {
		if !slices.ContainsFunc(p.Listeners(), func(l netip.AddrPort) bool { return l.Addr().Is6() == six }) {
			continue
		}
		name := map[bool]string{false: "IPv4", true: "IPv6"}[six]
		found := false
		for _, h := range f.hits("prerouting", packet{six: six, port: mailPort, incoming: true}) {
			switch {
			case p.leads(h.fwRule, mailPort) && p.otherKind(h.fwRule):
				strange = h.shown
			case p.leads(h.fwRule, mailPort):
				found = true
				if !slices.Contains(by, h.shown) {
					by = append(by, h.shown)
				}
			case astray == "":
				astray = fmt.Sprintf("%s leads port %d to port %d", h.shown, mailPort, h.to.Port())
			}
		}
		if !found {
			lacking = append(lacking, name)
		}
	}
	switch {
	case strange != "":
		kind := map[bool]string{true: "REDIRECT or DNAT", false: "TPROXY"}[p.Mode != imsg.ModeNetfilter]
		return red(id, example+", in the place of these", "%s leads clients to us by %s, which are the rules of another mode: in mode %s whoever comes by them is refused", strange, kind, p.Mode)
	case len(by) == 0 && astray != "":
		return red(id, "let the rule and the option listen name the same port, as those that smtp-gatectl rules prints do", "%s, where we do not listen", astray)
	case len(by) == 0:
		return red(id, example, "no rule leads port %d to port %s: what clients send there is not scanned", mailPort, portList(p.ports()))
	case len(lacking) > 0:
		return warn(id, "load the rules that smtp-gatectl rules prints, or do not listen there", "we listen for %s, and no rule leads its port %d to us", lacking[0], mailPort)
	}
	return green(id, "%s", strings.Join(by, "; "))
}

// otherKind tells whether a rule of Linux leads clients here in a way by which the mode does
// not find where they were going.
func (p *patient) otherKind(r fwRule) bool {
	switch p.Mode {
	case imsg.ModeNetfilter:
		return r.tproxy
	case imsg.ModeTproxy, imsg.ModeGetsockname:
		return r.byNAT
	}
	return false
}

func portList(ports []uint16) string {
	var words []string
	for _, p := range slices.Compact(slices.Sorted(slices.Values(ports))) {
		words = append(words, strconv.Itoa(int(p)))
	}
	return strings.Join(words, " or ")
}

func probeOwn(ctx context.Context, p *patient) []result {
	const id = "firewall-own"
	if runtime.GOOS == "freebsd" && (p.Mode == imsg.ModeIpfilter || p.Mode == imsg.ModeGetsockname) {
		return []result{skip(id, "rules of ipfilter and ipfw are not read")}
	}
	f, none := p.readFirewall(ctx)
	if none != "" {
		return []result{skip(id, "%s", none)}
	}
	return []result{p.judgeOwn(ctx, id, f)}
}

// own are the first packets of connections that we make.
func (p *patient) own() (all []packet) {
	o := packet{port: mailPort, mark: p.SoMark, marked: true}
	s := p.site()
	i := slices.IndexFunc(s.Rooms, func(r site.Room) bool { return r.Root == site.Spool })
	if v, err := p.view(s.Rooms[i]); err == nil {
		uid := v.Spec.Identity.UID
		switch {
		case (socket.Outgoing{Mode: p.Mode, Mark: p.SoMark}).Needed() && p.rooted:
			uid = 0 // root made the socket
		case uid < 0:
			uid = p.rootless()
		}
		o.uid = &uid
	}
	if p.Mode.Fixed() {
		for _, server := range p.MailServers() {
			o.to, o.six, o.port = server.Addr(), server.Addr().Is6(), server.Port()
			all = append(all, o)
		}
		return all
	}
	six := o
	six.six = true
	return []packet{o, six}
}

func (p *patient) judgeOwn(ctx context.Context, id string, f firewall) result {
	var blind error // why we do not know where a mark leads
	remedy := "put an exemption before it: by the mark of {so_mark}"
	if !p.Mode.Transparent() && p.SoMark == 0 {
		remedy += ", or by the user of the session room"
	}
	for _, least := range []likely{yes, maybe} {
		for _, o := range p.own() {
			hits, by := f.follow("output", o)
			for _, h := range hits {
				switch {
				case h.sure != least || !p.leads(h.fwRule, o.port):
				case least == yes:
					return red(id, remedy, "%s leads our own connections to port %d back to us", h.shown, o.port)
				default:
					return warn(id, remedy+", unless its other conditions keep them out", "%s may lead our own connections to port %d back to us", h.shown, o.port)
				}
			}
			for _, r := range by {
				if r.sure != least || r.mark == 0 || o.local() {
					continue
				}
				const away = "let no rule of policy routing (ip rule) bring that mark to this machine, or have our own connections bear another one"
				switch table, err := p.broughtHere(ctx, o.six, r.mark); {
				case err != nil:
					blind = err
				case table == "":
				case least == yes:
					return red(id, away, "our own connections bear mark %#x, and table %s routes it to this machine", r.mark, table)
				default:
					return warn(id, away+", unless other conditions keep them out", "our own connections may bear mark %#x, and table %s routes it to this machine", r.mark, table)
				}
			}
		}
	}
	if blind != nil {
		return skip(id, "no rule leads our own connections to us, but where their mark is routed is not known: %v", blind)
	}
	return green(id, "no rule leads our own connections to us")
}

// local tells whether a packet is for this machine, wherever it comes from.
func (o *packet) local() bool {
	return o.to.IsValid() && (o.to.IsLoopback() || host.HasAddress(o.to))
}
