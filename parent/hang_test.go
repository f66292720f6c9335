//go:build linux

package parent

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// askOften has a family of tests ask its rooms each second.
const askOften = "GATED_ASK_EVERY=1s"

// strong is the name of a file while which is there KILL ends no room: as when
// the kernel waits with it for a disk.
const strong = "GATED_STRONG"

// testOptions reads what a test says to its parent by the environment.
func testOptions(o *Options) {
	o.Kernel, o.Without = os.Getenv("GATED_KERNEL"), os.Getenv("GATED_WITHOUT")
	o.askEvery, _ = time.ParseDuration(os.Getenv("GATED_ASK_EVERY"))
	path := os.Getenv(strong)
	if path == "" {
		return
	}
	o.killProcess = func(p *os.Process) error {
		go func() {
			for {
				if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
					p.Kill()
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		return nil
	}
}

// stop stops rooms. None of them outlives the test.
func (h *house) stop(rooms ...proc) {
	h.Helper()
	for _, p := range rooms {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			h.Fatal(err)
		}
		h.Cleanup(func() {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		})
		if err := unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0); err != nil {
			h.Fatal(err)
		}
	}
}

// TestHang: a room that answers nothing is ended and replaced, whatever its kind.
func TestHang(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t)
		h.start(asNobody, askOften)
		h.working()
		h.stop(h.rooms()...)
		for room, n := range map[string]int{"lockd": 1, "action": 1, "scand": 1, "lookupd": 1, "session": 2} {
			h.waitFor("room hangs room="+room, n)
			h.waitFor("room ended unasked room="+room, n)
			h.waitFor("started room="+room, 2*n)
		}
		h.waitFor("cause=signal: killed", 6)
		h.signal(unix.SIGUSR1) // the new lockd works
		h.until("a state file", func() bool { _, err := os.Stat(h.dir + "/run/state"); return err == nil })
	})
}

// TestHangAtBirth: neither is one waited for that never gets ready.
func TestHangAtBirth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "proxy_name hang-at-config:lockd")
	h.start(true, askOften)
	if s := h.end(); s != 1 {
		t.Errorf("exit status %d", s)
	}
	h.waitFor("room does not get ready room=lockd", 1)
}

// TestFamilyStopped: what was not answered while we slept ourselves is no silence.
func TestFamilyStopped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(true, askOften)
	h.working()
	all := append([]proc{{h.cmd.Process.Pid, "parent"}}, h.rooms()...)
	h.stop(all...)
	time.Sleep(6 * time.Second) // twice as long as a room may be silent
	for _, p := range all {
		if err := unix.Kill(p.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	// When one that does hang is noticed, the others would have been, too.
	h.stop(h.room("scand")...)
	h.waitFor("started room=scand", 2)
	if n := h.count("room hangs"); n != 1 {
		t.Errorf("%d rooms hang, of which one does", n)
	}
	if n := h.count("ended unasked"); n != 1 {
		t.Errorf("%d rooms ended", n)
	}
}

// TestLoad: lockd knows the load average before it is configured, and is told again: it
// could not ask.
func TestLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "proxy_name any")
	h.start(true, askOften)
	h.waitFor("load room=lockd, average=1.500000, configured=false", 1)
	h.waitFor("load room=lockd, average=1.500000, configured=true", 2)
	if n := h.count("load room="); n != h.count("load room=lockd") {
		t.Error("others are told the load")
	}
	// It is the only one that needs no other names.
	h.waitFor("works below its root room=lockd", 1)
	h.working()
	if n := h.count("works below its root"); n != 1 {
		t.Errorf("%d rooms work below their root directory", n)
	}
}

// TestGoroutines: how many goroutines each room has lockd hears once all have been asked
// whether they work; our own it hears, too.
func TestGoroutines(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(true, askOften)
	h.waitFor("family generation=1, rooms=7, crashes=0, uncounted=0", 1)
	h.signal(unix.SIGHUP)
	h.waitFor("family generation=2, rooms=7, crashes=0, uncounted=0", 1)
}

// TestStuck: a room that not even KILL ends is replaced, but once only; when it
// has died at last all is as it was.
func TestStuck(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	frozen := h.dir + "/frozen"
	if err := os.WriteFile(frozen, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start(true, askOften, strong+"="+frozen)
	h.working()
	first := h.room("scand")
	h.stop(first...)
	h.waitFor("room does not die room=scand, member=1, pid=", 1)
	h.waitFor("started room=scand", 2)
	second := h.room("scand")
	for i, p := range second {
		if p == first[0] {
			second = append(second[:i], second[i+1:]...)
			break
		}
	}
	h.stop(second...)
	h.waitFor("room does not die room=scand, member=2, pid=", 1)
	h.waitFor("replaced_now=false", 1)
	if err := os.Remove(frozen); err != nil {
		t.Fatal(err)
	}
	h.waitFor("room has died at last", 2)
	h.waitFor("started room=scand", 3)
	if n := len(h.room("scand")); n != 1 {
		t.Errorf("there are %d", n)
	}
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// TestStuckAtEnd: such a room does not hold up the end.
func TestStuckAtEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	frozen := h.dir + "/frozen"
	if err := os.WriteFile(frozen, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start(true, askOften, strong+"="+frozen)
	h.working()
	h.stop(h.room("lookupd")...)
	h.waitFor("room hangs", 1)
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	h.waitFor("room does not die room=lookupd", 1)
	os.Remove(frozen)
}

// TestStuckAndCrash: that its replacement crashes brings no second one for it.
func TestStuckAndCrash(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	frozen := h.dir + "/frozen"
	if err := os.WriteFile(frozen, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start(true, askOften, strong+"="+frozen)
	h.working()
	first := h.room("scand")
	h.stop(first...)
	h.waitFor("room does not die room=scand, member=1, pid=", 1)
	h.waitFor("started room=scand", 2)
	for _, p := range h.room("scand") { // numbers begin anew: the second may be before the first
		if !slices.Contains(first, p) {
			unix.Kill(p.pid, unix.SIGKILL)
		}
	}
	h.waitFor("started room=scand", 3)
	h.stop(h.room("scand")...)
	h.waitFor("room does not die room=scand, member=3, pid=", 1)
	if n := h.count("replaced_now=false"); n != 1 {
		t.Errorf("%d rooms were not replaced", n)
	}
	os.Remove(frozen)
	h.waitFor("room has died at last", 2)
	h.waitFor("started room=scand", 4)
}
