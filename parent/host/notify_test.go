//go:build linux

package host

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// listenForUs is a service manager's end.
func listenForUs(t *testing.T) *net.UnixConn {
	t.Helper()
	path := t.TempDir() + "/notify"
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager
}

// TestNotifyUnread: a service manager that does not read holds nothing up.
func TestNotifyUnread(t *testing.T) {
	manager := listenForUs(t)
	n, sent := new(Notifier), 0
	for ; n.Ready("serving") == nil; sent++ {
		if sent > 100_000 {
			t.Fatal("its queue does not fill")
		}
	}
	begun := time.Now()
	for range 100 {
		n.KeepAlive()
	}
	if d := time.Since(begun); d > notifyWait {
		t.Errorf("signs of life that nobody reads took %v", d)
	}
	manager.SetReadDeadline(time.Now().Add(imsgtest.Patience))
	for range sent + 1 { // the one that waited, too
		if _, err := manager.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(imsgtest.Patience); n.Ready("serving") != nil; {
		if time.Now().After(end) {
			t.Fatal("it is not told again once it reads")
		}
	}
}

// TestMainProcess: who hands the service over gives a last sign of life with that, and is
// not heard any more.
func TestMainProcess(t *testing.T) {
	manager := listenForUs(t)
	n := new(Notifier)
	n.MainProcess(7)
	n.KeepAlive()
	n.Speak()
	n.Stopping()
	manager.SetReadDeadline(time.Now().Add(imsgtest.Patience))
	for _, want := range []string{"MAINPID=7\nWATCHDOG=1", "STOPPING=1"} {
		b := make([]byte, 100)
		if got, err := manager.Read(b); err != nil || !strings.HasPrefix(string(b[:got]), want) {
			t.Errorf("%q, %v, want %q", b[:got], err, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	long := errors.Join(errors.New("one\ntwo"), errors.New(strings.Repeat("ü", maxStatus)))
	if got := OneLine(long); !strings.HasPrefix(got, "one; two; üü") || len(got) > maxStatus || strings.ContainsAny(got, "\n\uFFFD") {
		t.Errorf("%q", got)
	}
}
