// Which rules go with a configuration: the example of etc/firewall for its mode, with where
// it listens. What neither the configuration nor the operator says is not guessed: its line
// says so, and does not load.

package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"

	examples "github.com/smtp-gated/smtp-gated/etc/firewall"
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// ruleset is what is printed.
type ruleset struct {
	shebang     string
	head        []string // paragraphs of a comment
	body        string
	mayBeAbsent bool // an interface of this machine that is named
}

// editMark begins what an operator must replace. No program takes it for a value.
const editMark = "EDIT THIS LINE: "

// edit is what stands in the place of a value that nobody knows.
func edit(what string) string { return editMark + what }

// gates are where the gateway listens: in a family for which it does not, the address is
// invalid.
type gates struct {
	four, six netip.Addr
	port      uint16
}

// gatesOf are the first listeners of both families that rules can lead to. why says what
// keeps them from leading to others.
func gatesOf(c *config.Config, can func(netip.Addr) bool, why string) (g gates, err error) {
	for i, l := range c.Listeners() {
		if c.BeginsWithTLS(i) {
			continue // no rule leads there who has not begun so
		}
		a := l.Addr()
		mine := &g.four
		if a.Is6() {
			mine = &g.six
		}
		switch {
		case l.Port() == 0:
			return g, fmt.Errorf("%w: it listens on a port that the system picks, which no rule can name: set listen.port, or those of listen.on", errConfig)
		case mine.IsValid() || !can(a) || a.Zone() != "":
		case g.port != 0 && g.port != l.Port():
			return g, fmt.Errorf("%w: it listens for IPv4 and IPv6 on different ports, %d and %d: the rules lead to one", errConfig, g.port, l.Port())
		default:
			*mine, g.port = a, l.Port()
		}
	}
	if g.port == 0 {
		return g, fmt.Errorf("%w: it listens where no rule can lead to: %s", errConfig, why)
	}
	return g, nil
}

func (g *gates) all() (all []netip.Addr) {
	for _, a := range []netip.Addr{g.four, g.six} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// anywhere tells of how many families the listener is at all addresses.
func (g *gates) anywhere() (n int) {
	for _, a := range g.all() {
		if a.IsUnspecified() {
			n++
		}
	}
	return n
}

// address is one as a definition has it: what is anywhere is known to nobody.
func address(a netip.Addr, what string) string {
	switch {
	case !a.IsValid():
		return ""
	case a.IsUnspecified():
		return edit(what)
	}
	return a.String()
}

func list(separator string, words []string) string {
	if len(words) == 0 {
		return "{ }"
	}
	return "{ " + strings.Join(words, separator) + " }"
}

// mail are the ports of mail servers, as words.
func (p *place) mail() (words []string) {
	for _, port := range p.ports {
		words = append(words, strconv.FormatUint(uint64(port), 10))
	}
	return words
}

// exempt are the networks left alone, those of one family; 0 is both.
func (p *place) exempt(family int) (words []string) {
	for _, n := range p.direct {
		if family == 0 || n.Addr().Is4() == (family == 4) {
			if n.IsSingleIP() {
				words = append(words, n.Addr().String())
			} else {
				words = append(words, n.String())
			}
		}
	}
	return words
}

// known is what there is to say of where clients come from, and who is left alone.
func (p *place) known(g gates, remote bool) (head []string) {
	from := "the interface of the clients"
	if len(p.interfaces) > 0 {
		from = strings.Join(p.interfaces, " and ")
	}
	touched := fmt.Sprintf("They touch nothing but TCP to port %s that comes in from %s", strings.Join(p.mail(), " or "), from)
	if remote {
		touched += ",\nconnections to the gateway, and questions to the helper"
	} else {
		touched += ",\nand connections to the gateway's own port"
	}
	head = append(head, touched+".")
	if len(p.interfaces) == 0 {
		head = append(head, "Which interface that is nobody has said: name it by --interface, or edit the line that\nasks for it. The rules do not load before.")
	}
	if len(p.direct) == 0 {
		head = append(head, "No mail server is left alone. If one of yours is behind that interface, and may send\nand be called past the gateway, name it by --direct.")
	}
	for name, a := range map[string]netip.Addr{"IPv4": g.four, "IPv6": g.six} {
		if !a.IsValid() {
			head = append(head, fmt.Sprintf("The gateway does not listen for %[1]s: mail by %[1]s is refused.", name))
		}
	}
	if slices.Contains(p.ports, 465) {
		head = append(head, "Port 465 is TLS from its first octet: it passes through the gateway unread, with limits,\nlocks and quotas, but without a scan.")
	}
	if remote {
		return append(head, "While the gateway is down clients get no connection, and nothing passes unscanned. To let\ntheir mail pass meanwhile, undo.")
	}
	return append(head, "While the daemon is down clients are refused, and nothing passes unscanned. To let their\nmail pass meanwhile, undo.")
}

// nftCommands are how rules of nft are applied, and undone.
func nftCommands(doctor, routes bool) string {
	var b strings.Builder
	b.WriteString("    nft -c -f FILE                         are they right?\n")
	if routes {
		b.WriteString("    sh ROUTES start                        routes, made by smtp-gatectl rules routes >ROUTES\n")
	}
	b.WriteString("    nft -f FILE                            load them, in the place of what this loaded before\n")
	if doctor {
		b.WriteString("    smtp-gatectl doctor --only firewall    do they lead clients to the gateway?\n")
	}
	b.WriteString("    nft delete table inet smtp_gated       undo; sessions may break off")
	if routes {
		b.WriteString("\n    sh ROUTES stop")
	}
	return b.String()
}

const nftBoot = "At boot an include \"FILE\" at the end of /etc/nftables.conf loads them: whatever flushes\nall rules takes these away, too, and mail passes unscanned."

// nftRules are those of nftables.
func nftRules(c *config.Config, p *place) (*ruleset, error) {
	if c.Mode.Fixed() {
		return none(c, "nft add rule inet filter input tcp dport { %s } accept"), nil
	}
	example, can, why := "", func(netip.Addr) bool { return true }, ""
	outside := func(a netip.Addr) bool { return !a.IsLoopback() }
	switch c.Mode {
	case imsg.ModeNetfilter, imsg.ModeTproxyNetfilter:
		can, why = outside, "its addresses are of loopback alone; take 0.0.0.0 and [::]"
	case imsg.ModeTproxy, imsg.ModeGetsockname:
		example = "nftables-tproxy.nft"
	case imsg.ModeRemote, imsg.ModeRemoteUDP:
		example, can, why = "nftables-remote.nft", outside, "its addresses are of loopback alone, and the router is another machine"
	default:
		return nil, unsuitable(c.Mode, "nftables", "see "+elsewhere(c.Mode))
	}
	g, err := gatesOf(c, can, why)
	if err != nil {
		return nil, err
	}
	v := map[string]string{
		"mail": list(", ", p.mail()), "gate": strconv.Itoa(int(g.port)), "here": fmt.Sprintf("%#x", p.mark), "helper": strconv.Itoa(int(c.RemotePort)),
		"lan": edit("an interface"),
	}
	if len(p.interfaces) > 0 {
		v["lan"] = list(", ", quoted(p.interfaces))
	}
	for family, name := range map[int]string{4: "direct4", 6: "direct6"} {
		if v[name] = ""; len(p.exempt(family)) > 0 {
			v[name] = list(", ", p.exempt(family))
		}
	}
	v["gate4"], v["gate6"] = address(g.four, "the gateway's address"), address(g.six, "the gateway's address")
	r := &ruleset{shebang: "/usr/sbin/nft -f", mayBeAbsent: runtime.GOOS == "linux" && !c.Mode.Remote()}
	routed := false
	switch anywhere, families := g.anywhere(), len(g.all()); {
	case c.Mode == imsg.ModeNetfilter && anywhere == families:
		example = "nftables-redirect.nft"
	case c.Mode == imsg.ModeNetfilter && anywhere == 0:
		example = "nftables-dnat.nft"
	case c.Mode == imsg.ModeNetfilter:
		return nil, fmt.Errorf("%w: it listens at all addresses of one family and at one of the other: the rules need all of both, or one of each", errConfig)
	case c.Mode == imsg.ModeTproxyNetfilter && anywhere < families:
		return nil, fmt.Errorf("%w: mode %s needs listeners at all addresses, 0.0.0.0 and [::]", errConfig, c.Mode)
	case c.Mode == imsg.ModeTproxyNetfilter:
		example, routed = "nftables-tproxy-netfilter.nft", true
	case !c.Mode.Remote():
		routed = true
		for name, a := range map[string]netip.Addr{"gate4": g.four, "gate6": g.six} {
			if a.IsValid() {
				v[name] = a.String()
			}
		}
	}
	if routed && c.SoMark == p.mark {
		return nil, fmt.Errorf("%w: mark %#x is the one of target.mark: our own connections would come back; name another by --mark", errUsage, p.mark)
	}
	if c.Mode.Remote() {
		r.head = append(r.head, forRouter(c, g))
	}
	r.head = append(r.head, nftCommands(!c.Mode.Remote(), routed), nftBoot)
	if routed {
		r.head = append(r.head, "The routes are needed at each boot, too, before the rules.")
	}
	r.head = append(r.head, p.known(g, c.Mode.Remote())...)
	r.head = append(r.head, "Where chains of your own drop what they do not know, they must accept\n"+nftOpen(c, g, p, routed))
	if c.KeepPort && routed {
		r.head = append(r.head, "target.keep_port is on: see what is said of it below.")
	}
	r.body, err = examples.Fill(example, v)
	return r, err
}

// nftOpen are the rules that let what is led to the gateway pass others.
func nftOpen(c *config.Config, g gates, p *place, routed bool) string {
	from := ""
	if len(p.interfaces) > 0 {
		from = "iifname " + list(", ", quoted(p.interfaces)) + " "
	}
	var b strings.Builder
	if c.Mode.Remote() {
		for _, a := range g.all() {
			ip := "ip"
			if a.Is6() {
				ip = "ip6"
			}
			where := a.String()
			if a.IsUnspecified() {
				where = "ADDRESS"
			}
			fmt.Fprintf(&b, "\n    %s%s daddr %s tcp dport %d accept    in a chain of the forward hook", from, ip, where, g.port)
			fmt.Fprintf(&b, "\n    %s saddr %s meta l4proto { tcp, udp } th dport %d accept    in one of the input hook", ip, where, c.RemotePort)
		}
		return b.String()
	}
	if c.Mode == imsg.ModeNetfilter || c.Mode == imsg.ModeTproxyNetfilter {
		fmt.Fprintf(&b, "\n    %stcp dport %d accept    in a chain of the input hook", from, g.port)
	}
	if routed {
		fmt.Fprintf(&b, "\n    meta mark %#x accept    in a chain of the input hook", p.mark)
	}
	return b.String()
}

func quoted(words []string) (all []string) {
	for _, w := range words {
		all = append(all, strconv.Quote(w))
	}
	return all
}

// elsewhere is where there are rules for a mode.
func elsewhere(m imsg.Mode) string {
	const folder = "share/examples/smtp-gated/firewall/"
	switch m {
	case imsg.ModeIpfw:
		return folder + "ipfw.sh"
	case imsg.ModeIpfilter:
		return folder + "ipnat.conf"
	case imsg.ModePf:
		return "smtp-gatectl rules pf"
	}
	return "smtp-gatectl rules nft"
}

// quote is a value of pf.conf; one that is empty stays so.
func quote(value string) string {
	if value == "" {
		return ""
	}
	return `"` + value + `"`
}

// pfCommands are how rules of pf are applied, and undone.
func pfCommands(doctor bool) string {
	var b strings.Builder
	b.WriteString("    include \"FILE\"\n\n")
	b.WriteString("    pfctl -nf /etc/pf.conf                 are they right?\n")
	b.WriteString("    pfctl -f /etc/pf.conf                  load them\n")
	if doctor {
		b.WriteString("    smtp-gatectl doctor --only firewall    do they lead clients to the gateway?\n")
	}
	b.WriteString("\nTo undo it take the include away, and load pf.conf again. Sessions go on.")
	return b.String()
}

// forRouter says where rules of the remote modes go.
func forRouter(c *config.Config, g gates) string {
	var proxies []string
	for _, a := range g.all() {
		if !a.IsUnspecified() {
			proxies = append(proxies, a.String())
		}
	}
	helper := "    smtp-gate-helper -a " + or(strings.Join(proxies, ","), "ADDRESS")
	if c.RemotePort != 114 {
		helper += " -p " + strconv.Itoa(int(c.RemotePort))
	}
	if c.Mode == imsg.ModeRemoteUDP {
		helper += " -s FILE-with-the-secret"
	}
	return "They are for the router, and not for this machine. There, beside them:\n\n" + helper
}

// routeScript is the script that makes the routes of TPROXY.
func routeScript(c *config.Config, p *place) (*ruleset, error) {
	switch {
	case !c.Mode.Transparent() && c.Mode != imsg.ModeGetsockname:
		return &ruleset{shebang: "/bin/sh", head: []string{"This mode needs no routes."}}, nil
	case c.SoMark == p.mark:
		return nil, fmt.Errorf("%w: mark %#x is the one of target.mark: our own connections would come back; name another by --mark", errUsage, p.mark)
	}
	body, err := examples.Fill("tproxy-routes.sh", map[string]string{"mark": fmt.Sprintf("%#x", p.mark), "table": "100", "priority": "900"})
	return &ruleset{
		shebang: "/bin/sh",
		head: []string{
			"    sh FILE start\n    sh FILE stop                           undo",
			"Packets with this mark are for a socket of this machine, whatever their address: those of\nsmtp-gatectl rules nft. It is needed at each boot, before these are loaded. Other rules\nfor policy routing must come later than number 900, or leave marked packets alone.",
		},
		body: body,
	}, err
}

const (
	openPf    = "pass in quick proto tcp to any port { %s }"
	untriedPf = "Nobody has run such rules yet: try them before you trust them."
)

// pfRules are those of pf.
func pfRules(c *config.Config, p *place) (*ruleset, error) {
	if p.system != "openbsd" && p.system != "freebsd" {
		return nil, fmt.Errorf("%w: %s has no pf: say for which one by --system openbsd or --system freebsd", errUsage, p.system)
	}
	if c.Mode.Fixed() {
		return none(c, openPf), nil
	}
	open := p.system == "openbsd"
	separator := map[bool]string{true: " ", false: ", "}[open]
	var example, why string
	var can func(netip.Addr) bool
	named := func(a netip.Addr) bool { return !a.IsUnspecified() }
	switch {
	case c.Mode == imsg.ModeGetsockname && open:
		example, can, why = "pf-openbsd.conf", named, "divert-to finds no listener at 0.0.0.0 or [::]; take 127.0.0.1 and [::1]"
	case c.Mode == imsg.ModeTproxy && open:
		example, can, why = "pf-openbsd-tproxy.conf", named, "divert-to finds no listener at 0.0.0.0 or [::]; take 127.0.0.1 and [::1]"
	case c.Mode == imsg.ModePf && open:
		return nil, unsuitable(c.Mode, "OpenBSD", "its pf is not found to know what it is asked for; say mode getsockname, for divert-to")
	case c.Mode == imsg.ModePf:
		example = "pf-freebsd.conf"
		can, why = func(a netip.Addr) bool { return a != netip.IPv6Loopback() }, "IPv6 cannot be redirected to ::1; take an address of the clients' interface"
	case c.Mode.Remote() && open:
		return nil, unsuitable(c.Mode, "OpenBSD", "its pf cannot answer the helper; have the gateway on the router, in mode getsockname")
	case c.Mode.Remote():
		example = "pf-remote.conf"
		can, why = func(a netip.Addr) bool { return !a.IsLoopback() }, "its addresses are of loopback alone, and the router is another machine"
	case c.Mode == imsg.ModeGetsockname:
		return nil, unsuitable(c.Mode, "FreeBSD's pf", "say mode pf")
	default:
		return nil, unsuitable(c.Mode, "pf", "see "+elsewhere(c.Mode))
	}
	g, err := gatesOf(c, can, why)
	if err != nil {
		return nil, err
	}
	user := c.User(imsg.Session)
	if (socket.Outgoing{Mode: c.Mode, Mark: c.SoMark}).Needed() {
		user = "root" // who made the socket
	}
	v := map[string]string{
		"mail": quote(list(separator, p.mail())), "gate": quote(strconv.Itoa(int(g.port))), "user": quote(user),
		"helper": quote(strconv.Itoa(int(c.RemotePort))), "direct": quote(list(separator, p.exempt(0))),
		"lan": quote(edit("an interface")), "dmz": quote(edit("the interface towards the gateway")),
	}
	if len(p.interfaces) == 1 {
		v["lan"] = quote(p.interfaces[0])
	} else if len(p.interfaces) > 1 {
		v["lan"] = quote(list(separator, p.interfaces))
	}
	if c.Mode == imsg.ModePf && g.four.IsUnspecified() {
		g.four = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	what := "the gateway's address"
	if c.Mode == imsg.ModePf {
		what = "an address of the clients' interface"
	}
	v["gate4"], v["gate6"] = quote(address(g.four, what)), quote(address(g.six, what))
	order := "before your own rules for mail"
	if !open {
		order = "behind your own translations and before your own filter rules"
	}
	r := &ruleset{mayBeAbsent: p.system == runtime.GOOS && !c.Mode.Remote()}
	if c.Mode.Remote() {
		r.head = append(r.head, forRouter(c, g))
	}
	r.head = append(
		r.head,
		"Have /etc/pf.conf include them, "+order+":",
		pfCommands(!c.Mode.Remote()),
	)
	r.head = append(r.head, p.known(g, c.Mode.Remote())...)
	r.head = append(r.head, untriedPf)
	r.body, err = examples.Fill(example, v)
	return r, err
}
