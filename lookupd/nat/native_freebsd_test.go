package nat

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// anchor is where pf.conf lets the test put its rules: rdr-anchor "smtp-gated-test".
// It may not say "set skip on lo".
const anchor = "smtp-gated-test"

// TestRedirection asks the real pf about a connection that it redirected.
func TestRedirection(t *testing.T) {
	if rules := imsgtest.Command(t, "", "pfctl", "-s", "nat"); !strings.Contains(rules, `rdr-anchor "`+anchor+`"`) {
		imsgtest.Lacks(t, "pf.conf has no rdr-anchor %q", anchor)
	}
	device, err := Open(PFDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	l := imsgtest.Loopback(t)
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	to := imsgtest.Elsewhere
	rule := fmt.Sprintf("rdr pass on lo0 inet proto tcp from any to %v port %d -> 127.0.0.1 port %s\n", to.Addr(), to.Port(), port)
	imsgtest.Command(t, rule, "pfctl", "-a", anchor, "-N", "-f", "-")
	t.Cleanup(func() { exec.Command("pfctl", "-a", anchor, "-F", "nat").Run() })
	c := imsgtest.Redirected(t, l)
	client, local := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
	if got, err := PF(Device(device), client, local); err != nil || got != to {
		t.Errorf("%v, %v, want %v", got, err, to)
	}
}

// TestLimit: Capsicum lets through nothing but lookups.
func TestLimit(t *testing.T) {
	f, err := Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ask := func(request uint32) error {
		var arg [128]byte
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(&arg)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	for _, request := range []uint32{freeBSD.request, ipfObject64.request, ipfObject32.request} {
		if err := ask(request); errors.Is(err, unix.ENOTCAPABLE) {
			t.Errorf("lookup %#x: %v", request, err)
		}
	}
	const fionread = 0x4004667F // sys/filio.h
	if err := ask(fionread); !errors.Is(err, unix.ENOTCAPABLE) {
		t.Errorf("another question: %v", err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, unix.ENOTCAPABLE) {
		t.Errorf("read: %v", err)
	}
}
