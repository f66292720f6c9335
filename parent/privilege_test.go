//go:build linux

package parent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// without names, by number, capabilities that a test's parent does not have.
const without = "GATED_WITHOUT"

// loseCapabilities is what the environment of a test's parent says.
func loseCapabilities() error {
	have, err := sandbox.Capabilities()
	for word := range strings.FieldsSeq(os.Getenv(without)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		have &^= 1 << n
		if n == unix.CAP_SYS_RESOURCE { // else it may not be needed
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 8192, Max: 8192}); err != nil {
				return err
			}
		}
	}
	if err != nil || os.Getenv(without) == "" {
		return err
	}
	_, err = sandbox.Keep(have, true)
	return err
}

// lacking is an environment for start.
func lacking(capabilities ...int) string {
	return without + "=" + strings.Trim(fmt.Sprint(capabilities), "[]")
}

// few is what a parent keeps in fixed mode.
const few = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_KILL | 1<<unix.CAP_DAC_READ_SEARCH

// lowPort has a family listen on port 25, in a network of its own.
const lowPort = "bind_address 0.0.0.0\nport 25"

// startAlone starts the family, as root, in a network of its own.
func (h *house) startAlone(env ...string) {
	h.Helper()
	if !rooted() {
		h.Skip("needs root")
	}
	cmd := exec.Command("/proc/self/exe", "-x", "parent", h.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	h.run(cmd, false, env...)
}

// keeps compares what all of the parent's threads have, and what those it starts may
// have.
func (h *house) keeps(have, bounding uint64) {
	h.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", h.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		h.Fatalf("threads %v, error %v", tasks, err)
	}
	for _, task := range tasks {
		status := statusIn(task)
		if len(status) == 0 {
			continue // a thread that ended
		}
		for key, want := range map[string]uint64{"CapPrm": have, "CapEff": have, "CapBnd": bounding} {
			if want := fmt.Sprintf("%016x", want); status[key] != want {
				h.Errorf("%s: %s is %s, want %s", task, key, status[key], want)
			}
		}
	}
}

// ownBounding is what the tests may start.
func ownBounding(t *testing.T) uint64 {
	n, err := strconv.ParseUint(procStatus(os.Getpid())["CapBnd"], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPrivilege: in fixed mode the parent keeps seven capabilities, and with them a
// reload, a replacement, the end of a room that hangs and the end of all still work.
func TestPrivilege(t *testing.T) {
	t.Parallel()
	h := newHouse(t, lowPort)
	h.startAlone(askOften)
	h.working()
	const seven = few | 1<<unix.CAP_NET_BIND_SERVICE
	h.keeps(seven, seven)
	for _, p := range h.room("action") { // it has nothing to start
		if got := procStatus(p.pid)["CapBnd"]; got != fmt.Sprintf("%016x", uint64(seven)) {
			t.Errorf("the action room may start %s", got)
		}
	}

	h.configure(lowPort, "workers 3", "proxy_name again", "listen 0.0.0.0:25,0.0.0.0:26")
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
	h.until("the old ones have ended", func() bool { return len(h.rooms()) == 1+1+1+1+3 })
	unix.Kill(h.room("lockd")[0].pid, unix.SIGKILL)
	h.waitFor("started room=lockd", 2)
	h.stop(h.room("scand")...)
	h.waitFor("room hangs room=scand", 1)
	h.waitFor("started room=scand", 3)
	h.keeps(seven, seven)
	h.signal(unix.SIGTERM)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	for _, name := range []string{"pid", "control"} {
		if _, err := os.Stat(h.dir + "/run/" + name); err == nil {
			t.Errorf("%s was left behind", name)
		}
	}
	for _, bad := range []string{"there is no CAP_", "cannot be killed", "does not die", "ermitted", "denied"} {
		if n := h.count(bad); n > 0 {
			t.Errorf("%d × %q", n, bad)
		}
	}
}

// TestPrivilegeOfScript: what a script starts by sudo has all that the parent was
// given.
func TestPrivilegeOfScript(t *testing.T) {
	t.Parallel()
	h := newHouse(t, lowPort, "action_script /bin/true")
	h.startAlone()
	h.working()
	all := ownBounding(t)
	h.keeps(few|1<<unix.CAP_NET_BIND_SERVICE, all)
	for _, p := range h.room("action") {
		if got := procStatus(p.pid)["CapBnd"]; got != fmt.Sprintf("%016x", all) {
			t.Errorf("the action room may start %s", got)
		}
	}
}

// TestPrivilegeNeeded: what else is needed is kept, and nothing more.
func TestPrivilegeNeeded(t *testing.T) {
	t.Parallel()
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	foreign := func(t *testing.T, h *house, name string) {
		t.Helper()
		if err := os.Mkdir(h.dir+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(h.dir+"/"+name, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		options string // DIR is the house's
		more    uint64
	}{
		"nothing":     {"port 0", 0},
		"tproxy":      {"mode tproxy", 1 << unix.CAP_NET_ADMIN},
		"getsockname": {"mode getsockname", 1 << unix.CAP_NET_ADMIN},
		"mark":        {"so_mark 7", 1 << unix.CAP_NET_ADMIN},
		"priority":    {"priority -3", 1 << unix.CAP_SYS_NICE},
		"nicer":       {"priority 3", 0},
		"pid file":    {"pidfile DIR/foreign/pid", 1 << unix.CAP_DAC_OVERRIDE},
		"state file":  {"statefile DIR/foreign/state", 1 << unix.CAP_DAC_OVERRIDE},
		"below it":    {"statefile DIR/foreign/new/state", 0}, // which is root's once it is made
		"control":     {"control_socket DIR/foreign/control", 1 << unix.CAP_DAC_OVERRIDE},
		"rates":       {"ratelimit_expiration 60\nratelimit_path DIR/foreign", 1 << unix.CAP_DAC_OVERRIDE},
		"group":       {"control_group 12345", 0},
		"exemptions":  {"lock_path DIR/foreign/lock", 1 << unix.CAP_DAC_OVERRIDE},
		"read":        {"control_read_socket DIR/foreign/status", 1 << unix.CAP_DAC_OVERRIDE},
		"read group":  {"control_read_group 12345", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			foreign(t, h, "foreign")
			h.configure(strings.ReplaceAll(c.options, "DIR", h.dir))
			h.startAlone()
			h.working()
			want := few | c.more
			h.keeps(want, want)
			// With these it starts again, for nothing has to be made now.
			h.signal(unix.SIGHUP)
			h.waitFor("ready generation=2", 1)
			h.signal(unix.SIGUSR1)
			h.until("a state file", func() bool {
				for _, dir := range []string{"run", "foreign", "foreign/new"} {
					if _, err := os.Stat(h.dir + "/" + dir + "/state"); err == nil {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestPrivilegeMissing: each capability that is missing has its message, and what the
// start can do without is done without.
func TestPrivilegeMissing(t *testing.T) {
	t.Parallel()
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	for name, c := range map[string]struct {
		number  int
		options string
		starts  bool
		says    string
	}{
		"SETUID":           {unix.CAP_SETUID, "", false, "there is no CAP_SETUID to make a room its user"},
		"SETGID":           {unix.CAP_SETGID, "", false, "there is no CAP_SETGID to give a room its groups"},
		"SYS_CHROOT":       {unix.CAP_SYS_CHROOT, "", false, "there is no CAP_SYS_CHROOT to lock a room into"},
		"SETPCAP":          {unix.CAP_SETPCAP, "", true, "there is no CAP_SETPCAP to take all capabilities from a room"},
		"KILL":             {unix.CAP_KILL, "", true, "there is no CAP_KILL to end a room that hangs, needed for every configuration"},
		"NET_BIND_SERVICE": {unix.CAP_NET_BIND_SERVICE, lowPort, false, "there is no CAP_NET_BIND_SERVICE to listen on a port below 1024, needed for bind_address: port 25"},
		"NET_ADMIN":        {unix.CAP_NET_ADMIN, "mode tproxy", false, "there is no CAP_NET_ADMIN to make sockets for others' addresses, and marked ones, needed for mode tproxy"},
		"SYS_NICE":         {unix.CAP_SYS_NICE, "priority -3", false, "there is no CAP_SYS_NICE to give a room a better priority, needed for priority -3"},
		"SYS_RESOURCE":     {unix.CAP_SYS_RESOURCE, "max_connections 1700", false, "there is no CAP_SYS_RESOURCE to raise a room's limit of descriptors, needed for 10264 descriptors of session"},
		"FOWNER":           {unix.CAP_FOWNER, "", true, "ready"}, // no need of it
		"CHOWN":            {unix.CAP_CHOWN, "", false, "there is no CAP_CHOWN to give a folder to its room, needed for spool_path: DIR/msg is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, c.options)
			all := []int{c.number}
			if c.number == unix.CAP_NET_ADMIN {
				all = append(all, unix.CAP_NET_RAW)
			}
			h.startAlone(lacking(all...))
			h.waitFor(strings.ReplaceAll(c.says, "DIR", h.dir), 1)
			if c.starts {
				h.working()
				h.signal(unix.SIGHUP) // that what never was there is missing keeps nothing from coming
				h.waitFor("ready generation=2", 1)
				return
			}
			if s := h.end(); s != 1 {
				t.Errorf("exit status %d", s)
			}
			h.waitFor("(without CAP_"+name+")", 1)
		})
	}
}

// TestPrivilegeInstead: there are two that do for another, but only where that is not
// to be had. Without both it is said.
func TestPrivilegeInstead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options     string
		gone, other int
	}{
		{"mode fixed", unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE},
		{"mode tproxy", unix.CAP_NET_ADMIN, unix.CAP_NET_RAW},
	} {
		h := newHouse(t, c.options)
		h.startAlone(lacking(c.gone))
		h.working()
		instead := few&^(uint64(1)<<c.gone) | 1<<c.other
		h.keeps(instead, instead)
		if n := h.count("there is no CAP_"); n > 0 {
			t.Error("something is missing")
		}
	}
	h := newHouse(t)
	h.startAlone(lacking(unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE))
	h.waitFor("there is no CAP_DAC_READ_SEARCH to pass through folders of other users", 1)
}

// TestPrivilegeToKill: a room that cannot be ended does not keep the family, and it is
// said.
func TestPrivilegeToKill(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.startAlone(lacking(unix.CAP_KILL))
	h.working()
	h.stop(h.room("lookupd")...)
	h.signal(unix.SIGTERM)
	h.waitFor("room cannot be killed room=lookupd, member=1, error=operation not permitted", 1)
	if s := h.end(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// TestPrivilegeOfAScript: where nothing could be taken from what is started, a reload
// may bring a script.
func TestPrivilegeOfAScript(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.startAlone(lacking(unix.CAP_SETPCAP))
	h.working()
	const kept = few &^ (1 << unix.CAP_SETPCAP)
	h.keeps(kept, ownBounding(t)&^(1<<unix.CAP_SETPCAP))
	h.configure("action_script /bin/true")
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
}

// TestPrivilegeByReload: a reload that needs more than is left changes nothing, and
// says why.
func TestPrivilegeByReload(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "proxy_name old")
	h.startAlone()
	h.working()
	h.keeps(few, few)
	before := h.rooms()
	slices.SortFunc(before, func(a, b proc) int { return a.pid - b.pid })
	failed := 0
	for _, c := range []struct{ options, says string }{
		{"mode tproxy", "mode tproxy: needs a restart: no CAP_NET_ADMIN is left to make sockets for others' addresses"},
		{"mode getsockname", "mode getsockname: needs a restart: no CAP_NET_ADMIN is left"},
		{"so_mark 7", "so_mark: needs a restart: no CAP_NET_ADMIN is left"},
		{lowPort, "bind_address: port 25: needs a restart: no CAP_NET_BIND_SERVICE is left to listen on a port below 1024"},
		{"listen 0.0.0.0:0,0.0.0.0:26", "listen: port 26: needs a restart: no CAP_NET_BIND_SERVICE"},
		{"spool_path " + h.dir + "/new", "spool_path: " + h.dir + "/new is missing: needs a restart: no CAP_CHOWN is left to give a folder to its room"},
		{"log_target " + h.dir + "/msg/log", "log_target: " + h.dir + "/msg is another user's: needs a restart: no CAP_DAC_OVERRIDE is left to write"},
		{"action_script /bin/true", "action_script: needs a restart: none was to be started"},
		{"so_mark 7\n" + lowPort, "left to listen on a port below 1024; so_mark: needs a restart"},
	} {
		h.configure(c.options, "proxy_name new")
		h.signal(unix.SIGHUP)
		failed++
		h.waitFor("reload failed, nothing has changed error=", failed)
		if h.count(c.says) == 0 {
			t.Errorf("nothing says %q", c.says)
		}
	}
	after := h.rooms()
	slices.SortFunc(after, func(a, b proc) int { return a.pid - b.pid })
	if !slices.Equal(before, after) || h.count("name=new") > 0 {
		t.Errorf("rooms were %v, are %v", before, after)
	}
	if _, err := os.Stat(h.dir + "/new"); err == nil {
		t.Error("a folder was made")
	}
	// What is there already may be given up and come back.
	h.configure("proxy_name new", "port 0")
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
}

// TestPrivilegeOfOthers: who is not root keeps what the service manager gave.
func TestPrivilegeOfOthers(t *testing.T) {
	t.Parallel()
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	h := newHouse(t, lowPort)
	cmd := exec.Command("/proc/self/exe", "-x", "parent", h.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET, AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE},
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
	}
	h.run(cmd, false)
	h.working()
	h.keeps(1<<unix.CAP_NET_BIND_SERVICE, ownBounding(t))
	for _, p := range h.rooms() {
		if got := procStatus(p.pid)["CapPrm"]; got != "0000000000000000" {
			t.Errorf("%s has %s", p.room, got)
		}
	}
	h.configure("bind_address 0.0.0.0", "listen 0.0.0.0:25,0.0.0.0:26")
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
	if n := h.count("there is no CAP_"); n > 0 {
		t.Error("something is missing")
	}
}
