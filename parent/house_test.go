//go:build linux

//go:debug containermaxprocs=0

package parent

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/spawn"
)

// The tests run this binary again: as a parent, which runs it again as its
// rooms. Those do nothing but what testRoom says.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-x" {
		os.Exit(again(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func again(args []string) int {
	var err error
	if args[0] == "headless" {
		headless()
	} else if args[0] == "find" {
		_, err = host.FindDaemon(args[1])
	} else if args[0] == "tracer" {
		err = trace(args[1])
	} else if args[0] == "parent" {
		o := Options{Config: args[1], Foreground: true, Version: "test", Filter: func(m imsg.Mode) (*os.File, error) {
			return os.Open(os.Getenv("GATED_FILTER") + m.String())
		}}
		o.Load, o.anyLinkage = func() float64 { return 1.5 }, true
		testOptions(&o)
		if err = loseCapabilities(); err == nil {
			err = Run(o)
		}
	} else {
		var r imsg.Room
		var f *os.File
		var root *os.Root
		if r, f, root, err = spawn.Enter(args); err == nil {
			err = testRoom(r, f, root)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testRoom is a room that tells the log what it is told. Words in proxy_name,
// as "die-at-start:session", have it misbehave.
func testRoom(self imsg.Room, f *os.File, root *os.Root) error {
	p, err := process.Start(f, self)
	if err != nil {
		return err
	}
	orders, started := "", false
	ordered := func(what string) bool { return strings.Contains(orders, what+":"+self.String()) }
	configured := func(name string) {
		if orders = name; ordered("die-at-config") {
			panic("as told")
		}
		if ordered("hang-at-config") {
			select {}
		}
		p.Log().Info("configured", "room", self, "name", name)
		p.Send(&imsg.Ready{})
	}
	return p.Serve(func(r link.Request) {
		switch m := r.Message.(type) {
		case *imsg.SessionConfig:
			configured(m.ProxyName)
		case *imsg.LockdConfig:
			configured(m.ProxyName)
		case *imsg.ActionConfig:
			configured(m.ProxyName)
		case *imsg.ScandConfig:
			configured(fmt.Sprint(m.Engines))
		case *imsg.LookupdConfig:
			configured(fmt.Sprint(m.Zones))
		case *imsg.Peer:
			p.Log().Info("peer", "room", self, "is", m.Room, "member", m.Member)
			if _, err := p.Accept(r, m, func(r link.Request) { r.Close() }); err != nil {
				p.Log().Error("join", "error", err)
			}
			if ordered("accuse") {
				p.Send(&imsg.BadPeer{Room: m.Room, Member: m.Member})
			}
			if ordered("lack") {
				p.Send(&imsg.BadPeer{Room: m.Room, Member: m.Member, Fault: imsg.Shortage})
			}
		case *imsg.Start:
			started = true
			p.Log().Info("started", "room", self)
			if root != nil {
				p.Log().Info("works below its root", "room", self)
			}
			if ordered("shut-listener") && first() {
				for _, f := range held {
					raw, _ := f.SyscallConn()
					raw.Control(func(fd uintptr) { p.Log().Info("shut", "error", unix.Shutdown(int(fd), unix.SHUT_RD)) })
				}
			}
			if ordered("abuse-log") {
				abuseLog(p.Log())
			}
			if ordered("die-at-start") {
				p.Log().Info("dying")
				os.Exit(7)
			}
			if ordered("chatter") {
				for err := error(nil); err == nil; {
					_, err = os.Stderr.WriteString("\nla la\n")
				}
			}
			if ordered("chain") {
				startNext()
			}
			if ordered("fork") {
				leaveBehind(p, self)
			}
			if ordered("late") {
				go func() {
					for err := error(nil); err != imsg.Gone; {
						_, err = link.Ask(p, &imsg.Reload{}, time.Nanosecond)
					}
				}()
			}
			flood(p, ordered)
			for _, n := range []struct {
				order string
				imsg.Sockets
			}{
				{"want-sockets", imsg.Sockets{N: 3}},
				{"want-sockets", imsg.Sockets{IPv6: true, N: 2}},
			} {
				if ordered(n.order) {
					p.Send(&n.Sockets)
				}
			}
		case *imsg.Socket:
			p.Log().Info("socket", "ipv6", m.IPv6, "is", socketSpec(r.Files[0]))
			r.Close()
		case *imsg.NatDevice:
			// What comes later than this could not be answered.
			p.Log().Info("packet filter", "room", self, "started", started)
			held = append(held, r.Files...)
		case *imsg.Drain:
			if self == imsg.Session && !ordered("deaf") && !m.End {
				p.Send(&imsg.Drained{})
			}
			// Not to the log: that is not written any more when we leave.
			fmt.Fprintf(os.Stderr, "%s drains, closing=%d end=%t\n", self, len(m.Closing), m.End)
			go leave(ordered("linger") && !m.End)
		case *imsg.Dump:
			io.WriteString(r.Files[0], "the state\n")
			r.Close()
			link.ReplyTo(r, m).Answer(&imsg.Done{})
		case *imsg.Load:
			p.Log().Info("load", "room", self, "average", m.Average, "configured", orders != "")
		case *imsg.Family:
			uncounted := 0
			for _, r := range m.Rooms {
				if r.Goroutines == 0 {
					uncounted++
				}
			}
			p.Log().Info("family", "generation", m.Generation, "rooms", len(m.Rooms), "crashes", m.Crashes, "uncounted", uncounted)
		default:
			// Descriptors that are only held, as listeners are.
			held = append(held, r.Files...)
		}
	})
}

var held []*os.File

// leaveBehind starts processes that outlive us: a child that holds all our descriptors,
// another in a session of its own, and one whose parent is gone, which has a child.
func leaveBehind(p *process.Parent, self imsg.Room) {
	for _, line := range []string{
		"exec sleep 1000",
		"exec setsid sleep 1000",
		"setsid sh -c 'sleep 1000 & exec sleep 1000' & exit",
	} {
		cmd := exec.Command("/bin/sh", "-c", line)
		for fd := 3; fd < 32; fd++ {
			if n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 100); err == nil {
				cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(n), "ours"))
			}
		}
		if err := cmd.Start(); err != nil {
			p.Log().Error("fork", "error", err)
		}
	}
	if program, err := os.Open("/proc/self/exe"); err == nil {
		cmd := exec.Command("/proc/self/fd/3")
		cmd.Args = []string{"sleep", "-x", "headless"}
		cmd.ExtraFiles = []*os.File{program}
		if err := cmd.Start(); err != nil {
			p.Log().Error("fork", "error", err)
		}
	}
	p.Log().Info("has children", "room", self)
}

// headless ends the first thread of this process, which looks like a zombie from then on,
// and lives.
func headless() {
	go func() {
		time.Sleep(1000 * time.Second)
		os.Exit(0)
	}()
	syscall.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// The first goroutine is to run on the first thread.
func init() { runtime.LockOSThread() }

// startNext starts another daemon, by a process that has ended when it works. The way to
// the program may be closed to a room.
func startNext() {
	program, err := os.Open("/proc/self/exe")
	if err == nil {
		cmd := exec.Command("/bin/sh", "-c", "/proc/self/fd/3 -x parent ../next.conf 2>../next.log & exit")
		cmd.ExtraFiles = []*os.File{program}
		err = cmd.Run()
	}
	if err != nil {
		panic(err)
	}
}

// flood says one message for ever, if so ordered.
func flood(p *process.Parent, ordered func(string) bool) {
	for i := range imsg.Table {
		e := &imsg.Table[i]
		if !e.To.Has(imsg.Parent) || !ordered("flood="+e.Name) {
			continue
		}
		switch m := sayable(e.New()).(type) {
		case imsg.Notice:
			go func() {
				for err := error(nil); err != imsg.Gone; err = p.Send(m) {
				}
			}()
		case *imsg.Reload:
			floodQuestion(p, m)
		case *imsg.Upgrade:
			floodQuestion(p, m)
		case *imsg.Stop:
			floodQuestion(p, m)
		case *imsg.LogLevel:
			floodQuestion(p, m)
		}
	}
}

// sayable fills in what a message must have.
func sayable(m imsg.Message) imsg.Message {
	switch m := m.(type) {
	case *imsg.Hello:
		*m = imsg.Hello{Room: imsg.Session, PID: os.Getpid(), Fingerprint: imsg.Fingerprint()}
	case *imsg.Sockets:
		m.N = 1
	case *imsg.BadPeer:
		*m = imsg.BadPeer{Room: imsg.Session, Member: 99}
	}
	return m
}

// floodQuestion asks as often as may be under way.
func floodQuestion(p *process.Parent, q imsg.Question[imsg.Done]) {
	for range 1000 {
		go link.Ask(p, q, time.Hour)
	}
}

// abuseLog tries what a room must not be able to do to a log that is a file or a
// terminal.
func abuseLog(log *slog.Logger) {
	for fd := 3; fd < 64; fd++ {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		_, rerr := unix.Read(fd, make([]byte, 16))
		_, werr := unix.Pwrite(fd, []byte("pwrite at 0\n"), 0)
		log.Info("abused", "read", rerr, "pwrite", werr, "truncate", unix.Ftruncate(fd, 1))
	}
}

// first tells whether no other room of this kind has asked before.
func first() bool {
	f, err := os.OpenFile("first", os.O_CREATE|os.O_EXCL, 0o600)
	f.Close()
	return err == nil
}

// leave ends a room that drains; one that lingers does when there is a file "go".
func leave(linger bool) {
	for linger {
		if _, err := os.Stat("go"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	os.Exit(0)
}

// house is a running family.
type house struct {
	*testing.T
	dir     string
	conf    string
	cmd     *exec.Cmd
	inherit []*os.File // goes on to the parent, and no further

	mu    sync.Mutex
	lines []string
	more  chan struct{}
	ended chan struct{}
	err   error
}

const patience = imsgtest.Patience

// newHouse makes a folder with a configuration. Root's families run as nobody.
func newHouse(t *testing.T, options ...string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "gated-parent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, dir: dir, conf: filepath.Join(dir, "gated.conf"), more: make(chan struct{}, 1), ended: make(chan struct{})}
	h.configure(options...)
	return h
}

// configure writes the configuration; later options win.
func (h *house) configure(options ...string) {
	h.Helper()
	all := append([]string{
		"mode fixed", "fixed_server 127.0.0.1", "fixed_server_port 2525", "bind_address 127.0.0.1", "port 0", "workers 2",
		"set_user nobody", "proxy_name -",
		"pidfile " + h.dir + "/run/pid", "statefile " + h.dir + "/run/state", "spool_path " + h.dir + "/msg", "lock_path " + h.dir + "/lock",
	}, options...)
	if err := os.WriteFile(h.conf, []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
		h.Fatal(err)
	}
}

// rooted tells whether the tests' families are root's.
func rooted() bool { return os.Geteuid() == 0 }

// start starts the family, without root if so wished.
func (h *house) start(asNobody bool, env ...string) {
	h.Helper()
	h.run(exec.Command("/proc/self/exe", "-x", "parent", h.conf), asNobody, env...)
}

func (h *house) run(cmd *exec.Cmd, asNobody bool, env ...string) {
	h.Helper()
	h.cmd = cmd
	h.cmd.Env = append(os.Environ(), env...)
	if h.cmd.SysProcAttr == nil {
		h.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if asNobody && rooted() {
		h.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	r, w, err := os.Pipe()
	if err != nil {
		h.Fatal(err)
	}
	h.cmd.Stderr = w
	h.cmd.ExtraFiles = h.inherit
	if err := h.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	w.Close()
	go func() {
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			h.mu.Lock()
			h.lines = append(h.lines, in.Text())
			h.mu.Unlock()
			select {
			case h.more <- struct{}{}:
			default:
			}
		}
	}()
	go func() {
		h.err = h.cmd.Wait()
		close(h.ended)
	}()
	h.Cleanup(func() {
		h.cmd.Process.Kill()
		<-h.ended
		if h.count("DATA RACE") > 0 {
			h.Error("a data race")
		}
		if h.Failed() {
			h.Logf("the log:\n%s", strings.Join(h.log(), "\n"))
		}
	})
}

func (h *house) log() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

func (h *house) count(what string) int {
	n := 0
	for _, line := range h.log() {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// waitFor waits until the log holds what n times.
func (h *house) waitFor(what string, n int) {
	h.Helper()
	h.until(fmt.Sprintf("%d × %q", n, what), func() bool { return h.count(what) >= n })
}

// until waits for a condition. It looks again at every line of the log, and
// sometimes without one.
func (h *house) until(what string, true func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !true(); {
		if time.Now().After(end) {
			h.Fatalf("never happened: %s", what)
		}
		select {
		case <-h.more:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end waits for the parent's end and returns its exit status, -1 after a signal.
func (h *house) end() int {
	h.Helper()
	select {
	case <-h.ended:
		return h.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		h.Fatal("the parent does not end")
		return 0
	}
}

// working waits until every room of the first generation is at work.
func (h *house) working() {
	h.Helper()
	h.waitFor("ready generation=1", 1)
	h.until("all rooms have started", func() bool { return h.count(" started room=") >= len(h.rooms()) })
}

func (h *house) signal(s os.Signal) {
	h.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.Fatal(err)
	}
}

// proc is a room as /proc shows it.
type proc struct {
	pid  int
	room string
}

// rooms finds the parent's children.
func (h *house) rooms() []proc {
	var all []proc
	for _, pid := range pids() {
		status := procStatus(pid)
		if status["PPid"] != strconv.Itoa(h.cmd.Process.Pid) || strings.HasPrefix(status["State"], "Z") {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if words := strings.Split(string(line), "\x00"); err == nil && len(words) > 2 && words[1] == "-x" {
			all = append(all, proc{pid, words[2]})
		}
	}
	return all
}

func (h *house) room(name string) []proc {
	return slices.DeleteFunc(h.rooms(), func(p proc) bool { return p.room != name })
}

func pids() []int {
	entries, _ := os.ReadDir("/proc")
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func procStatus(pid int) map[string]string { return statusIn(fmt.Sprintf("/proc/%d/status", pid)) }

// statusIn reads such a file; of one that is not there it is empty.
func statusIn(path string) map[string]string {
	text, _ := os.ReadFile(path)
	all := map[string]string{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok {
			all[key] = strings.Join(strings.Fields(value), " ")
		}
	}
	return all
}

// both runs a test as root, if we are, and without.
func both(t *testing.T, f func(t *testing.T, asNobody bool)) {
	t.Run("root", func(t *testing.T) {
		if !rooted() {
			imsgtest.Lacks(t, "no root")
		}
		f(t, false)
	})
	t.Run("nobody", func(t *testing.T) { f(t, true) })
}
