//go:build linux

package parent

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestNotifyFailure: why there is no family the service manager hears as its last
// word, in one line, whatever it was.
func TestNotifyFailure(t *testing.T) {
	for _, c := range []struct{ name, option, want string }{
		{"configuration", "nonsense 1\nmax_load many", "/gated.conf:13: nonsense: "},
		{"address", "bind_address 192.0.2.1", "listen on 192.0.2.1:0: "},
		{"room", "proxy_name die-at-config:lockd", "lockd 1 did not get ready: panic: as told"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.option)
			path := h.dir + "/notify"
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err := errors.Join(err, os.Chmod(path, 0o777)); err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			h.start(true, "NOTIFY_SOCKET="+path)
			h.end()
			last, b := "", make([]byte, 4096)
			for !strings.HasPrefix(last, "STATUS=") {
				manager.SetReadDeadline(time.Now().Add(patience))
				n, err := manager.Read(b)
				if err != nil {
					t.Fatalf("%v, after %q", err, last)
				}
				last = string(b[:n])
			}
			if !strings.Contains(last, c.want) || strings.Contains(last, "\n") {
				t.Errorf("heard %q", last)
			}
		})
	}
}

// TestNotifyUnheard: a service manager that is not there is missed in the log.
func TestNotifyUnheard(t *testing.T) {
	h := newHouse(t)
	h.start(true, "NOTIFY_SOCKET="+h.dir+"/nobody", "WATCHDOG_USEC=soon")
	h.waitFor("no service manager error=dial unixgram", 1)
	h.waitFor("no signs of life for the service manager error=error converting WATCHDOG_USEC", 1)
}
