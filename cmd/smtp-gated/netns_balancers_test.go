//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// balancedPorts are where the router's load balancers listen, and what they say.
var balancedPorts = map[uint16]string{2501: "HAProxy send-proxy", 2502: "HAProxy send-proxy-v2", 2503: "HAProxy send-proxy-v2, smtpchk", 2504: "nginx"}

// haproxyBalancers has a listener for each way.
const haproxyBalancers = `global
	stats socket %[1]s/haproxy.sock
defaults
	mode tcp
	timeout connect 10s
	timeout client 60s
	timeout server 60s
	default-server inter 200ms fall 2 rise 2
listen v1
	bind 192.0.2.1:2501
	bind [2001:db8:1::1]:2501
	server gate 203.0.113.2:9199 send-proxy check
listen v2
	bind 192.0.2.1:2502
	bind [2001:db8:1::1]:2502
	server gate [2001:db8:3::2]:9199 send-proxy-v2 check
listen smtp
	bind 192.0.2.1:2503
	bind [2001:db8:1::1]:2503
	option smtpchk EHLO balancer.test
	server gate 203.0.113.2:9199 send-proxy-v2 proxy-v2-options crc32c check
listen smtp1
	bind 192.0.2.1:2505
	option smtpchk EHLO balancer.test
	server gate 203.0.113.2:9199 send-proxy check
`

const nginxBalancer = `%[2]s
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.log;
events {}
stream {
	server {
		listen 192.0.2.1:2504;
		listen [2001:db8:1::1]:2504;
		proxy_pass %[3]s;
		proxy_protocol on;
	}
}
`

// runs has a program of the router's run until the test ends.
func (l *lab) runs(name string, args ...string) {
	l.Helper()
	var said strings.Builder
	cmd := exec.Command(needProgram(l, name), args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := l.router.enter(cmd.Start); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if l.Failed() {
			l.Logf("%s:\n%s", name, said.String())
		}
	})
}

// healthy is how many gateways HAProxy finds healthy, and how the checks have ended.
func healthy(socket string) (up int, checks string) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err.Error()
	}
	defer c.Close()
	fmt.Fprintln(c, "show stat")
	b, _ := io.ReadAll(c)
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ","); len(f) > 36 && f[1] == "gate" {
			checks += f[0] + " " + f[17] + " " + f[36] + "\n"
			if f[17] == "UP" && (f[36] == "L4OK" || f[36] == "L7OK") {
				up++
			}
		}
	}
	return up, checks
}

// counted is one of the family's counters.
func (g *gate) counted(t *testing.T, name string) uint64 {
	t.Helper()
	r, err := g.ask()
	if err != nil {
		t.Fatal(err)
	}
	return r.Counters[name]
}

// TestBalancers: clients who come by HAProxy and nginx are known by their own addresses, over
// IPv4 and IPv6, and locked by these; the balancers' own checks find the gateway well, and
// are nobody's client, whoever is locked.
func TestBalancers(t *testing.T) {
	t.Parallel()
	needProgram(t, "haproxy")
	needProgram(t, "nginx")
	l := newLab(t)
	l.separate()
	i := interception{mode: "fixed\nmax_per_host 1\nlock_on virus,maxhost\nlisten_proxy_from 203.0.113.1,2001:db8:3::1", listen: beside}
	g := i.gate(t, l)
	defer explain(t, g)

	dir := t.TempDir()
	module := ""
	for _, path := range []string{"/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"} {
		if _, err := os.Stat(path); err == nil {
			module = "load_module " + path + ";"
		}
	}
	for name, text := range map[string]string{
		"haproxy.cfg": fmt.Sprintf(haproxyBalancers, dir),
		"nginx.conf":  fmt.Sprintf(nginxBalancer, dir, module, "203.0.113.2:9199"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.runs("haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg"))
	l.runs("nginx", "-p", dir, "-e", filepath.Join(dir, "nginx.log"), "-c", filepath.Join(dir, "nginx.conf"))
	socket := filepath.Join(dir, "haproxy.sock")
	well := func(when string) {
		t.Helper()
		var checks string
		imsgtest.Until(t, "all checks find the gateway well "+when, func() bool {
			var up int
			up, checks = healthy(socket)
			return up == 4
		})
		t.Logf("%s:\n%s", when, checks)
	}
	well("at first")

	calls := func(from netip.Addr, port uint16) (c *client, err error) {
		f := labFamilies[0]
		if from.Is6() {
			f = labFamilies[1]
		}
		imsgtest.Until(t, "the balancer listens", func() bool {
			c, err = l.dial(from, netip.AddrPortFrom(f.inner, port))
			return err == nil
		})
		return c, err
	}
	gone := func(client netip.Addr) { // it may have one session
		t.Helper()
		imsgtest.Until(t, "the session is over", func() bool {
			live, err := g.ctl("sessions")
			return err == nil && !strings.Contains(live, client.String())
		})
	}
	known := func(from netip.Addr, port uint16) {
		t.Helper()
		c, err := calls(from, port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		if reply, err := c.deliver([]byte(cleanMail)); err != nil || !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("%s: %q, %v", balancedPorts[port], reply, err)
		}
		mails, err := l.box()
		if err != nil || len(mails) == 0 {
			t.Fatal(err)
		}
		header, _ := split(mails[len(mails)-1])
		at := c.conn.LocalAddr().(*net.TCPAddr).AddrPort()
		if want := fmt.Sprintf("%s]:%d ", at.Addr(), at.Port()); !strings.Contains(header, want) {
			t.Errorf("%s: the header does not name the client %s: %q", balancedPorts[port], want, header)
		}
		c.quit()
		gone(from)
	}
	for port := range balancedPorts {
		for _, f := range labFamilies {
			known(f.client, port)
		}
	}

	// One is locked; the others, who come by the same balancer, are not, nor is that.
	c, err := calls(labFamilies[0].client, 2502)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := c.deliver([]byte(virusMail)); err != nil || !strings.HasPrefix(reply, "550 ") {
		t.Errorf("%q, %v", reply, err)
	}
	c.conn.Close()
	gone(labFamilies[0].client)
	for port := range balancedPorts {
		c, err := calls(labFamilies[0].client, port)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.expect("554 "); err != nil {
			t.Errorf("%s: %v", balancedPorts[port], err)
		}
		c.conn.Close()
		known(labFamilies[0].neighbour, port)
	}
	well("when a client is locked")
	if locked, err := os.ReadDir(g.path("lock")); err != nil || len(locked) != 1 || locked[0].Name() != labFamilies[0].client.String() {
		t.Errorf("locked are %v, %v", locked, err)
	}
	if got, err := g.ctl("lock", "add", "203.0.113.1"); err != nil { // by an operator's mistake
		t.Errorf("%s: %v", got, err)
	}
	if export, err := g.ctl("lock", "export", "plain"); err != nil || strings.Contains(export, "203.0.113.1") || !strings.Contains(export, "192.0.2.10") {
		t.Errorf("a packet filter is to block %q, %v", export, err)
	}
	before := g.counted(t, "proxy_check")
	imsgtest.Until(t, "more checks have come", func() bool { return g.counted(t, "proxy_check") > before+8 })
	well("when the balancer is locked")
	for _, name := range []string{"proxy_malformed", "proxy_late", "proxy_source", "proxy_unexpected", "reject_host"} {
		if n := g.counted(t, name); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
	if events, err := g.ctl("explain", "203.0.113.1"); strings.Contains(events, "session ") {
		t.Errorf("events tell of a check: %s, %v", events, err)
	}

	// Who is no balancer is not believed.
	if err := l.router.enter(func() (err error) {
		c, err = dialGate("203.0.113.2:9199", "198.51.100.2")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if err := c.ask("", "220 ", "PROXY TCP4 203.0.113.7 203.0.113.2 4444 25", "554 "); err != nil {
		t.Error(err)
	}
	if err := l.msa.saw("PROXY", false); err != nil {
		t.Error(err)
	}
}
