//go:build linux

package host

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// FuzzNameservers: whatever resolv.conf holds, there are at most as many name servers as
// resolv.conf(5) has, and each can be said to a room and printed.
func FuzzNameservers(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nnameserver fe80::1%eth0\r\nnameserver\t::ffff:192.0.2.1 x\nnameserver ::\nnameserver 1"))
	f.Add([]byte("nameserver fe80::1%" + strings.Repeat("x", 300)))
	f.Add([]byte("nameserver fe80::1%\x1b[2J"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all := nameservers(text)
		if len(all) > maxNameservers {
			t.Errorf("%d of them", len(all))
		}
		for _, a := range all {
			said, err := a.MarshalBinary()
			if text := a.String(); err != nil || len(said) > 255 || imsg.Printable(text, len(text)) != text || a.Port() != 53 {
				t.Errorf("%q, %d octets, %v", text, len(said), err)
			}
		}
	})
}

// FuzzPid: a pid file names a process that kill(2) means by that number and no other,
// or none; what we write is read back.
func FuzzPid(f *testing.F) {
	for _, text := range []string{"1\n", "2", "4194304\n", "-7", "4294967298\n", strings.Repeat(" ", maxPid-2) + "12", "0x10", "\x0012"} {
		f.Add([]byte(text), int32(7))
	}
	f.Fuzz(func(t *testing.T, text []byte, written int32) {
		pid, ok := parsePid(text)
		if ok && (pid <= 1 || int(int32(pid)) != pid || !strings.Contains(string(text), strconv.Itoa(pid))) || !ok && pid != 0 {
			t.Errorf("%q is process %d", text, pid)
		}
		if pid, ok := parsePid([]byte(strconv.Itoa(int(written)) + "\n")); ok != (written > 1) || ok && pid != int(written) {
			t.Errorf("%d reads back as %d", written, pid)
		}
	})
}

// FuzzServiceManager: whatever the environment says of a service manager, signs of life
// are given as often as it says and no faster than the loop can, no script learns of its
// socket, and to tell it something neither panics nor waits for ever.
func FuzzServiceManager(f *testing.F) {
	us := strconv.Itoa(os.Getpid())
	for _, watchdog := range []string{"", "0", "-1", "1", "999", "30000000", "9223372036854776", "18446744073709552", "1e6"} {
		f.Add(watchdog, us, "@", "1:2")
	}
	f.Add("1000000", "", strings.Repeat("/x", 200), ":")
	f.Add("1000000", "soon", "vsock:2:1", "0:0")
	f.Add("1000000", "1", "nobody", "9223372036854775808:1")
	f.Fuzz(func(t *testing.T, watchdog, pid, socket, journal string) {
		for name, value := range map[string]string{"WATCHDOG_USEC": watchdog, "WATCHDOG_PID": pid, "NOTIFY_SOCKET": socket, "JOURNAL_STREAM": journal} {
			if os.Setenv(name, value) != nil { // no environment holds it
				return
			}
			defer os.Unsetenv(name)
		}
		n, err := NewNotifier()
		if n.Watchdog != 0 && (err != nil || n.Watchdog < minWatchdog/2 || strconv.FormatInt((2*n.Watchdog).Microseconds(), 10) != watchdog) {
			t.Errorf("a sign of life each %v, %v", n.Watchdog, err)
		}
		StderrIsJournal()
		if strings.Contains(strings.Join(ScriptEnvironment(), "\n"), "NOTIFY_SOCKET=") && !strings.Contains(watchdog+pid+journal, "NOTIFY_SOCKET=") {
			t.Error("a script may speak in our name")
		}
		n.KeepAlive()
	})
}
