//go:build freebsd || openbsd

package imsgtest

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Elsewhere is a server of nobody's (RFC 5737), to which a test may give a route.
var Elsewhere = netip.MustParseAddrPort("198.51.100.25:25")

// Command runs a program that changes the system, as root; what cannot be done skips
// the test.
func Command(t testing.TB, input string, words ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		Lacks(t, "not root")
	}
	cmd := exec.Command(words[0], words[1:]...)
	if input != "" {
		f := TempFile(t)
		if _, err := f.WriteString(input); err != nil {
			t.Fatal(err)
		}
		f.Seek(0, 0)
		cmd.Stdin = f
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		Lacks(t, "%q: %v: %s", words, err, out)
	}
	return string(out)
}

// Loopback leads Elsewhere to the loopback, so that no rule of ours touches another
// interface, and returns a listener there for what a packet filter redirects.
func Loopback(t testing.TB) *net.TCPListener {
	t.Helper()
	Command(t, "", "route", "-n", "add", "-host", Elsewhere.Addr().String(), "127.0.0.1")
	t.Cleanup(func() { exec.Command("route", "-n", "delete", "-host", Elsewhere.Addr().String()).Run() })
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Redirected calls Elsewhere and returns what l accepts instead. It is open until the
// test ends, for as long has the packet filter its state.
func Redirected(t testing.TB, l *net.TCPListener) net.Conn {
	t.Helper()
	client, err := net.DialTimeout("tcp", Elsewhere.String(), Patience)
	if err != nil {
		t.Fatalf("not redirected: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	l.SetDeadline(time.Now().Add(Patience))
	server, err := l.Accept()
	if err != nil {
		t.Fatalf("not redirected to us: %v", err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}
