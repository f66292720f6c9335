//go:build linux

package parent

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// runFolder makes the folder of the pid file before the daemon does.
func (h *house) runFolder() string {
	h.Helper()
	dir := h.dir + "/run"
	if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		h.Fatal(err)
	}
	return dir
}

// another is a second daemon of the same configuration.
func (h *house) another() *house {
	return &house{T: h.T, dir: h.dir, conf: h.conf, more: make(chan struct{}, 1), ended: make(chan struct{})}
}

func TestPidFile(t *testing.T) {
	h := newHouse(t)
	pid := h.runFolder() + "/pid"
	// Left behind by a crash; its number is somebody else's now.
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := host.FindDaemon(pid); err == nil {
		t.Error("a pid file that was left behind was believed")
	}
	h.start(true)
	h.waitFor("ready generation=1", 1)
	if p, err := host.FindDaemon(pid); err != nil || p.Pid != h.cmd.Process.Pid {
		t.Errorf("pid file says %v, %v; want %d", p, err, h.cmd.Process.Pid)
	}
	if info, err := os.Stat(pid + ".lock"); err != nil || info.Mode() != 0o600 {
		t.Errorf("the lock is %v, %v", info.Mode(), err)
	}
	second := h.another()
	second.start(true)
	if second.end() == 0 {
		t.Error("a second daemon ran")
	}
	second.waitFor("another daemon is running, process "+strconv.Itoa(h.cmd.Process.Pid), 1)
	if _, err := os.Stat(h.dir + "/run/control"); err != nil {
		t.Error("the second daemon took the first one's control socket away:", err)
	}
	// Somebody writes another number into it.
	mine := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if err := os.WriteFile(pid, mine, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := host.FindDaemon(pid); err == nil || !strings.Contains(err.Error(), "but the daemon is process "+strconv.Itoa(h.cmd.Process.Pid)) {
		t.Errorf("we are taken for the daemon: %v", err)
	}
	h.signal(unix.SIGKILL)
	h.end()
	if _, err := host.FindDaemon(pid); err == nil || !strings.Contains(err.Error(), "left behind") {
		t.Errorf("we are taken for the daemon, now that it is dead: %v", err)
	}
	third := h.another()
	third.start(true)
	third.waitFor("ready generation=1", 1)
	third.signal(unix.SIGTERM)
	third.end()
	if _, err := os.Stat(pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pid file is there still: %v", err)
	}
}

// TestPidFileHeld: whatever others put in the place of our files or hold of them,
// the daemon starts, and does nothing to what that leads to.
func TestPidFileHeld(t *testing.T) {
	other := []byte("not ours\n")
	write := func(path string) error { return os.WriteFile(path, other, 0o644) }
	flock := func(t *testing.T, path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		t.Cleanup(func() { f.Close() })
		return unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	for name, trap := range map[string]func(t *testing.T, dir, file string) error{
		"a file": func(_ *testing.T, _, file string) error { return write(file) },
		"a locked file": func(t *testing.T, _, file string) error {
			return errors.Join(write(file), flock(t, file))
		},
		"a file locked as ours is": func(t *testing.T, _, file string) error {
			if err := write(file); err != nil {
				return err
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { f.Close() })
			lock := unix.Flock_t{Type: unix.F_WRLCK}
			return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
		},
		"a link":                    func(_ *testing.T, dir, file string) error { return os.Symlink(dir+"/other", file) },
		"a link that leads nowhere": func(_ *testing.T, dir, file string) error { return os.Symlink(dir+"/nowhere", file) },
		"another file's name":       func(_ *testing.T, dir, file string) error { return os.Link(dir+"/other", file) },
		"a pipe":                    func(_ *testing.T, _, file string) error { return unix.Mkfifo(file, 0o666) },
		"a socket": func(_ *testing.T, _, file string) error {
			return unix.Mknod(file, unix.S_IFSOCK|0o666, 0)
		},
	} {
		for _, file := range []string{"pid", "pid.lock"} {
			t.Run(name+" as "+file, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, "workers 1")
				dir := h.runFolder()
				if err := errors.Join(write(dir+"/other"), trap(t, dir, filepath.Join(dir, file))); err != nil {
					t.Fatal(err)
				}
				h.start(true)
				h.waitFor("ready generation=1", 1)
				if p, err := host.FindDaemon(dir + "/pid"); err != nil || p.Pid != h.cmd.Process.Pid {
					t.Errorf("pid file says %v, %v; want %d", p, err, h.cmd.Process.Pid)
				}
				if b, err := os.ReadFile(dir + "/other"); err != nil || string(b) != string(other) {
					t.Errorf("what it led to holds %q, %v", b, err)
				}
				if _, err := os.Lstat(dir + "/nowhere"); err == nil {
					t.Error("what it led to was made")
				}
			})
		}
	}
}

// TestFindByOthers: who may not see whether the lock is held hears that, and
// signals nobody.
func TestFindByOthers(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	h := newHouse(t)
	h.start(false)
	h.waitFor("ready generation=1", 1)
	cmd := exec.Command("/proc/self/exe", "-x", "find", h.dir+"/run/pid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only root and the daemon's own user can see whether process") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestFailedStartTakesNothing: a pid file may be a daemon's that knows of no lock;
// one that does not start in its place leaves it alone.
func TestFailedStartTakesNothing(t *testing.T) {
	h := newHouse(t, "bind_address 192.0.2.1")
	pid := h.runFolder() + "/pid"
	if err := os.WriteFile(pid, []byte("1234567\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.start(true)
	if h.end() == 0 {
		t.Error("exit status 0")
	}
	if b, err := os.ReadFile(pid); err != nil || string(b) != "1234567\n" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

// TestRatesHeld: a store of rates that others may open they could lock.
func TestRatesHeld(t *testing.T) {
	h := newHouse(t)
	h.configure("ratelimit_path "+h.dir+"/rates", "ratelimit_expiration 60")
	store := h.dir + "/rates/rates.db"
	if err := errors.Join(os.Mkdir(h.dir+"/rates", 0o777), os.Chmod(h.dir+"/rates", 0o777), unix.Mkfifo(store, 0o666), os.Chmod(store, 0o666)); err != nil {
		t.Fatal(err)
	}
	h.start(true)
	if h.end() == 0 {
		t.Error("exit status 0")
	}
	h.waitFor("rates.db is not ours alone, it ", 1)
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	second := h.another()
	second.start(true)
	second.waitFor("ready generation=1", 1)
	if info, err := os.Stat(store); err != nil || info.Mode() != 0o600 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
}
