//go:build linux

package parent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// TestRoomsInProc looks at every room the way an admin who does not trust us would.
func TestRoomsInProc(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t)
		h.start(asNobody)
		h.working()
		for room, links := range map[string]int{"session": 2 * 3, "lookupd": 2, "scand": 2, "lockd": 3, "action": 1} {
			h.waitFor("peer room="+room+",", links)
		}
		seen := map[string]int{}
		for _, p := range h.rooms() {
			seen[p.room]++
			t.Run(p.room, func(t *testing.T) { h.T = t; inspect(t, h, p, rooted() && !asNobody) })
		}
		h.T = t
		if want := fmt.Sprint(map[string]int{"session": 2, "lookupd": 1, "scand": 1, "lockd": 1, "action": 1}); fmt.Sprint(seen) != want {
			t.Errorf("rooms %v, want %v", seen, want)
		}
		parent := procStatus(h.cmd.Process.Pid)
		if parent["Name"] != "smtp-gated" {
			t.Errorf("the parent is called %s", parent["Name"])
		}
	})
}

func inspect(t *testing.T, h *house, p proc, root bool) {
	status := procStatus(p.pid)
	for key, want := range map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapAmb": "0000000000000000",
		"Name": "smtp-gated-" + p.room[:4],
	} {
		if !rooted() && (key == "Uid" || key == "Gid") {
			continue
		}
		if status[key] != want {
			t.Errorf("%s is %q, want %q", key, status[key], want)
		}
	}
	if g := status["Groups"]; root && g != "65534" {
		t.Errorf("groups %q", g)
	}
	script := p.room == "action"
	// The filter of system calls is two.
	for key, want := range map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "2"} {
		if script {
			want = statusIn("/proc/self/status")[key]
		}
		if status[key] != want {
			t.Errorf("%s is %s, want %s", key, status[key], want)
		}
	}
	if none := status["CapBnd"] == "0000000000000000"; root && none == script {
		t.Errorf("CapBnd is %s", status["CapBnd"])
	}
	// Each thread is bound, in a program that is linked with cgo, too.
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
	for _, thread := range threads {
		of := statusIn(thread)
		for _, key := range []string{"NoNewPrivs", "Seccomp_filters", "CapBnd", "CapPrm", "Uid"} {
			if got, want := of[key], status[key]; got != "" && got != want {
				t.Errorf("%s is %s in a thread, %s in another", key, got, want)
			}
		}
	}

	if sandbox.Marked(p.pid) == script {
		t.Errorf("what %s starts is taken for a room's: %t", p.room, !script)
	}

	want := map[string]string{"session": "msg", "action": "msg", "lockd": "lock", "scand": "run/empty", "lookupd": "run/empty"}[p.room]
	want = filepath.Join(h.dir, want)
	// Without root only the owner may look; the rooms are nobody's.
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid)); err == nil && cwd != want {
		t.Errorf("works in %s, want %s", cwd, want)
	}
	if !root || script {
		want = "/"
	}
	if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/root", p.pid)); err == nil && dir != want {
		t.Errorf("root is %s, want %s", dir, want)
	}
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid))
	if re := regexp.MustCompile(`Max open files +448 +448 `); p.room == "session" && len(limits) > 0 && !re.Match(limits) {
		t.Errorf("descriptors are not limited to 6 × 64 + 64:\n%s", limits)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid)); err == nil && !script {
		for _, v := range strings.FieldsFunc(string(env), func(r rune) bool { return r == 0 }) {
			if name, _, _ := strings.Cut(v, "="); !slices.Contains([]string{"GOTRACEBACK", "GOMAXPROCS", "TZ"}, name) {
				t.Errorf("%s stands in the environment", name)
			}
		}
	}
	descriptors(t, h, p)
}

// descriptors: /dev/null twice, the crash pipe, the log, links, what the
// runtime waits with; the session's listener, lockd's sockets, ledger, exemptions and directory.
func descriptors(t *testing.T, h *house, p proc) {
	dir := fmt.Sprintf("/proc/%d/fd", p.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skip("only root may look at the descriptors:", err)
	}
	count := map[string]int{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		kind, _, _ := strings.Cut(to, ":[")
		count[kind]++
	}
	links := map[string]int{"session": 3, "lookupd": 2, "scand": 2, "lockd": 3, "action": 1}[p.room] + 1
	want := map[string]int{"/dev/null": 2, "pipe": 2, "socket": links, "anon_inode": 0}
	switch p.room {
	case "session":
		want["socket"]++ // the listener
	case "lockd":
		want["socket"] += 2 // the operators' and the readers'
		want["/memfd:ledger (deleted)"] = 1
		want[filepath.Join(h.dir, "lock.exempt")] = 1
		want[filepath.Join(h.dir, "lock")] = 1 // all that it opens is below it
	}
	for kind, n := range count {
		if strings.HasPrefix(kind, "anon_inode") {
			continue // epoll and its wake-up
		}
		if want[kind] != n {
			t.Errorf("%d × %s, want %d; all: %v", n, kind, want[kind], count)
		}
	}
}

// TestInheritedDescriptor: what our starter left open does not reach a room.
func TestInheritedDescriptor(t *testing.T) {
	h := newHouse(t)
	f, err := os.Open(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h.inherit = []*os.File{f, f, f}
	h.start(false)
	h.working()
	for _, p := range h.rooms() {
		descriptors(t, h, p)
	}
}

// TestLimits: what limit_core_size, limit_fsize and priority say holds in each
// room and all of its threads.
func TestLimits(t *testing.T) {
	// Linux's call has 20 for none, and less for who is nicer.
	if our, err := unix.Getpriority(unix.PRIO_PROCESS, 0); os.Geteuid() != 0 && (err != nil || our < 20-5) {
		imsgtest.Lacks(t, "only root makes rooms less nice than we are")
	}
	const fsize = 20000000 + 8192
	for _, toFile := range []bool{false, true} {
		h := newHouse(t)
		options := []string{"limit_core_size 4096", "limit_fsize 20000000", "priority 5"}
		if toFile {
			options = append(options, "log_target "+h.dir+"/run/log")
		}
		h.configure(options...)
		h.start(false)
		if toFile {
			h.until("the family is ready", func() bool {
				log, _ := os.ReadFile(h.dir + "/run/log")
				return strings.Contains(string(log), "limit_fsize is not enforced") && strings.Contains(string(log), "ready generation=1")
			})
		} else {
			h.working()
		}
		for _, p := range h.rooms() {
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid))
			if err != nil {
				t.Skip("only root may look at the limits:", err)
			}
			if re := regexp.MustCompile(`Max core file size +4096 +4096 `); !re.Match(limits) && coreAllowed() >= 4096 {
				t.Errorf("%s: core dumps are not limited:\n%s", p.room, limits)
			}
			re := regexp.MustCompile(fmt.Sprintf(`Max file size +%d +%d `, fsize, fsize))
			if want := p.room == "session" && !toFile; re.Match(limits) != want {
				t.Errorf("%s: files are limited: %v, want %v:\n%s", p.room, !want, want, limits)
			}
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
			for _, task := range tasks {
				stat, err := os.ReadFile(task)
				if err != nil {
					continue // a thread that ended
				}
				_, rest, _ := strings.Cut(string(stat), ") ")
				if nice := strings.Fields(rest)[16]; nice != "5" { // proc(5): field 19 of all
					t.Errorf("%s: %s has priority %s", p.room, task, nice)
				}
			}
		}
	}
}

// trace tries to look into a process.
func trace(pid string) error {
	f, err := os.Open("/proc/" + pid + "/mem")
	if err == nil {
		f.Close()
		return errors.New("its memory can be read")
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // who traces is a thread
	if unix.PtraceAttach(n) == nil {
		unix.PtraceDetach(n)
		return errors.New("it can be traced")
	}
	return nil
}

// TestUntraced: no process of its user looks into a room, unless core dumps are wanted.
func TestUntraced(t *testing.T) {
	for option, open := range map[string]bool{
		"port 0": false, "limit_core_size 67108864": false, "limit_core_size 0": false, "limit_core_size -1": false,
		"limit_core_size 4096": true,
	} {
		both(t, func(t *testing.T, asNobody bool) {
			h := newHouse(t, option)
			h.start(asNobody)
			h.working()
			for _, p := range h.rooms() {
				cmd := exec.Command("/proc/self/exe", "-x", "tracer", strconv.Itoa(p.pid))
				if rooted() {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
				}
				if out, err := cmd.CombinedOutput(); (err != nil) != open {
					t.Errorf("%s: %s: %v %s", option, p.room, err, out)
				}
			}
		})
	}
}

// TestUnprotected: what protects the parent when memory runs out protects no room, nor
// what it starts.
func TestUnprotected(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	score := func(pid int) string {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		return strings.TrimSpace(string(text))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for parent, room := range map[string]string{"-300": "0", "200": "200"} {
		h := newHouse(t)
		h.run(exec.Command("/bin/sh", "-c", `echo `+parent+` > /proc/self/oom_score_adj; exec "$@"`, "sh", self, "-x", "parent", h.conf), false)
		h.working()
		if got := score(h.cmd.Process.Pid); got != parent {
			if parent != "-300" { // that takes a privilege, which root need not have
				t.Errorf("the parent's is %s, want %s", got, parent)
			}
			continue
		}
		for _, p := range h.rooms() {
			if got := score(p.pid); got != room {
				t.Errorf("parent %s, %s: %s, want %s", parent, p.room, got, room)
			}
		}
	}
}

// coreAllowed is what these tests may give.
func coreAllowed() uint64 {
	var l unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &l)
	return l.Max
}

// TestScanGroups: only scand keeps its user's supplementary groups.
func TestScanGroups(t *testing.T) {
	if !rooted() {
		imsgtest.Lacks(t, "no root")
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Skip("no /etc/group")
	}
	m := regexp.MustCompile(`(?m)^[^:]+:[^:]*:([1-9][0-9]*):([a-z_][a-z0-9_-]*)$`).FindStringSubmatch(string(groups))
	if m == nil || m[2] == "root" {
		t.Skip("no user of this machine has a supplementary group")
	}
	h := newHouse(t, "set_user "+m[2])
	h.start(false)
	h.working()
	for _, p := range h.rooms() {
		has := slices.Contains(strings.Fields(procStatus(p.pid)["Groups"]), m[1])
		if has != (p.room == "scand") {
			t.Errorf("%s has group %s of user %s: %v", p.room, m[1], m[2], has)
		}
	}
}

// TestOrphans: when the parent is gone, however it went, nobody is left.
func TestOrphans(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t)
		h.start(asNobody)
		h.working()
		all := h.rooms()
		h.signal(unix.SIGKILL)
		h.end()
		h.until("all rooms end", func() bool {
			for _, p := range all {
				if s := procStatus(p.pid)["State"]; s != "" && !strings.HasPrefix(s, "Z") {
					return false
				}
			}
			return true
		})
		if len(all) != 6 {
			t.Errorf("there were %d rooms", len(all))
		}
	})
}

// TestHeal kills each room in turn: another takes its place and is made known to
// all who talk to it.
func TestHeal(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		for room, peers := range map[string][]string{
			"session": {"lockd", "scand", "lookupd"}, "scand": {"session", "session"}, "lookupd": {"session", "session"},
			"lockd": {"session", "session", "action"}, "action": {"lockd"},
		} {
			t.Run(room, func(t *testing.T) {
				h := newHouse(t)
				h.start(asNobody)
				h.working()
				victim := h.room(room)[0]
				links := h.count("peer room=" + room)
				if err := unix.Kill(victim.pid, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				h.waitFor("cause=signal: killed", 1)
				h.waitFor("peer room="+room, links+len(peers))
				h.waitFor("started room="+room, 2)
				successor := map[bool]string{true: "3", false: "2"}[room == "session"]
				for _, peer := range peers {
					h.waitFor("peer room="+peer+", is="+room+", member="+successor, 1)
				}
				h.waitFor("crashes=1", 1)
				h.signal(unix.SIGTERM)
				if s := h.end(); s != 0 {
					t.Errorf("exit status %d", s)
				}
			})
		}
	})
}

// TestDeaf: a signal that is sent to everybody means the parent only.
func TestDeaf(t *testing.T) {
	h := newHouse(t)
	h.start(false)
	h.working()
	before := h.rooms()
	for _, p := range before {
		for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2} {
			if err := unix.Kill(p.pid, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.signal(unix.SIGHUP)
	h.waitFor("ready generation=2", 1)
	if n := h.count("ended unasked"); n > 0 {
		t.Errorf("%d rooms ended", n)
	}
}

// TestTimeZone: behind a chroot local time is still local time.
func TestTimeZone(t *testing.T) {
	const zone = "Asia/Tokyo"
	there, err := time.LoadLocation(zone)
	if err != nil {
		t.Skip(err)
	}
	h := newHouse(t)
	from := time.Now().Truncate(time.Second)
	h.start(false, "TZ="+zone)
	h.working()
	for _, line := range h.log() {
		at, err := time.ParseInLocation(time.Stamp, line[:len(time.Stamp)], there)
		if err != nil {
			t.Fatal(err)
		}
		if at = at.AddDate(from.In(there).Year(), 0, 0); at.Before(from) || at.Sub(from) > patience {
			t.Errorf("it is %v, the log says: %s", from.In(there), line)
		}
	}
}
