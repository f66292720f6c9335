//go:build linux

package parent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sleepers are the processes that rooms of this house have left behind.
func (h *house) sleepers() (all []int) {
	for _, pid := range pids() {
		// The first thread may be gone.
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if slices.ContainsFunc(threads, func(thread string) bool {
			line, _ := os.ReadFile(thread + "/cmdline")
			cwd, _ := os.Readlink(thread + "/cwd")
			return strings.HasPrefix(string(line), "sleep\x00") && strings.HasPrefix(cwd, h.dir+"/")
		}) {
			all = append(all, pid)
		}
	}
	return all
}

// leaving waits until a room has left processes behind, and returns room and processes.
// None of them outlives the test.
func (h *house) leaving(room string) (proc, []int) {
	h.Helper()
	h.Cleanup(func() {
		for _, pid := range h.sleepers() {
			unix.Kill(pid, unix.SIGKILL)
		}
	})
	h.waitFor("has children room="+room, 1)
	h.until("five children", func() bool { return len(h.sleepers()) == 5 })
	return h.room(room)[0], h.sleepers()
}

// gone tells whether a process is no more, not even as a zombie.
func gone(pid int) bool { return unix.Kill(pid, 0) == unix.ESRCH }

// TestLeftBehind: what has broken out of a room ends with it, whatever it did to get away,
// and so does what does so while the family ends.
func TestLeftBehind(t *testing.T) {
	for _, room := range []string{"session", "lockd"} {
		t.Run(room, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "workers 1", "proxy_name fork:"+room)
			h.start(true, "GATED_KERNEL=none") // on others it could not
			h.working()
			p, left := h.leaving(room)
			unix.Kill(p.pid, unix.SIGKILL)
			for _, pid := range left {
				h.until(fmt.Sprintf("%d has ended", pid), func() bool { return gone(pid) })
				if n := h.count(fmt.Sprintf("a room has left a process behind, it is ended pid=%d", pid)); n != 1 {
					t.Errorf("%d was named %d times", pid, n)
				}
			}
			h.waitFor("has children room="+room, 2)
			h.signal(unix.SIGTERM)
			if s := h.end(); s != 0 {
				t.Errorf("exit status %d", s)
			}
			if left := h.sleepers(); len(left) > 0 {
				t.Errorf("%v outlived the family", left)
			}
		})
	}
}

// TestScriptsJobs: what a script has left behind outlives its room, a reload and the
// family, and is reaped when it ends.
func TestScriptsJobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "workers 1", "proxy_name fork:action")
	h.start(true, "GATED_KERNEL=none") // on others it could not
	h.working()
	p, left := h.leaving("action")
	h.configure("workers 1")
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
	h.until("the old generation is gone", func() bool { return len(h.rooms()) == 5 && !slices.Contains(h.rooms(), p) })
	unix.Kill(left[0], unix.SIGKILL)
	h.until("it is reaped", func() bool { return gone(left[0]) })
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if still := h.sleepers(); !slices.Equal(still, left[1:]) {
		t.Errorf("%v are left of %v", still, left[1:])
	}
	if n := h.count("left a process behind"); n > 0 {
		t.Errorf("%d were taken for a room's", n)
	}
}

// TestChain: a daemon that one of ours has started, by a process in between that has
// ended, is nobody's orphan: it serves on when we do not.
func TestChain(t *testing.T) {
	t.Parallel()
	old, next := newHouse(t, "workers 1", "proxy_name chain:action"), newHouse(t, "workers 1")
	conf, err := os.ReadFile(next.conf)
	if err == nil {
		err = os.WriteFile(old.dir+"/next.conf", conf, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	old.start(true)
	old.until("the next daemon serves", func() bool {
		log, _ := os.ReadFile(old.dir + "/next.log")
		return strings.Contains(string(log), "ready generation=1")
	})
	text, err := os.ReadFile(next.dir + "/run/pid")
	pid, perr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || perr != nil {
		t.Fatal(err, perr)
	}
	t.Cleanup(func() { unix.Kill(pid, unix.SIGKILL) })
	unix.Kill(old.room("action")[0].pid, unix.SIGKILL)
	old.waitFor("room ended unasked room=action", 1)
	old.configure("workers 1")
	old.signal(unix.SIGHUP)
	old.waitFor("ready generation=2", 1)
	if parent := procStatus(pid)["PPid"]; parent != strconv.Itoa(old.cmd.Process.Pid) {
		t.Errorf("it is a child of %s", parent)
	}
	old.signal(unix.SIGTERM)
	if s := old.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	unix.Kill(pid, unix.SIGTERM)
	old.until("it ends when it is asked to", func() bool {
		log, _ := os.ReadFile(old.dir + "/next.log")
		return strings.HasSuffix(string(log), ": stopped\n")
	})
	log, _ := os.ReadFile(old.dir + "/next.log")
	if strings.Contains(string(log), "unasked") {
		t.Errorf("its rooms were ended:\n%s", log)
	}
}
