package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// gate is a daemon under test with its folder.
type gate struct {
	dir      string
	daemon   string // the program
	rooted   bool   // the rooms change user
	discreet bool   // the log does not say when it is ready
	keyed    bool   // its configuration has a certificate
	server   int    // port of the mail server
	watcher  watcher
	tls      *tls.Config // its crowds start with TLS; nil: they do not

	notify  *net.UnixConn
	cmd     *exec.Cmd // nil for one in the background
	ended   chan struct{}
	pid     int
	serving int // completed starts and reloads since the log began
	unsaid  int // of these, not in the log
}

// watcher has the daemon that a command runs watched: launched in its way, and from begun on.
type watcher interface {
	watch(*exec.Cmd) (begun func() error, err error)
}

// The accounts of the rooms: any that every system has and that differ.
var accounts = []struct{ room, user string }{
	{"session", "nobody"}, {"lookup", "daemon"}, {"scan", "games"}, {"lock", "man"}, {"action", "mail"}, {"keys", "sys"},
}

// unprivileged is who the daemon runs as without root.
const unprivileged = 65534

func newGate(dir string, rooted bool) (*gate, error) {
	// The rooms must get through to their folders.
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			return nil, err
		}
	}
	g := &gate{dir: dir, daemon: program("smtp-gated"), rooted: rooted}
	if err := os.Mkdir(g.path("run"), 0o755); err != nil {
		return nil, err
	}
	var err error
	g.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: g.path("notify"), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return g, os.Chmod(g.path("notify"), 0o777)
}

func (g *gate) path(name string) string { return filepath.Join(g.dir, name) }

// others tells that the daemon runs as another user than the test.
func (g *gate) others() bool { return !g.rooted && os.Geteuid() == 0 }

// house is what every story's configuration begins with. Later lines win. A script that
// dies of a fault leaves nothing in the spool, which is its working directory.
func (g *gate) house() string {
	text := fmt.Sprintf(`mode fixed
fixed_server 127.0.0.1
fixed_server_port %d
bind_address 127.0.0.1
port 0
workers 2
proxy_name gate.test
pidfile %[2]s/run/pid
statefile %[2]s/run/state
spool_path %[2]s/spool
lock_path %[2]s/lock
log_target %[2]s/log
max_load 0
spam_max_load 0
antivirus_type builtin
antispam_type builtin
limit_core_size 0
`, g.server, g.dir)
	for _, a := range accounts {
		if g.rooted {
			text += "user_" + a.room + " " + a.user + "\n"
		}
	}
	return text
}

// quiet is what keeps the log from saying when the daemon is ready, or from saying it plainly.
var quiet = regexp.MustCompile(`(?m)^log_level [^n]|log_format`)

// configure writes the configuration in force from a story's own. One in TOML
// says everything itself.
func (g *gate) configure(own string, toml bool) error {
	g.keyed = strings.Contains(own, "[[tls.certificate]]")
	g.discreet = quiet.MatchString(own)
	if !toml {
		own = g.house() + own
	}
	if err := os.WriteFile(g.path("smtp-gated.conf"), []byte(own), 0o644); err != nil {
		return err
	}
	return g.handOver()
}

// handOver gives the folder to the daemon's user.
func (g *gate) handOver() error {
	if !g.others() {
		return nil
	}
	return filepath.WalkDir(g.dir, func(path string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.Lchown(path, unprivileged, unprivileged); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil // a spool file that is done with
	})
}

// command is a program run as the daemon's user.
func (g *gate) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "NOTIFY_SOCKET="+g.path("notify"), "GATE_STORY=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if g.others() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	}
	return cmd
}

// start runs the daemon in the foreground and waits until it serves. Sockets are
// handed over as systemd does.
func (g *gate) start(sockets ...*os.File) error {
	cmd := g.command(g.daemon, "-f", g.path("smtp-gated.conf"))
	if len(sockets) > 0 {
		// The number of the process must be known before it begins.
		cmd = g.command("/bin/sh", "-c", fmt.Sprintf("LISTEN_PID=$$ LISTEN_FDS=%d exec %s -f %s", len(sockets), g.daemon, g.path("smtp-gated.conf")))
		cmd.ExtraFiles = sockets
	}
	if err := g.launch(cmd); err != nil {
		return err
	}
	return g.ready()
}

// launch runs a command that becomes the daemon.
func (g *gate) launch(cmd *exec.Cmd) error {
	if err := g.begin(); err != nil {
		return err
	}
	stderr, err := os.Create(g.path("stderr"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	begun := func() error { return nil }
	if g.watcher != nil {
		if begun, err = g.watcher.watch(cmd); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	g.cmd, g.pid, g.ended = cmd, cmd.Process.Pid, ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return begun()
}

// background runs it as at boot: it detaches itself.
func (g *gate) background() error {
	if err := g.begin(); err != nil {
		return err
	}
	g.cmd = nil
	if out, err := g.command(g.daemon, g.path("smtp-gated.conf")).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(g.path("run/pid"))
	if err != nil {
		return err
	}
	if g.pid, err = strconv.Atoi(strings.TrimSuffix(string(text), "\n")); err != nil {
		return err
	}
	return g.ready()
}

func (g *gate) begin() error {
	g.serving, g.unsaid = 0, 0
	if err := os.Remove(g.path("log")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ready waits for READY=1.
func (g *gate) ready() error {
	if err := g.notified("READY=1"); err != nil {
		return err
	}
	if g.discreet {
		g.unsaid++
		return nil
	}
	return eventually("the log has no word of it", func() bool {
		return strings.Count(g.log(), " ready generation=") >= g.serving-g.unsaid
	})
}

// notified waits for a word to the service manager.
func (g *gate) notified(word string) error {
	buf := make([]byte, 4096)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		g.notify.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := g.notify.Read(buf)
		if err == nil {
			g.count(string(buf[:n]))
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), word) {
				return nil
			}
		}
		if err != nil && g.over() {
			text, _ := os.ReadFile(g.path("stderr"))
			return fmt.Errorf("the daemon ended: %s", text)
		}
	}
	return fmt.Errorf("no %s within %v", word, patience)
}

// forget drops what was told before and not waited for.
func (g *gate) forget() {
	buf := make([]byte, 4096)
	for {
		g.notify.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err := g.notify.Read(buf)
		if err != nil {
			return
		}
		g.count(string(buf[:n]))
	}
}

// count keeps track of completed starts and reloads.
func (g *gate) count(state string) {
	lines := strings.Split(state, "\n")
	serving := func(line string) bool {
		return strings.HasPrefix(line, "STATUS=serving") && !strings.Contains(line, "the last reload failed")
	}
	if slices.Contains(lines, "READY=1") && slices.ContainsFunc(lines, serving) {
		g.serving++
	}
}

// over tells whether the daemon has ended.
func (g *gate) over() bool {
	if g.cmd != nil {
		select {
		case <-g.ended:
			return true
		default:
			return false
		}
	}
	return gone(g.pid)
}

// gone tells whether a process has ended, though nobody may have buried it.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	if !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z")) {
		return false
	}
	// As long as a thread of it is on its way out its files are open.
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || len(threads) <= 1
}

// wait waits for the daemon's end and returns its exit status, -1 if unknown.
func (g *gate) wait() (int, error) {
	if err := eventually("the daemon does not end", g.over); err != nil {
		return -1, err
	}
	if g.cmd == nil {
		return -1, nil
	}
	return g.cmd.ProcessState.ExitCode(), nil
}

// reload has the file read again and waits until that is done.
func (g *gate) reload() error {
	old, err := g.members()
	if err != nil {
		return err
	}
	g.forget()
	if err := g.signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := g.notified("RELOADING=1"); err != nil {
		return err
	}
	before := g.serving
	if err := g.ready(); err != nil || g.serving == before {
		return err
	}
	if g.listening(old) {
		return errors.New("an old worker still listens")
	}
	return nil
}

func (g *gate) signal(s syscall.Signal) error { return syscall.Kill(g.pid, s) }

// end is called after a test: nothing is left behind.
func (g *gate) end() {
	g.notify.Close()
	if g.pid == 0 || g.over() {
		return
	}
	for range 2 {
		g.signal(syscall.SIGTERM)
	}
	if eventually("", g.over) != nil {
		g.signal(syscall.SIGKILL)
	}
	if g.cmd != nil {
		<-g.ended
	}
}

func (g *gate) log() string {
	text, _ := os.ReadFile(g.path("log"))
	return string(text)
}

// inLog waits for a line.
func (g *gate) inLog(pattern string) error {
	return eventually("the log has no line like "+pattern, func() bool { return matches(pattern, g.log()) })
}

// matches tells whether a text has a line like pattern.
func matches(pattern, text string) bool {
	return regexp.MustCompile("(?m)" + pattern).MatchString(text)
}

var served = regexp.MustCompile(` ready generation=.*listen=\[(.*)\]`)

// addresses are where the daemon listens.
func (g *gate) addresses() []string {
	all := served.FindAllStringSubmatch(g.log(), -1)
	if len(all) == 0 {
		return nil
	}
	return strings.Fields(all[len(all)-1][1])
}

// address is the nth of them.
func (g *gate) address(n int) string {
	if all := g.addresses(); n < len(all) {
		return all[n]
	}
	return ""
}

// member is a room as smtp-gatectl tells of it.
type member struct {
	Room       string `json:"room"`
	PID        int    `json:"pid"`
	Generation int    `json:"generation"`
	State      string `json:"state"`
	Goroutines int    `json:"goroutines"` // 0: it was not asked yet
}

// report is what smtp-gatectl tells of the family.
type report struct {
	Sessions int               `json:"sessions"`
	Locks    int               `json:"locks"`
	Crashes  int               `json:"crashes"`
	Rooms    []member          `json:"rooms"`
	Counters map[string]uint64 `json:"counters"`
	Findings []struct{ ID, Object string }
}

// unharmed looks whether all that was is still as it should be.
func (g *gate) unharmed() error {
	r, err := g.ask()
	if err == nil && (r.Crashes > 0 || r.Counters["bugs"] > 0) {
		err = fmt.Errorf("%d rooms crashed, %d bugs", r.Crashes, r.Counters["bugs"])
	}
	return err
}

// members asks which rooms are there, the parent apart. Whoever is ready has just told.
func (g *gate) members() ([]member, error) {
	var r *report
	var failed error
	err := eventually("no room is known", func() bool {
		r, failed = g.ask()
		return failed != nil || len(r.Rooms) > 0
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(r.Rooms, func(m member) bool { return m.Room == "parent" }), nil
}

// ctl is smtp-gatectl.
func (g *gate) ctl(args ...string) (string, error) {
	out, err := g.command(program("smtp-gatectl"), append([]string{"--socket", g.path("run/control")}, args...)...).CombinedOutput()
	return string(out), err
}

func (g *gate) ask() (*report, error) {
	cmd := g.command(program("smtp-gatectl"), "--socket", g.path("run/control"), "status", "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	r := new(report)
	return r, json.Unmarshal(out, r)
}

// family is how many of each room there are.
var family = map[string]int{"session": 2, "lookupd": 1, "scand": 1, "lockd": 1, "action": 1}

// whole waits until the family is complete and at work, without the process
// called dead, and returns it.
func (g *gate) whole(dead int) ([]member, error) {
	var all []member
	err := eventually("the family is not whole", func() bool {
		var err error
		if all, err = g.members(); err != nil || g.over() {
			return false
		}
		counts := map[string]int{}
		for _, m := range all {
			if m.PID == dead || m.State != "running" {
				return false
			}
			counts[m.Room]++
		}
		for room, n := range family {
			if counts[room] != n {
				return false
			}
		}
		return g.keyed == (counts["keys"] == 1)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %+v", err, all)
	}
	return all, nil
}

// kill ends one room the hard way and waits until it is replaced.
func (g *gate) kill(room string) error {
	all, err := g.whole(0)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(m member) bool { return m.Room == room })
	if i < 0 {
		return fmt.Errorf("no room is called %s", room)
	}
	if err := syscall.Kill(all[i].PID, syscall.SIGKILL); err != nil {
		return err
	}
	_, err = g.whole(all[i].PID)
	return err
}

// eventually waits until what holds.
func eventually(complaint string, what func() bool) error {
	return imsgtest.Eventually(complaint, what)
}

// terminate ends the daemon as TERM should.
func (g *gate) terminate() error {
	if err := g.signal(syscall.SIGTERM); err != nil {
		return err
	}
	status, err := g.wait()
	if err == nil && status > 0 {
		err = fmt.Errorf("exit status %d", status)
	}
	return err
}
