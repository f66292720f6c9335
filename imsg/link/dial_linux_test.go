package link

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDialFull: a listener that takes nobody, and whose queue is full, is waited for no
// longer than said.
func TestDialFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := dial(path, time.Millisecond*20)
		if err == nil {
			defer c.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "smtp-gated does not answer: for 20ms nobody was let in at "+path) {
			t.Fatal(err)
		}
		return
	}
	t.Error("the queue takes everybody")
}
