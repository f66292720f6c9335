package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// The tests run this binary again: as the helper, whole or its keeper, and as a
// gateway that accepts one connection and asks about it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case keeperRole:
			os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
		case "helper":
			os.Exit(run(os.Args[2:], os.Stdout, os.Stderr))
		case "gateway":
			if err := gateway(os.Args[2], os.Args[3]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "confined":
			os.Exit(confined(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// gateway accepts a connection on addr and says what the helper, on the port given,
// knows of it in each language.
func gateway(addr, helper string) error {
	port, err := strconv.ParseUint(helper, 10, 16)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, mode := range []imsg.Mode{imsg.ModeRemote, imsg.ModeRemoteUDP} {
		a, err := newAsker(&imsg.LookupdConfig{Mode: mode, Timeout: deadline / 2, RemotePort: uint16(port), RemoteRetries: 2, RemoteSecret: 4711})
		if err != nil {
			return err
		}
		client, local := addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
		fmt.Printf("%v: %s\n", mode, a.ask(client, local))
		fmt.Printf("%v, another port: %s\n", mode, a.ask(netip.AddrPortFrom(client.Addr(), client.Port()^1), local))
		a.close()
	}
	fmt.Println("client", conn.RemoteAddr().(*net.TCPAddr).IP)
	io.Copy(io.Discard, conn)
	return nil
}

// network is three namespaces: a client, a router that sends its mail to a gateway
// and hides it behind its own address, and the gateway.
type network struct {
	*testing.T
	prefix string
}

func (n *network) ns(name string) string { return n.prefix + name }

// in makes a command that runs in a namespace.
func (n *network) in(ns string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.ns(ns)}, args...)...)
}

func (n *network) must(cmd *exec.Cmd) {
	n.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		absent(n.T, strings.Join(cmd.Args, " ")+": "+string(out), err)
	}
}

func newNetwork(t *testing.T) *network {
	if os.Getuid() != 0 {
		absent(t, "network namespaces", fmt.Errorf("need root"))
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			absent(t, program, err)
		}
	}
	n := &network{t, fmt.Sprintf("gh%d", os.Getpid())}
	for _, ns := range []string{"c", "r", "p"} {
		n.must(exec.Command("ip", "netns", "add", n.ns(ns)))
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n.ns(ns)).Run() })
		n.must(n.in(ns, "ip", "link", "set", "lo", "up"))
	}
	// A cable between each and the router; r's ends are called c and p.
	for _, ns := range []string{"c", "p"} {
		n.must(n.in("r", "ip", "link", "add", ns, "type", "veth", "peer", "name", "r", "netns", n.ns(ns)))
	}
	for _, a := range []struct{ ns, dev, v4, v6 string }{
		{"c", "r", "192.0.2.2/24", "2001:db8:1::2/64"},
		{"r", "c", "192.0.2.1/24", "2001:db8:1::1/64"},
		{"r", "p", "203.0.113.1/24", "2001:db8:2::1/64"},
		{"p", "r", "203.0.113.2/24", "2001:db8:2::2/64"},
	} {
		n.must(n.in(a.ns, "ip", "link", "set", a.dev, "up"))
		n.must(n.in(a.ns, "ip", "address", "add", a.v4, "dev", a.dev))
		n.must(n.in(a.ns, "ip", "address", "add", a.v6, "dev", a.dev, "nodad"))
	}
	n.must(n.in("c", "ip", "route", "add", "default", "via", "192.0.2.1"))
	n.must(n.in("c", "ip", "-6", "route", "add", "default", "via", "2001:db8:1::1"))
	n.must(n.in("r", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"))
	rules := n.in("r", "nft", "-f", "-")
	rules.Stdin = strings.NewReader(`
table inet mail {
	chain in {
		type nat hook prerouting priority dstnat
		iifname "c" tcp dport 25 dnat ip to 203.0.113.2:9199
		iifname "c" tcp dport 25 dnat ip6 to [2001:db8:2::2]:9199
	}
	chain out {
		type nat hook postrouting priority srcnat
		oifname "p" masquerade
	}
}
`)
	n.must(rules)
	return n
}

// TestRouter: a real connection goes through a real router, and the gateway asks
// the helper on it what it was.
func TestRouter(t *testing.T) {
	n := newNetwork(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// On all addresses: an answer has to leave from the one that was asked.
	helper := n.in("r", self, "helper", "-a", "203.0.113.2,2001:db8:2::2", "-u", "nobody", "-s", secret, "-v")
	said, err := helper.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		helper.Process.Signal(syscall.SIGTERM)
		if err := helper.Wait(); err != nil {
			t.Errorf("helper: %v", err)
		}
	})
	log := lines(said)
	await(t, log, "listening")
	go func() {
		for range log {
		}
	}()
	processes(t, helper.Process.Pid)

	for _, tt := range []struct{ family, gateway, server, want, client string }{
		{"IPv4", "203.0.113.2:9199", "198.51.100.25:25", "198.51.100.25:25 192.0.2.2", "203.0.113.1"},
		{"IPv6", "[2001:db8:2::2]:9199", "[2001:db8:9::25]:25", "[2001:db8:9::25]:25 20010db8000100000000000000000002", "2001:db8:2::1"},
	} {
		t.Run(tt.family, func(t *testing.T) {
			g := n.in("p", self, "gateway", tt.gateway, "114")
			var errs bytes.Buffer
			g.Stderr = &errs
			out, err := g.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Start(); err != nil {
				t.Fatal(err)
			}
			said := lines(out)
			await(t, said, "listening")
			// A shell holds the connection open, from where the client is.
			host, port, _ := net.SplitHostPort(tt.server)
			c := n.in("c", "bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port+" && read")
			hold, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{"remote", "remote-udp"} {
				if got := await(t, said, mode+": "); got != mode+": "+tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				if got := await(t, said, mode+", another port: "); !strings.HasSuffix(got, imsg.NotFound.Error()) {
					t.Error(got)
				}
			}
			if got := await(t, said, "client"); got != "client "+tt.client {
				t.Errorf("%s, want %s: the router does not hide its client", got, tt.client)
			}
			hold.Close()
			c.Wait()
			if err := g.Wait(); err != nil {
				t.Errorf("gateway: %v: %s", err, &errs)
			}
		})
	}
}

// processes looks at the two of a running helper: who they are, and what they may.
func processes(t *testing.T, pid int) {
	t.Helper()
	for _, tt := range []struct {
		name string
		pid  int
		caps string
	}{
		{"the one that hears the network", pid, "0000000000000000"},
		{"the keeper", child(t, pid), "0000000000001000"}, // CAP_NET_ADMIN is 12
	} {
		var wrong []string // statuses of threads that may more
		// Either may still be on its way into its sandbox. What is linked with
		// cgo, as for the race detector, confines one thread, whichever that
		// was: see everyThread.
		if err := imsgtest.Eventually("may more than it should", func() bool {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", tt.pid))
			wrong = nil
			for _, thread := range threads {
				status, err := os.ReadFile(thread)
				if err == nil && slices.ContainsFunc([]string{
					"Uid:\t65534\t65534\t65534\t65534\n", "CapPrm:\t" + tt.caps, "CapEff:\t" + tt.caps,
					"CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
				},
					func(line string) bool { return !strings.Contains(string(status), line) }) {
					wrong = append(wrong, string(status))
				}
			}
			return len(threads) > 0 && (len(wrong) == 0 || !everyThreadIsReached() && len(wrong) < len(threads))
		}); err != nil {
			t.Errorf("%s: %v:\n%s", tt.name, err, strings.Join(wrong, "\n"))
		}
	}
}

// everyThreadIsReached tells whether a system call can be made in all threads.
func everyThreadIsReached() bool {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return errno != syscall.ENOTSUP
}

func child(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return n
		}
	}
	t.Fatal("the helper has no child")
	return 0
}

// TestAskedAddress: a helper on all addresses answers from the one that was asked.
// All of 127/8 is this machine; without being told, the kernel would send from
// 127.0.0.1.
func TestAskedAddress(t *testing.T) {
	// Both protocols need it, so the kernel cannot choose the port.
	var s *sockets
	var port uint16
	err := errors.New("no port is free")
	for range 100 {
		port = uint16(20000 + rand.IntN(12000))
		if s, err = listen(nil, port); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.serve(newHelper(10, "127.0.0.1"), make(chan error, 4))
	a, err := newAsker(&imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, Timeout: deadline / 4, RemotePort: port, RemoteRetries: 1, RemoteSecret: 0x0a0b0c0d})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if got := a.ask(netip.MustParseAddrPort("127.0.0.5:1"), netip.MustParseAddrPort("127.0.0.1:9199")); got != "198.51.100.25:25 10.1.2.3" {
		t.Error(got)
	}
}

// TestKeeperPrivilege is why there is a keeper at all: without the capability the
// kernel does not answer, not even over a socket that was opened with it.
func TestKeeperPrivilege(t *testing.T) {
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	tracking, err := openTracking()
	if err != nil {
		absent(t, "connection tracking", err)
	}
	if _, err := tracking.find(nobody, nobody); !errors.Is(err, wire.ErrNotFound) {
		absent(t, "connection tracking", err)
	}
	dropped := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		if err := unix.Capget(header, &sets[0]); err != nil {
			dropped <- err
			return
		}
		sets[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(header, &sets[0]); err != nil {
			dropped <- err
			return
		}
		_, err := tracking.find(nobody, nobody)
		dropped <- err
	}()
	if err := <-dropped; !errors.Is(err, unix.EPERM) {
		t.Errorf("without the capability: %v; the keeper could do without it", err)
	}
}

// confined goes where the helper lives and tries what it must not do there. What
// nobody tries who means well is tried for a word, and ends us.
func confined(addr string) int {
	if err := sandbox.Confine(&rights); err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	switch addr {
	case "unix":
		_, err := net.Dial("unix", "@x")
		fmt.Println("calls here:", err)
	case "exec":
		fmt.Println("runs:", syscall.Exec("/proc/self/exe", nil, nil))
	case "kill":
		fmt.Println("signals:", syscall.Kill(os.Getppid(), 0))
	}
	if _, err := os.ReadDir("/"); !errors.Is(err, os.ErrNotExist) {
		fmt.Println("files:", err)
	}
	if _, err := net.Dial("tcp", addr); !errors.Is(err, unix.EAFNOSUPPORT) {
		fmt.Println("calls out:", err)
	}
	if _, err := net.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, unix.EAFNOSUPPORT) {
		fmt.Println("listens:", err)
	}
	if _, err := net.Dial("udp", addr); !errors.Is(err, unix.EAFNOSUPPORT) {
		fmt.Println("sends:", err)
	}
	return 0
}

// TestConfined: no file is in reach, and nobody can be called.
func TestConfined(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "confined", l.Addr().String()).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	for _, deed := range []string{"unix", "exec", "kill"} {
		if out, err := exec.Command(self, "confined", deed).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "SIGSYS: bad system call") {
			t.Errorf("%s: %v: %s", deed, err, out)
		}
	}
}

// TestKeeperEnd: half a helper is none. Whoever watches it starts it anew.
func TestKeeperEnd(t *testing.T) {
	if os.Getuid() != 0 {
		absent(t, "connection tracking", errors.New("needs root"))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	helper := exec.Command(self, "helper", "-a", "127.0.0.1", "-l", "127.0.0.1", "-u", "nobody", "-p", port)
	said, err := helper.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	defer helper.Process.Kill()
	log := lines(said)
	await(t, log, "listening")
	if err := syscall.Kill(child(t, helper.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, log, "the keeper ended")
	if err := helper.Wait(); err == nil || helper.ProcessState.ExitCode() != exitFailed {
		t.Errorf("helper: %v", err)
	}
}
