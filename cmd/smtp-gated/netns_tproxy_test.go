//go:build linux

package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// tproxyLab has the rules for TPROXY, and a gateway that may not use them yet.
func tproxyLab(t *testing.T, own string) (*lab, *gate) {
	l := newLab(t)
	l.rules("tproxy-routes.sh start")
	l.rules("nft -f nftables-tproxy.nft")
	i := interception{mode: own}
	return l, i.gate(t, l)
}

// TestTproxyByReload: a listener that is open already can become transparent, and
// each generation has sockets of its own kind.
func TestTproxyByReload(t *testing.T) {
	t.Parallel()
	l, g := tproxyLab(t, "fixed\nso_mark 1") // so that it keeps what tproxy needs
	defer explain(t, g)
	l.rules("nft flush chain inet smtp_gated input") // in the fixed mode clients call its port
	f := labFamilies[0]
	if l.reachable(f, false) {
		t.Error("mail passes unscanned")
	}
	for _, mode := range []string{"tproxy", "fixed\nso_mark 21319", "tproxy\nso_mark 21319"} {
		own := "mode " + mode + "\nlisten " + everywhere + "\nfixed_server " + f.server.Addr().String() + "\n"
		if err := g.configure(own, false); err != nil {
			t.Fatal(err)
		}
		if err := g.reload(); err != nil {
			t.Fatal(err)
		}
		i := interception{mode: mode, foreign: mode[0] == 't', fixed: mode[0] == 'f'}
		v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
		v.send(f.client, cleanMail, "250 ")
		want := map[bool]netip.Addr{true: f.client, false: f.outer}[i.foreign]
		if saw, _ := l.witness.last(); saw.Addr() != want {
			t.Errorf("mode %s: the server saw %s", mode, saw)
		}
	}
}

// TestTproxyCrowd: many clients at once all get a connection under their own
// address; a worker that was replaced gets sockets like the first.
func TestTproxyCrowd(t *testing.T) {
	t.Parallel()
	l, g := tproxyLab(t, "tproxy\nmax_per_host 0\nmax_connections 500")
	defer explain(t, g)
	for range 2 {
		var all sync.WaitGroup
		for n := range 100 {
			f := labFamilies[n%2]
			from := []netip.Addr{f.client, f.neighbour}[n/2%2]
			all.Go(func() {
				c, err := l.dial(from, f.server)
				if err == nil {
					defer c.conn.Close()
					err = errors.Join(c.expect("220 msa.test"), c.quit())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := g.kill("session"); err != nil {
			t.Fatal(err)
		}
	}
	l.witness.mu.Lock()
	defer l.witness.mu.Unlock()
	count := map[netip.Addr]int{}
	for _, c := range l.witness.callers {
		count[c.Addr()]++
	}
	for _, f := range labFamilies {
		if count[f.client] != 50 || count[f.neighbour] != 50 {
			t.Errorf("the server saw %v", count)
		}
	}
}

// TestTproxyPorts: a kept port that is taken gives way; with no port left the
// client is told, and the log says why.
func TestTproxyPorts(t *testing.T) {
	for _, f := range labFamilies {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.ports(t)
		})
	}
}

func (f labFamily) ports(t *testing.T) {
	l, g := tproxyLab(t, "tproxy\ntproxy_keep_port yes\nmax_per_host 0")
	defer explain(t, g)
	from := netip.AddrPortFrom(f.client, 40001)
	call := func() (*client, error) {
		var c *client
		err := l.client.enter(func() error {
			d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(from)}
			conn, err := d.Dial("tcp", f.server.String())
			if err == nil {
				c = newClient(conn)
			}
			return err
		})
		return c, err
	}
	// Only two ports are to be had on the router, and one has an owner.
	if err := l.router.enter(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40001 40002"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	l.occupy(from)

	first, err := call()
	if err != nil {
		t.Fatal(err)
	}
	defer first.conn.Close()
	if err := first.expect("220 msa.test"); err != nil {
		t.Fatal(err)
	}
	if saw, _ := l.witness.last(); saw != netip.AddrPortFrom(f.client, 40002) {
		t.Errorf("the server saw %s", saw)
	}
	if err := g.inLog("the client's port is taken, another one is used src=" + regexp.QuoteMeta(from.String())); err != nil {
		t.Error(err)
	}

	from = netip.AddrPortFrom(f.client, 40002)
	second, err := call()
	if err != nil {
		t.Fatal(err)
	}
	defer second.conn.Close()
	if err := second.expect("220 gate.test SMTP"); err != nil {
		t.Fatal(err)
	}
	if err := second.send("MAIL FROM:<a@client.test>"); err != nil {
		t.Fatal(err)
	}
	if err := second.expect("451 .*" + regexp.QuoteMeta(f.server.Addr().String())); err != nil {
		t.Error(err)
	}
	if err := g.inLog("no port is left for a connection from=" + regexp.QuoteMeta(f.client.String()) + ", dst=" + regexp.QuoteMeta(f.server.String())); err != nil {
		t.Error(err)
	}
}

// TestLinkLocal: mode tproxy,netfilter cannot call a server from an address that
// only one cable knows.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.rules("tproxy-routes.sh start")
	l.rules("nft -f nftables-tproxy-netfilter.nft")
	i := interception{mode: "tproxy,netfilter"}
	g := i.gate(t, l)
	defer explain(t, g)
	f := labFamilies[1]
	near := netip.MustParseAddr("fe80::10")
	l.configure(l.client, "addr add fe80::10/64 dev eth0 nodad\n")
	v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
	v.send(near.WithZone("eth0"), cleanMail, "250 ")
	if saw, _ := l.witness.last(); saw.Addr() != f.outer {
		t.Errorf("the server saw %s", saw)
	}
	mails, err := l.box()
	if err != nil || len(mails) != 1 {
		t.Fatalf("%d mails, %v", len(mails), err)
	}
	// A worker cannot ask for the interface's name.
	if header, _ := split(mails[0]); !matches(`^X-Nat-Received: from \[(IPv6:)?fe80::10%[0-9]+\]:`, header) {
		t.Errorf("header %q", header)
	}
}

// occupy binds one of the client's ports on the router.
func (l *lab) occupy(a netip.AddrPort) {
	l.Helper()
	if err := l.router.enter(func() error {
		family := unix.AF_INET
		if a.Addr().Is6() {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		l.Cleanup(func() { unix.Close(fd) })
		if a.Addr().Is6() {
			return errors.Join(
				unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1),
				unix.Bind(fd, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}),
			)
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}),
		)
	}); err != nil {
		l.Fatal(err)
	}
}
