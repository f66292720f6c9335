//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lab is a small internet: a client's network, a router with the gateway, and a
// mail server's network, each in a network namespace of its own. The names of the
// interfaces and the addresses are those of the files in etc/firewall.
type lab struct {
	*testing.T
	client, router, server netns
	gateway                netns  // where the gateway runs: the router, or one of its own
	firewall               string // the folder with the rules
	*msa                          // at port 25 of both of the server's addresses
	witness                *witness
}

// labFamily is one address family of the lab. A private client has an address that
// only the client's own network knows.
type labFamily struct {
	name                                     string
	client, neighbour, private, inner, outer netip.Addr
	side, gateway                            netip.Addr // the router's towards a gateway beside it, and the gateway's
	server                                   netip.AddrPort
}

var labFamilies = []labFamily{
	{
		name: "IPv4", client: netip.MustParseAddr("192.0.2.10"), neighbour: netip.MustParseAddr("192.0.2.11"),
		private: netip.MustParseAddr("10.0.0.10"),
		inner:   netip.MustParseAddr("192.0.2.1"), outer: netip.MustParseAddr("198.51.100.1"),
		side: netip.MustParseAddr("203.0.113.1"), gateway: netip.MustParseAddr("203.0.113.2"),
		server: netip.MustParseAddrPort("198.51.100.25:25"),
	},
	{
		name: "IPv6", client: netip.MustParseAddr("2001:db8:1::10"), neighbour: netip.MustParseAddr("2001:db8:1::11"),
		private: netip.MustParseAddr("fd00:1::10"),
		inner:   netip.MustParseAddr("2001:db8:1::1"), outer: netip.MustParseAddr("2001:db8:2::1"),
		side: netip.MustParseAddr("2001:db8:3::1"), gateway: netip.MustParseAddr("2001:db8:3::2"),
		server: netip.MustParseAddrPort("[2001:db8:2::25]:25"),
	},
}

// addresses of each, with the routes to the others:
// client eth0 - lan0 router wan0 - eth0 server, and perhaps router dmz0 - eth0 gateway.
var addresses = map[string]string{
	"client": `link set lo up
link set eth0 up
addr add 192.0.2.10/24 dev eth0
addr add 192.0.2.11/24 dev eth0
addr add 10.0.0.10/24 dev eth0
addr add 2001:db8:1::10/64 dev eth0 nodad
addr add 2001:db8:1::11/64 dev eth0 nodad
addr add fd00:1::10/64 dev eth0 nodad
route add default via 192.0.2.1
route add default via 2001:db8:1::1
`,
	"router": `link set lo up
link set lan0 up
link set wan0 up
addr add 192.0.2.1/24 dev lan0
addr add 10.0.0.1/24 dev lan0
addr add 2001:db8:1::1/64 dev lan0 nodad
addr add fd00:1::1/64 dev lan0 nodad
addr add 198.51.100.1/24 dev wan0
addr add 2001:db8:2::1/64 dev wan0 nodad
addr add 198.51.100.2/24 dev wan0
addr add 2001:db8:2::2/64 dev wan0 nodad preferred_lft 0
`,
	"server": `link set lo up
link set eth0 up
addr add 198.51.100.25/24 dev eth0
addr add 2001:db8:2::25/64 dev eth0 nodad
route add 192.0.2.0/24 via 198.51.100.1
route add 2001:db8:1::/64 via 2001:db8:2::1
route add 203.0.113.0/24 via 198.51.100.1
route add 2001:db8:3::/64 via 2001:db8:2::1
`,
	"dmz": `link set dmz0 up
addr add 203.0.113.1/24 dev dmz0
addr add 2001:db8:3::1/64 dev dmz0 nodad
`,
	"gateway": `link set lo up
link set eth0 up
addr add 203.0.113.2/24 dev eth0
addr add 2001:db8:3::2/64 dev eth0 nodad
route add default via 203.0.113.1
route add default via 2001:db8:3::1
`,
}

// labs counts, so that tests at the same time have namespaces of their own.
var labs atomic.Int32

func newLab(t *testing.T) *lab {
	t.Helper()
	need(t, os.Geteuid() == 0, "root")
	needProgram(t, "ip")
	firewall, err := filepath.Abs("../../etc/firewall")
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("gated-%d-%d-", os.Getpid(), labs.Add(1))
	l := &lab{T: t, client: netns(base + "client"), router: netns(base + "router"), server: netns(base + "server"), firewall: firewall}
	l.gateway = l.router
	for _, n := range []netns{l.client, l.router, l.server} {
		l.make(n)
	}
	l.cable("lan0", l.client)
	l.cable("wan0", l.server)
	for name, n := range map[string]netns{"client": l.client, "router": l.router, "server": l.server} {
		l.configure(n, addresses[name])
	}
	l.startServer()
	return l
}

// separate gives the gateway a machine of its own beside the router.
func (l *lab) separate() {
	l.Helper()
	l.gateway = l.router + "-gateway"
	l.make(l.gateway)
	l.cable("dmz0", l.gateway)
	l.configure(l.router, addresses["dmz"])
	l.configure(l.gateway, addresses["gateway"])
}

func (l *lab) make(n netns) {
	l.Helper()
	ip := needProgram(l, "ip")
	if out, err := exec.Command(ip, "netns", "add", string(n)).CombinedOutput(); err != nil {
		need(l, false, fmt.Sprintf("network namespaces: %v: %s", err, out))
	}
	l.Cleanup(func() { exec.Command(ip, "netns", "del", string(n)).Run() })
	if err := n.enter(settle); err != nil {
		l.Fatal(err)
	}
}

// cable connects an interface of the router with eth0 of another.
func (l *lab) cable(name string, to netns) {
	l.Helper()
	l.must("", "link", "add", name, "netns", string(l.router), "type", "veth", "peer", "name", "eth0", "netns", string(to))
}

func (l *lab) configure(n netns, lines string) {
	l.Helper()
	l.must(lines, "-netns", string(n), "-batch", "-")
}

// must runs ip.
func (l *lab) must(input string, args ...string) {
	l.Helper()
	cmd := exec.Command(needProgram(l, "ip"), args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

// settle has a namespace pass packets on, and take new IPv6 addresses without
// asking around for a second or two.
func settle() error {
	for name, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0",
	} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// startServer starts the mail server at both of its addresses.
func (l *lab) startServer() {
	l.witness = &witness{conns: make(chan net.Conn), closed: make(chan struct{})}
	for _, f := range labFamilies {
		if err := l.server.enter(func() error {
			at, err := net.Listen("tcp", f.server.String())
			if err == nil {
				l.witness.listeners = append(l.witness.listeners, at)
				go l.witness.watch(at)
			}
			return err
		}); err != nil {
			l.Fatal(err)
		}
	}
	l.msa = &msa{post: new(post), manners: new(manners), conns: map[net.Conn]bool{}, listener: l.witness}
	go l.msa.accept(l.msa.listener)
	l.Cleanup(func() {
		l.msa.stop()
		if err := l.check(); err != nil {
			l.Error(err)
		}
	})
}

// witness listens at several addresses and remembers who called from where.
type witness struct {
	listeners []net.Listener
	conns     chan net.Conn
	closed    chan struct{}

	mu      sync.Mutex
	callers []netip.AddrPort
}

func (w *witness) watch(at net.Listener) {
	for {
		c, err := at.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.callers = append(w.callers, c.RemoteAddr().(*net.TCPAddr).AddrPort())
		w.mu.Unlock()
		select {
		case w.conns <- c:
		case <-w.closed:
			c.Close()
			return
		}
	}
}

// Accept implements net.Listener, as do the others.
func (w *witness) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *witness) Close() error {
	close(w.closed)
	for _, l := range w.listeners {
		l.Close()
	}
	return nil
}

func (w *witness) Addr() net.Addr { return w.listeners[0].Addr() }

// last returns from where the last call came, and how many there were.
func (w *witness) last() (caller netip.AddrPort, calls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.callers) > 0 {
		caller = w.callers[len(w.callers)-1]
	}
	return caller, len(w.callers)
}

// rules runs a command line of the rules' folder on the router: a program, or nft
// with a file.
func (l *lab) rules(line string) {
	l.Helper()
	words := strings.Fields(line)
	if words[0] == "nft" {
		words[0] = needProgram(l, "nft")
	} else {
		words[0] = filepath.Join(l.firewall, words[0])
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = l.firewall
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	var out []byte
	err := l.router.enter(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		l.Fatalf("%s: %v: %s", line, err, out)
	}
}

// dial connects from one of the client's addresses.
func (l *lab) dial(from netip.Addr, to netip.AddrPort) (c *client, err error) {
	err = l.client.enter(func() (err error) {
		c, err = dialGate(to.String(), from.String())
		return err
	})
	return c, err
}

// reachable tells whether a client gets through to the server, as it should or not.
func (l *lab) reachable(f labFamily, should bool) bool { return l.reaches(f, f.server, should) }

// reaches tells whether a client gets a connection, as it should or not. Some rules refuse
// it, some drop what it sends: then there is nothing to wait for.
func (l *lab) reaches(f labFamily, to netip.AddrPort, should bool) bool {
	limit := time.Second
	if should {
		limit = patience
	}
	return l.client.enter(func() error {
		d := net.Dialer{Timeout: limit, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.neighbour, 0))}
		c, err := d.Dial("tcp", to.String())
		if err == nil {
			c.Close()
		}
		return err
	}) == nil
}

// netns is a network namespace's name.
type netns string

// enter does something on a thread of its own inside the namespace. Sockets made
// and programs started there stay there.
func (n netns) enter(do func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + string(n))
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
