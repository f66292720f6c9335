//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/site"
)

// unit reads a file of etc/systemd, or another below it: the values of each key.
func unit(t *testing.T, name string) map[string][]string {
	text, err := os.ReadFile(filepath.Join("../../etc/systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			keys[key] = append(keys[key], value)
		}
	}
	return keys
}

// asUnit opens the sockets of a unit as systemd would.
func asUnit(t *testing.T, l *lab, u map[string][]string) (sockets []*os.File) {
	if !slices.Equal(u["BindIPv6Only"], []string{"ipv6-only"}) || !slices.Equal(u["Transparent"], []string{"yes"}) || !slices.Equal(u["FreeBind"], []string{"yes"}) {
		t.Fatalf("the unit says %v", u)
	}
	config := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1), unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1))
			if network == "tcp6" {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1))
			}
		})
		return errors.Join(cerr, err)
	}}
	for _, at := range u["ListenStream"] {
		network := "tcp4"
		if netip.MustParseAddrPort(at).Addr().Is6() {
			network = "tcp6"
		}
		if err := l.router.enter(func() error {
			listener, err := config.Listen(t.Context(), network, at)
			if err != nil {
				return err
			}
			defer listener.Close()
			f, err := listener.(*net.TCPListener).File()
			sockets = append(sockets, f)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return sockets
}

// startBy starts the gateway on the router by a command of the test's own; wake
// does what that waits for.
func startBy(t *testing.T, l *lab, g *gate, cmd *exec.Cmd, wake func() error) {
	t.Helper()
	if err := l.router.enter(func() error { return g.launch(cmd) }); err != nil {
		t.Fatal(err)
	}
	if err := wake(); err != nil {
		t.Fatal(err)
	}
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
}

// activationLab is a lab with a gateway that is told everything but where to
// listen.
func activationLab(t *testing.T) (*lab, *gate) {
	l := newLab(t)
	l.rules("tproxy-routes.sh start")
	l.rules("nft -f nftables-tproxy.nft")
	g, err := newGate(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	g.server = 25
	// Port 1 must not be tried.
	if err := g.configure("mode tproxy\nport 1\n", false); err != nil {
		t.Fatal(err)
	}
	return l, g
}

// activated has both families' clients send mail before and after a reload.
func activated(t *testing.T, l *lab, g *gate) {
	i := interception{mode: "tproxy", foreign: true}
	for range 2 {
		for _, f := range labFamilies {
			v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
			v.send(f.client, cleanMail, "250 ")
			if saw, _ := l.witness.last(); saw.Addr() != f.client {
				t.Errorf("the server saw %s", saw)
			}
		}
		if err := g.reload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.terminate(); err != nil {
		t.Fatal(err)
	}
}

// TestSystemdSocketActivate is systemd's own word on how sockets are handed over.
func TestSystemdSocketActivate(t *testing.T) {
	t.Parallel()
	activate := needProgram(t, "systemd-socket-activate")
	l, g := activationLab(t)
	defer explain(t, g)
	if err := l.router.enter(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/bindv6only", []byte("1"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	cmd := g.command(activate, "-l", "0.0.0.0:9199", "-l", "[::]:9199", "--fdname=four:six", "-E", "NOTIFY_SOCKET",
		program("smtp-gated"), "-f", g.path("smtp-gated.conf"))
	// Its sockets are none that a rule can lead to: the first client calls the port itself.
	l.rules("nft flush chain inet smtp_gated input")
	startBy(t, l, g, cmd, func() error {
		// It starts the gateway for the first client, who waits meanwhile.
		return eventually("nobody listens", func() bool {
			c, err := l.dial(labFamilies[0].neighbour, netip.AddrPortFrom(labFamilies[0].inner, 9199))
			if err == nil {
				t.Cleanup(func() { c.conn.Close() })
			}
			return err == nil
		})
	})
	activated(t, l, g)
}

// TestUnits starts the gateway as the units in etc/systemd say: with their
// sockets, and with no other capabilities than theirs.
func TestUnits(t *testing.T) {
	t.Parallel()
	setpriv := needProgram(t, "setpriv")
	l, g := activationLab(t)
	defer explain(t, g)
	socket, service := unit(t, "smtp-gated.socket"), unit(t, "smtp-gated.service")
	sockets := asUnit(t, l, socket)
	set := "-all"
	for _, line := range service["CapabilityBoundingSet"] {
		for c := range strings.FieldsSeq(line) {
			set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
		}
	}
	names := strings.Repeat(":"+socket["FileDescriptorName"][0], len(sockets))[1:]
	script := fmt.Sprintf("LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s WATCHDOG_USEC=200000 exec %s -f %s",
		len(sockets), names, program("smtp-gated"), g.path("smtp-gated.conf"))
	cmd := g.command(setpriv, "--bounding-set", set, "/bin/sh", "-c", script)
	cmd.ExtraFiles = sockets
	startBy(t, l, g, cmd, func() error { return nil })
	for _, f := range sockets {
		f.Close()
	}
	if err := g.notified("WATCHDOG=1"); err != nil {
		t.Error(err)
	}
	activated(t, l, g)
}

// TestUnitsSay: a unit that starts again and again must neither give up nor hurry, nor try
// what cannot work.
func TestUnitsSay(t *testing.T) {
	u := unit(t, "smtp-gated.service")
	for key, want := range map[string]string{
		"Type": "notify", "NotifyAccess": "main", "Restart": "on-failure", "RestartSec": "5", "RestartPreventExitStatus": "2", "StartLimitIntervalSec": "0",
		"ExecReload": "@SBIN@/smtp-gatectl --config @SYSCONF@/smtp-gated.toml reload",
	} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q", key, u[key])
		}
	}
	if u["RestartPreventExitStatus"][0] != fmt.Sprint(exitBadConfig) {
		t.Error("a wrong configuration has another exit status")
	}
	u = unit(t, "../export/smtp-gated-export.service")
	for key, want := range map[string]string{
		"ExecStart": "@SBIN@/smtp-gated-export " + exportTo + " --min-refusals 3", "DynamicUser": "yes", "NoNewPrivileges": "yes",
		"AmbientCapabilities": "CAP_NET_ADMIN", "CapabilityBoundingSet": "CAP_NET_ADMIN", "RuntimeDirectory": "smtp-gated-export",
	} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q", key, u[key])
		}
	}
}

// TestUnitCapabilities: the unit gives what any configuration may need, and what sudo
// in a script needs, and says what for.
func TestUnitCapabilities(t *testing.T) {
	text, err := os.ReadFile("../../etc/systemd/smtp-gated.service")
	must(t, err)
	said := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 2 && strings.HasPrefix(line, "#   ") {
			said["CAP_"+words[1]] = strings.Join(words[2:], " ")
		}
	}
	want := map[string]string{"CAP_AUDIT_WRITE": "sudo in the script"}
	for _, c := range site.Capabilities {
		want[c.Name] = c.For
	}
	if !maps.Equal(said, want) {
		t.Errorf("the unit says %v, the table %v", said, want)
	}
	given := strings.Fields(strings.Join(unit(t, "smtp-gated.service")["CapabilityBoundingSet"], " "))
	slices.Sort(given)
	if names := slices.Sorted(maps.Keys(want)); !slices.Equal(given, names) {
		t.Errorf("the unit gives %v, wanted %v", given, names)
	}
}

// TestScripts: what cannot be run here can at least be read.
func TestScripts(t *testing.T) {
	for _, pattern := range []string{"firewall/*.sh", "openbsd/*", "freebsd/*", "export/smtp*export"} {
		files, err := filepath.Glob("../../etc/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s, %v", pattern, err)
		}
		for _, f := range files {
			if out, err := exec.Command("sh", "-n", f).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", f, err, out)
			}
		}
	}
}
