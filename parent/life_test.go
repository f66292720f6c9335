//go:build linux

package parent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(int(imsgtest.Port(t).Port()))
}

func reachable(port string) bool {
	c, err := net.Dial("tcp4", "127.0.0.1:"+port)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// TestBrake: a room that dies as soon as it works is restarted slower and slower.
func TestBrake(t *testing.T) {
	h := newHouse(t, "workers 1", "proxy_name die-at-start:session")
	h.start(true)
	for _, pause := range []string{"100ms", "200ms", "400ms", "800ms"} {
		h.waitFor("pause="+pause, 1)
	}
	if n := h.count("dying"); n > 5 {
		t.Errorf("%d deaths so early", n)
	}
	h.waitFor("cause=exit status 7", 4)
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// TestRoomCannotStart: whoever starts the family sees why it does not.
func TestRoomCannotStart(t *testing.T) {
	h := newHouse(t, "proxy_name die-at-config:lockd")
	h.start(true)
	if s := h.end(); s != 1 {
		t.Errorf("exit status %d", s)
	}
	h.waitFor("text=panic: as told", 1)
	h.until("the error on stderr", func() bool { return h.log()[len(h.log())-1] == "lockd 1 did not get ready: panic: as told" })
	if _, err := os.Stat(h.dir + "/run/pid"); err == nil {
		t.Error("the pid file was left behind")
	}
	if _, err := os.Stat(h.dir + "/run/control"); err == nil {
		t.Error("the control socket was left behind")
	}
}

func TestStartErrors(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		name, option, want string
		root               bool
	}{
		{"busy port", "port " + busy, "listen on 127.0.0.1:" + busy + ": the address is in use", false},
		{"foreign address", "bind_address 192.0.2.1", "listen on 192.0.2.1:0: ", false},
		{"unknown user", "user_lock nosuchuser", `user "nosuchuser" of the lockd room does not exist: create it, or name another with user_lock`, true},
		{"bad option", "mode none", "mode: is none", false},
		{"no packet filter", "mode pf", "mode pf: open pf: no such file or directory: Linux has no such packet filter, use mode netfilter", false},
		{"log", "log_target /proc/nowhere/log", "log_target /proc/nowhere/log: ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && !rooted() {
				imsgtest.Lacks(t, "no root")
			}
			h := newHouse(t, c.option)
			h.start(!c.root)
			if h.end() == 0 {
				t.Error("exit status 0")
			}
			h.waitFor(c.want, 1)
			if _, err := os.Stat(h.dir + "/run/pid"); err == nil {
				t.Error("the pid file was left behind")
			}
		})
	}
}

// TestForeignFolder: a folder that exists is not given to anybody.
func TestForeignFolder(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	h := newHouse(t)
	if err := os.Mkdir(h.dir+"/lock", 0o755); err != nil {
		t.Fatal(err)
	}
	h.start(false)
	h.waitFor("lock_path: "+h.dir+"/lock belongs to uid 0, mode 0755, but uid 65534 must be able to work in it: chown 65534 "+h.dir+"/lock", 1)
	if h.end() == 0 {
		t.Error("exit status 0")
	}
}

func TestReload(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		one, two := freePort(t), freePort(t)
		h := newHouse(t, "port "+one, "proxy_name linger:session first")
		h.start(asNobody)
		h.waitFor("ready generation=1", 1)
		lockd := h.room("lockd")
		h.configure("listen 127.0.0.1:"+one+", 127.0.0.1:"+two, "proxy_name second", "pidfile "+h.dir+"/other")
		h.signal(unix.SIGHUP)
		h.waitFor("ready generation=2", 1)
		h.waitFor("option=pidfile", 1)
		h.waitFor("configured room=lockd, name=second", 1)
		if now := h.room("lockd"); fmt.Sprint(now) != fmt.Sprint(lockd) {
			t.Errorf("lockd was %v and is %v", lockd, now)
		}
		if !reachable(one) || !reachable(two) {
			t.Error("not both ports are served")
		}
		if n := len(h.room("session")); n != 4 {
			t.Errorf("%d session workers, two of them busy; want 4", n)
		}
		if err := os.WriteFile(h.dir+"/msg/go", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		h.until("the old generation is gone", func() bool { return len(h.rooms()) == 6 })

		h.configure("port "+two, "proxy_name third")
		h.signal(unix.SIGHUP)
		h.waitFor("ready generation=3", 1)
		h.until("the first port is closed", func() bool { return !reachable(one) })
		if !reachable(two) {
			t.Error("the second port is closed")
		}
	})
}

// TestBadReload: an error keeps everything and says where it is.
func TestBadReload(t *testing.T) {
	h := newHouse(t, "workers 1")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	before := fmt.Sprint(h.rooms())
	h.configure("max_load many")
	h.signal(unix.SIGHUP)
	h.waitFor("reload failed, nothing has changed error="+h.conf+":13: max_load", 1)
	h.configure("listen 127.0.0.1:0, 192.0.2.1:25")
	h.signal(unix.SIGHUP)
	h.waitFor("reload failed, nothing has changed error=listen on 192.0.2.1:25", 1)
	h.configure("workers 1", "proxy_name die-at-config:session")
	h.signal(unix.SIGHUP)
	h.waitFor("reload failed, nothing has changed error=session 2 did not get ready: panic: as told", 1)
	h.until("the new rooms are gone", func() bool { return fmt.Sprint(h.rooms()) == before })
	// Nobody writes to it, and the loop must not wait for somebody who does.
	if err := errors.Join(os.Remove(h.conf), unix.Mkfifo(h.conf, 0o644)); err != nil {
		t.Fatal(err)
	}
	h.signal(unix.SIGHUP)
	h.waitFor("reload failed, nothing has changed error=read configuration: "+h.conf+" is no regular file", 1)
	if err := os.Remove(h.conf); err != nil {
		t.Fatal(err)
	}
	h.configure("workers 1", "proxy_name good")
	h.signal(unix.SIGHUP)
	h.waitFor("configured room=lockd, name=good", 1)
}

// TestGenerationsAreBounded: sessions that never end do not pile up families, and
// put no reload off. The oldest generation must end.
func TestGenerationsAreBounded(t *testing.T) {
	h := newHouse(t, "workers 1", "proxy_name linger:session")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	last := maxGenerations + 4
	for g := 2; g <= last; g++ {
		h.signal(unix.SIGHUP)
		h.waitFor("ready generation="+strconv.Itoa(g)+",", 1)
	}
	h.waitFor("closing=0 end=true", last-maxGenerations)
	h.until("the rooms of the youngest generations", func() bool {
		return len(h.room("scand")) == maxGenerations && len(h.room("session")) == maxGenerations
	})
	if n := h.count("end=true"); n != last-maxGenerations {
		t.Errorf("%d generations had to end, not %d", n, last-maxGenerations)
	}
	if err := os.WriteFile(h.dir+"/msg/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.until("one generation is left", func() bool { return len(h.rooms()) == 5 })
}

// TestOldGenerationEnds: drain_timeout binds it, too.
func TestOldGenerationEnds(t *testing.T) {
	h := newHouse(t, "workers 1", "proxy_name linger:session", "drain_timeout 0")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	h.signal(unix.SIGHUP)
	h.waitFor("drain_timeout has passed, the last sessions are ended generation=1", 1)
	h.waitFor("closing=0 end=true", 1)
	h.until("one generation is left", func() bool { return h.count("ready generation=2") == 1 && len(h.rooms()) == 5 })
}

// TestReloadIsComplete: it is not before every old worker has stopped accepting,
// and one that never says so is ended.
func TestReloadIsComplete(t *testing.T) {
	h := newHouse(t, "workers 2", "proxy_name deaf:session linger:session")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	old := h.room("session")
	h.configure("proxy_name good")
	h.signal(unix.SIGHUP)
	h.waitFor("text=session drains", 2)
	h.signal(unix.SIGHUP) // waits for its turn
	if err := unix.Kill(old[0].pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitFor("room ended unasked room=session", 1)
	if h.count("ready generation=2") != 0 {
		t.Error("a reload was complete while an old worker could accept")
	}
	h.waitFor("room does not stop accepting room=session", 1)
	h.waitFor("ready generation=3", 1)
	var order []string
	for _, line := range h.log() {
		for _, what := range []string{"room does not stop accepting", "ready generation=2", "reloading file", "ready generation=3"} {
			if strings.Contains(line, what) {
				order = append(order, what)
			}
		}
	}
	if got := strings.Join(order, ", "); got != "reloading file, room does not stop accepting, ready generation=2, reloading file, ready generation=3" {
		t.Error(got)
	}
}

func TestStateFile(t *testing.T) {
	h := newHouse(t, "statefile_perm 0604")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	h.signal(unix.SIGUSR1)
	state := filepath.Join(h.dir, "run/state")
	h.until("the state file", func() bool { _, err := os.Stat(state); return err == nil })
	text, err := os.ReadFile(state)
	if err != nil || string(text) != "the state\n" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(state + ".tmp"); err == nil {
		t.Error("the temporary file was left behind")
	}
	// While lockd is away the wish is kept.
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(h.room("lockd")[0].pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitFor("ended unasked room=lockd", 1)
	h.signal(unix.SIGUSR1)
	h.until("the next state file", func() bool { _, err := os.Stat(state); return err == nil })
}

func TestStop(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		port := freePort(t)
		h := newHouse(t, "port "+port, "proxy_name linger:session")
		h.start(asNobody)
		h.waitFor("ready generation=1", 1)
		h.signal(unix.SIGTERM)
		h.waitFor("asked to stop", 1)
		h.until("the pid file is removed", func() bool { _, err := os.Stat(h.dir + "/run/pid"); return err != nil })
		if n := len(h.rooms()); n != 6 {
			t.Errorf("%d rooms serve the last sessions, want 6", n)
		}
		// The scanners are needed until the last session is over.
		scand := h.room("scand")[0]
		if err := unix.Kill(scand.pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.waitFor("started room=scand", 2)
		if err := os.WriteFile(h.dir+"/msg/go", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if s := h.end(); s != 0 {
			t.Errorf("exit status %d", s)
		}
	})
}

func TestStopTwice(t *testing.T) {
	h := newHouse(t, "proxy_name linger:session")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	h.signal(unix.SIGTERM)
	h.waitFor("asked to stop", 1)
	h.signal(unix.SIGQUIT)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

func TestDrainTimeout(t *testing.T) {
	h := newHouse(t, "proxy_name linger:session", "drain_timeout 1")
	h.start(true)
	h.waitFor("ready generation=1", 1)
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	h.waitFor("drain_timeout has passed", 1)
	h.waitFor("closing=1 end=false", 2)
	h.waitFor("closing=0 end=true", 2)
}

func TestNotify(t *testing.T) {
	h := newHouse(t)
	path := filepath.Join(h.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	alive := false
	expect := func(parts ...string) {
		t.Helper()
		b := make([]byte, 1000)
		for {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("waiting for %v: %v", parts, err)
			}
			if string(b[:n]) == "WATCHDOG=1" {
				alive = true
				continue
			}
			for _, part := range parts {
				if !strings.Contains(string(b[:n]), part) {
					t.Errorf("%q lacks %q", b[:n], part)
				}
			}
			return
		}
	}
	h.start(true, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=100000")
	expect("READY=1\n", "MAINPID="+strconv.Itoa(h.cmd.Process.Pid), "\nWATCHDOG=1")
	h.signal(unix.SIGHUP)
	expect("RELOADING=1\n", "MONOTONIC_USEC=")
	expect("READY=1\n")
	h.configure("nonsense 1")
	h.signal(unix.SIGHUP)
	expect("RELOADING=1\n")
	expect("READY=1\n", "STATUS=serving; the last reload failed: "+h.conf+":13: nonsense")
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "WATCHDOG=1" && !alive {
		t.Errorf("no sign of life: %q, %v", b[:n], err)
	}
	for _, p := range h.room("action") {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		if err == nil && strings.Contains(string(env), "NOTIFY_SOCKET=") {
			t.Error("scripts could speak to the service manager in our name")
		}
	}
	h.signal(unix.SIGTERM)
	expect("STOPPING=1\n")
}
