//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// print has smtp-gatectl rules print something where the gateway is, into a file.
func (l *lab) print(g *gate, file string, args ...string) string {
	l.Helper()
	path := filepath.Join(g.dir, file)
	if err := l.gateway.enter(func() error {
		cmd := g.command(program("smtp-gatectl"), append([]string{"--socket", g.path("run/control"), "rules"}, args...)...)
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return fmt.Errorf("%s: %w: %s", cmd, err, exit.Stderr)
		}
		return os.WriteFile(path, out, 0o600)
	}); err != nil {
		l.Fatal(err)
	}
	return path
}

// on runs a program on the router.
func (l *lab) on(name string, args ...string) (out []byte, err error) {
	l.Helper()
	cmd := exec.Command(needProgram(l, name), args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	err = l.router.enter(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	return out, err
}

// TestRules: rules that are printed for a running gateway load, lead clients to it in both
// families, and are well in the eyes of doctor; what they are told to leave alone they do;
// what had begun before breaks off; when the gateway is down they let nothing pass; and what is printed to undo them does.
func TestRules(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, i := range []interception{
		{mode: "netfilter"},
		{mode: "netfilter", listen: "192.0.2.1:9199,[2001:db8:1::1]:9199"},
		{mode: "netfilter", listen: "0.0.0.0:9199"},
		{mode: "netfilter", listen: "[2001:db8:1::1]:9199"},
		{mode: "getsockname"},
		{mode: "tproxy\nso_mark 1", foreign: true},
		{mode: "tproxy", listen: "127.0.0.1:9199,[::1]:9199", foreign: true},
		{mode: "tproxy", listen: "[::]:9199", foreign: true},
		{mode: "tproxy,netfilter", foreign: true},
		{mode: "remote", listen: beside, remote: true},
		{mode: "remote", listen: "203.0.113.2:9199", remote: true},
	} {
		t.Run(strings.NewReplacer("\n", ", ", "/", " ").Replace(i.mode+" "+i.listen), func(t *testing.T) {
			t.Parallel()
			i.ruled(t)
		})
	}
}

func (i *interception) ruled(t *testing.T) {
	l := newLab(t)
	if i.remote {
		l.separate()
		l.startHelper()
	}
	g := i.gate(t, l)
	defer explain(t, g)
	var begun []*client
	for _, f := range labFamilies {
		c, err := l.dial(f.client, f.server)
		must(t, err)
		defer c.conn.Close()
		must(t, c.expect("220 msa.test"))
		begun = append(begun, c)
		if i.remote && !l.reaches(f, netip.AddrPortFrom(f.inner, 114), true) {
			t.Fatalf("%s: no helper", f.name)
		}
	}

	// What is not said does not load.
	unsaid := l.print(g, "unsaid.nft", "nft", "--mark", "9")
	if out, err := l.on("nft", "-c", "-f", unsaid); err == nil || !strings.Contains(string(out), "EDIT THIS LINE") {
		t.Errorf("rules without an interface: %v: %s", err, out)
	}
	options := []string{"--mark", "9", "--interface", "lan0,lan1", "--direct", "192.0.2.11"}
	file, routes := l.print(g, "rules.nft", append([]string{"nft"}, options...)...), l.print(g, "routes.sh", "routes", "--mark", "9")
	for _, args := range [][]string{{"nft", "-c", "-f", file}, {"sh", routes, "start"}, {"nft", "-f", file}, {"nft", "-f", file}} {
		if out, err := l.on(args[0], args[1:]...); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	for n, c := range begun {
		if err := errors.Join(c.send("NOOP"), c.expect("250 ")); err == nil {
			t.Errorf("%s: what had begun before goes on, unscanned", labFamilies[n].name)
		}
	}
	if i.remote {
		l.guarded()
	} else {
		must(t, l.gateway.enter(func() error {
			d := doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf"), "--only", "firewall"))
			want := map[string]string{"firewall-redirect": "green", "firewall-own": "green"}
			if i.foreign || i.mode == "getsockname" {
				want["firewall-routes"] = "green"
			}
			d.wants(t, 0, want)
			return nil
		}))
	}
	for n, f := range labFamilies {
		v := visit{T: t, interception: i, lab: l, gate: g, labFamily: f}
		if heard := i.listen == "" || strings.Contains(i.listen, "[") && n == 1 || !strings.HasPrefix(i.listen, "[") && n == 0; !heard {
			if c, err := l.dial(f.client, f.server); err == nil {
				c.conn.Close()
				t.Errorf("%s: where it does not listen clients get through", f.name)
			}
			continue
		}
		_, reply := v.send(f.client, virusMail, "550 ")
		want := map[bool]string{true: f.client.String(), false: f.outer.String()}[i.foreign]
		if i.remote {
			want = f.gateway.String()
		}
		if saw, _ := l.witness.last(); saw.Addr().String() != want {
			t.Errorf("%s: the server saw %s, not %s; the client %q", f.name, saw, want, reply)
		}
		// The neighbour is left alone, and so its virus is none of our business.
		if n == 0 {
			c, err := l.dial(f.neighbour, f.server)
			must(t, err)
			if reply, err := c.deliver([]byte(virusMail)); err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Errorf("who is left alone hears %q, %v", reply, err)
			}
			if saw, _ := l.witness.last(); saw.Addr() != f.neighbour {
				t.Errorf("the server saw %s, not who is left alone", saw)
			}
			c.conn.Close()
		}
	}
	// Nothing passes unscanned, until they are undone: then all is as it was.
	must(t, g.terminate())
	for _, f := range labFamilies[1:] { // of the other the neighbour is left alone
		if l.reachable(f, false) {
			t.Errorf("%s: mail passes unscanned", f.name)
		}
	}
	for _, args := range [][]string{{"nft", "delete", "table", "inet", "smtp_gated"}, {"sh", routes, "stop"}} {
		if out, err := l.on(args[0], args[1:]...); err != nil {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	if out, err := l.on("nft", "list", "ruleset"); err != nil || strings.Contains(string(out), "smtp_gated") {
		t.Errorf("left behind: %v: %s", err, out)
	}
	for _, f := range labFamilies {
		if !l.reachable(f, true) {
			t.Errorf("%s: no server when the rules are undone", f.name)
		}
	}
}
