//go:build linux

package parent

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// holders are those of the family that hold a file.
func (h *house) holders(path string) (all []string) {
	for _, m := range append(h.rooms(), proc{h.cmd.Process.Pid, "parent"}) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == path {
				all = append(all, m.room)
			}
		}
	}
	return all
}

// TestFilter: in the modes that ask it the device goes to lookupd, in each
// generation and to a replacement, and to nobody else; the parent keeps none. A
// file stands in for it.
func TestFilter(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t, "mode fixed")
		device := func(mode string) string { return h.dir + "/" + mode }
		if err := os.WriteFile(device("pf"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		h.start(asNobody, "GATED_FILTER="+h.dir+"/")
		h.working()
		if n := h.count("packet filter"); n > 0 {
			t.Errorf("handed over %d times in a mode that asks none", n)
		}
		only := func(mode string, n int) {
			t.Helper()
			h.waitFor("packet filter room=lookupd, started=false", n)
			// Into rooms only root may look.
			if got := fmt.Sprint(h.holders(device(mode))); os.Geteuid() == 0 && got != "[lookupd]" {
				t.Errorf("%s is held by %s", mode, got)
			}
		}
		h.configure("mode pf")
		h.signal(unix.SIGHUP)
		h.waitFor("ready generation=2", 1)
		h.until("the first lookupd has ended", func() bool { return len(h.room("lookupd")) == 1 })
		only("pf", 1)
		unix.Kill(h.room("lookupd")[0].pid, unix.SIGKILL)
		h.waitFor("room will be replaced room=lookupd", 1)
		only("pf", 2)

		// One that is absent, or not to be opened, changes nothing.
		h.configure("mode ipfilter")
		h.signal(unix.SIGHUP)
		h.waitFor("reload failed, nothing has changed error=mode ipfilter: open "+device("ipfilter")+": no such file or directory: Linux has no such", 1)
		only("pf", 2)
		if asNobody {
			if err := os.WriteFile(device("ipfilter"), nil, 0); err != nil {
				t.Fatal(err)
			}
			h.signal(unix.SIGHUP)
			h.waitFor("reload failed, nothing has changed error=mode ipfilter: open "+device("ipfilter")+": permission denied: start as root", 1)
		}
		if n := h.count("ready generation="); n != 2 {
			t.Errorf("%d generations came into force", n)
		}
		os.Remove(device("ipfilter"))
		if err := os.WriteFile(device("ipfilter"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		h.signal(unix.SIGHUP)
		h.waitFor("listen=", 3)
		h.until("the lookupd before has ended", func() bool { return len(h.room("lookupd")) == 1 })
		only("ipfilter", 3)
	})
}

// TestFilterGone: a device that is gone when lookupd is replaced is tried for
// again and again, and everything else goes on.
func TestFilterGone(t *testing.T) {
	h := newHouse(t, "mode pf")
	device := h.dir + "/pf"
	if err := os.WriteFile(device, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start(true, "GATED_FILTER="+h.dir+"/")
	h.working()
	if err := os.Rename(device, device+".away"); err != nil {
		t.Fatal(err)
	}
	unix.Kill(h.room("lookupd")[0].pid, unix.SIGKILL)
	h.waitFor("lookupd gets no packet filter error=mode pf: open "+device, 2)
	if err := os.Rename(device+".away", device); err != nil {
		t.Fatal(err)
	}
	h.waitFor("packet filter room=lookupd", 2)
}
