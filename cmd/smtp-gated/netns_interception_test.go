//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
)

// interception is one way in which clients' connections get to the gateway.
type interception struct {
	mode    string // what the configuration says of it
	rules   string // how the rules are loaded, joined by ;
	listen  string // in place of everywhere
	foreign bool   // the server sees the client's address
	private bool   // clients have private addresses
	ported  bool   // and the client's port
	fixed   bool   // the client calls the gateway
	chosen  bool   // the server sees the router's second address
	remote  bool   // the gateway is not on the router, but asks the helper there
}

const (
	everywhere = "0.0.0.0:9199,[::]:9199"
	beside     = "203.0.113.2:9199,[2001:db8:3::2]:9199"
)

// interceptions are all of them, with the very rules of etc/firewall.
var interceptions = []interception{
	{mode: "netfilter", rules: "nft -f nftables-redirect.nft"},
	{mode: "netfilter", rules: "nft -f nftables-dnat.nft", listen: "192.0.2.1:9199,[2001:db8:1::1]:9199"},
	{mode: "netfilter", rules: "iptables.sh redirect start"},
	{mode: "netfilter", rules: "iptables.sh dnat start", listen: "192.0.2.1:9199,[2001:db8:1::1]:9199"},
	{mode: "netfilter\nso_mark 21319", rules: "nft -f nftables-redirect.nft; nft -f nftables-mark.nft"},
	{mode: "getsockname", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft"},
	{mode: "getsockname\nso_mark 21319", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft; nft -f nftables-mark.nft"},
	{mode: "getsockname\noutgoing_addr 198.51.100.2,2001:db8:2::2\nso_mark 1234", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft", chosen: true},
	{mode: "netfilter\noutgoing_addr 2001:db8:2::2,198.51.100.2", rules: "nft -f nftables-redirect.nft", chosen: true},
	{mode: "fixed", fixed: true},
	{mode: "tproxy", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft", foreign: true},
	{mode: "tproxy", rules: "tproxy-routes.sh start; iptables.sh tproxy start", foreign: true},
	{mode: "tproxy\nso_mark 21319", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft; nft -f nftables-mark.nft", foreign: true},
	{mode: "tproxy\ntproxy_keep_port yes", rules: "tproxy-routes.sh start; nft -f nftables-tproxy.nft", foreign: true, ported: true},
	{mode: "tproxy,netfilter", rules: "tproxy-routes.sh start; nft -f nftables-tproxy-netfilter.nft", foreign: true},
	{mode: "tproxy,netfilter", rules: "tproxy-routes.sh start; nft -f nftables-tproxy-netfilter.nft", private: true},
	{mode: "tproxy,netfilter", rules: "tproxy-routes.sh start; iptables.sh combined start", foreign: true},
	{mode: "tproxy,netfilter", rules: "tproxy-routes.sh start; iptables.sh combined start", private: true},
	{mode: "remote", rules: "nft -f nftables-remote.nft", listen: beside, remote: true},
	{mode: "remote", rules: "iptables.sh remote start", listen: beside, remote: true, private: true},
	{mode: "remote-udp\nremote_udp_secret 4711", rules: "nft -f nftables-remote.nft", listen: beside, remote: true},
	{mode: "remote-udp\nremote_udp_secret 4711", rules: "nft -f nftables-remote.nft", listen: beside, remote: true, private: true},
}

func (i *interception) String() string {
	text := strings.ReplaceAll(i.mode, "\n", ", ")
	if i.private {
		text += ", private client"
	}
	if i.rules != "" {
		text += " behind " + i.rules
	}
	return text
}

// TestInterception has clients call a server through a router with the gateway,
// in every mode that Linux has, with each set of rules. The table it logs, mode by
// family, has an address only where the whole story went well: a clean mail
// arrived, EICAR was stopped, its sender locked out, and the header named him.
func TestInterception(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	table := make([][]string, len(interceptions)) // what the server saw, by family
	t.Run("modes", func(t *testing.T) {
		for n, i := range interceptions {
			table[n] = make([]string, len(labFamilies))
			t.Run(strings.ReplaceAll(i.String(), "/", " "), func(t *testing.T) {
				t.Parallel()
				i.run(t, table[n])
			})
		}
	})
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "mode and rules\tover IPv4 the server saw\tover IPv6 the server saw")
	for n := range interceptions {
		if strings.Join(table[n], "") != "" { // it was among those to run
			fmt.Fprintf(w, "%s\t%s\n", &interceptions[n], strings.Join(table[n], "\t"))
		}
	}
	w.Flush()
	t.Logf("\n%s", text.String())
}

func (i *interception) run(t *testing.T, seen []string) {
	if strings.Contains(i.rules, "iptables") {
		needProgram(t, "iptables")
	}
	l := newLab(t)
	if i.remote {
		l.separate()
	}
	for line := range strings.SplitSeq(i.rules, ";") {
		if line != "" {
			l.rules(line)
		}
	}
	var stopHelper func()
	if i.remote {
		stopHelper = l.startHelper()
		l.guarded()
	}
	g := i.gate(t, l)
	for n, f := range labFamilies {
		t.Run(f.name, func(t *testing.T) {
			defer explain(t, g)
			v := visit{T: t, interception: i, lab: l, gate: g, labFamily: f}
			if i.fixed && n == 1 {
				if err := g.configure("mode fixed\nlisten "+everywhere+"\nfixed_server "+f.server.Addr().String()+"\nclient_prefix_ipv6 128\n", false); err != nil {
					t.Fatal(err)
				}
				if err := g.reload(); err != nil {
					t.Fatal(err)
				}
			}
			seen[n] = "failed"
			if saw := v.tell(); !t.Failed() {
				seen[n] = saw
			}
		})
	}
	if i.remote {
		t.Run("when the helper is down", func(t *testing.T) {
			defer explain(t, g)
			if err := g.configure(i.own()+"timeout_lookup 1\nremote_udp_retries 1\n", false); err != nil {
				t.Fatal(err)
			}
			if err := g.reload(); err != nil {
				t.Fatal(err)
			}
			stopHelper()
			for _, f := range labFamilies {
				v := visit{T: t, interception: i, lab: l, gate: g, labFamily: f}
				v.takenOver(v.neighbour, v.server)
			}
		})
	}
	t.Run("when the gateway is down", func(t *testing.T) {
		if err := g.terminate(); err != nil {
			t.Fatal(err)
		}
		for _, f := range labFamilies {
			if l.reachable(f, i.fixed) != i.fixed {
				t.Errorf("%s: mail can pass unscanned: %v", f.name, !i.fixed)
			}
		}
	})
}

// guarded: clients do not reach the helper.
func (l *lab) guarded() {
	l.Helper()
	for _, f := range labFamilies {
		if l.reaches(f, netip.AddrPortFrom(f.inner, 114), false) {
			l.Errorf("%s: a client reaches the helper", f.name)
		}
	}
}

// gate starts the gateway.
func (i *interception) gate(t *testing.T, l *lab) *gate {
	g, err := newGate(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	g.server = 25
	if err := g.configure(i.own(), false); err != nil {
		t.Fatal(err)
	}
	if err := l.gateway.enter(func() error { return g.start() }); err != nil {
		t.Fatal(err)
	}
	return g
}

// own is the gateway's configuration.
func (i *interception) own() string {
	listen := i.listen
	if listen == "" {
		listen = everywhere
	}
	return "mode " + i.mode + "\nlisten " + listen + "\nfixed_server " + labFamilies[0].server.Addr().String() + "\nclient_prefix_ipv6 128\n"
}

// explain shows the log of a test that failed.
func explain(t *testing.T, g *gate) {
	if t.Failed() {
		t.Logf("log:\n%s", g.log())
	}
}

// visit is a client's day in one family.
type visit struct {
	*testing.T
	*interception
	lab  *lab
	gate *gate
	labFamily
}

// tell plays the story and says whom the server saw.
func (v *visit) tell() string {
	before, err := v.lab.box()
	if err != nil {
		v.Fatal(err)
	}
	from := v.client
	if v.interception.private {
		from = v.labFamily.private
	}

	// A clean mail arrives.
	port, _ := v.send(from, cleanMail, "250 ")
	mails, err := v.lab.box()
	if err != nil {
		v.Fatal(err)
	}
	if len(mails) != len(before)+1 {
		v.Fatalf("%d mails in the mailbox, %d before", len(mails), len(before))
	}
	header, text := split(mails[len(mails)-1])
	if text != string(wire([]byte(cleanMail))) {
		v.Errorf("mailbox has %q", text)
	}
	// The header names the client, and the server sees whom it should.
	hop, ident, lock := from, "-empty", from.String()
	if v.remote {
		hop, ident, port = v.side, " "+v.ident(from), `\d+`
		lock = v.side.String() + "-" + strings.ReplaceAll(v.ident(from), ".", "_")
	}
	if !matches(`^X-Nat-Received: from \[(IPv6:)?`+hop.String()+`\]:`+port+` \[ident`+ident+`\]`, header) {
		v.Errorf("header %q does not name [%s]:%s [ident%s]", header, hop, port, ident)
	}
	saw, _ := v.lab.witness.last()
	want := v.outer
	switch {
	case v.foreign:
		want = from
	case v.chosen:
		want = v.outer.Next()
	case v.remote:
		want = v.labFamily.gateway
	}
	if saw.Addr() != want {
		v.Errorf("the server saw %s, not %s", saw, want)
	}
	if v.ported && fmt.Sprint(saw.Port()) != port {
		v.Errorf("the server saw %s, not port %s", saw, port)
	}

	// Another client calls the gateway itself: the helper says that there is no such
	// place, and the rules of the other modes let nobody do that.
	if v.remote {
		v.takenOver(v.neighbour, netip.AddrPortFrom(v.labFamily.gateway, 9199))
	} else if !v.fixed && v.lab.reaches(v.labFamily, netip.AddrPortFrom(v.inner, 9199), false) {
		v.Error("strangers reach the gateway's own port")
	}

	// A virus is stopped, and its sender locked.
	v.send(from, virusMail, "550 ")
	if mails, err = v.lab.box(); err != nil || len(mails) != len(before)+1 {
		v.Errorf("%d mails in the mailbox after the virus, %v", len(mails), err)
	}
	cause, err := os.ReadFile(filepath.Join(v.gate.dir, "lock", lock))
	if err != nil || !strings.Contains(string(cause), "Eicar") {
		v.Errorf("lock %q, %v", cause, err)
	}
	_, calls := v.lab.witness.last()
	v.refused(from, v.target(), "locked")
	if _, now := v.lab.witness.last(); now != calls {
		v.Error("the server was called for a locked client")
	}
	// Nobody else is.
	v.send(v.neighbour, cleanMail, "250 ")

	all, err := v.gate.whole(0)
	if err != nil {
		v.Fatal(err)
	}
	// No room but the parent holds a capability.
	for _, m := range all {
		if m.Room == "parent" {
			continue
		}
		r, err := v.gate.look(m)
		if err != nil {
			v.Fatal(err)
		}
		for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapAmb"} {
			if err := r.want(set, "0000000000000000"); err != nil {
				v.Errorf("%s: %v", m.Room, err)
			}
		}
	}
	return saw.String()
}

// target is whom a client calls.
func (v *visit) target() netip.AddrPort {
	if v.fixed {
		return netip.AddrPortFrom(v.inner, 9199)
	}
	return v.server
}

// send sends a mail and returns the port it came from.
func (v *visit) send(from netip.Addr, mail, want string) (port, reply string) {
	v.Helper()
	c, err := v.lab.dial(from, v.target())
	if err != nil {
		v.Fatal(err)
	}
	defer c.conn.Close()
	reply, err = c.deliver([]byte(mail))
	if err != nil {
		v.Fatal(err)
	}
	if !strings.HasPrefix(reply, want) {
		v.Fatalf("got reply %q, want %s", reply, want)
	}
	if err := c.quit(); err != nil {
		v.Fatal(err)
	}
	return fmt.Sprint(netip.MustParseAddrPort(c.conn.LocalAddr().String()).Port()), reply
}

// refused is a connection that gets a line in place of a greeting.
func (v *visit) refused(from netip.Addr, to netip.AddrPort, why string) {
	v.Helper()
	c, err := v.lab.dial(from, to)
	if err != nil {
		v.Fatal(err)
	}
	defer c.conn.Close()
	if err := c.expect("554 gate.test .*" + why); err != nil {
		v.Error(err)
	}
	if err := c.expect("EOF"); err != nil {
		v.Error(err)
	}
}

// takenOver is a session whose target is not found.
func (v *visit) takenOver(from netip.Addr, to netip.AddrPort) {
	v.Helper()
	c, err := v.lab.dial(from, to)
	if err != nil {
		v.Fatal(err)
	}
	defer c.conn.Close()
	err = c.expect("220 gate.test SMTP")
	if err == nil {
		err = c.send("MAIL FROM:<alice@client.test>")
	}
	if err == nil {
		err = c.expect("451 gate.test ")
	}
	if err == nil {
		err = c.quit()
	}
	if err != nil {
		v.Error(err)
	}
	if err := v.gate.inLog(`LOOKUP:FAILED src=` + v.side.String()); err != nil {
		v.Error(err)
	}
}
