package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// fakeDaemon plays lockd at a control socket, which it can give up and open again.
type fakeDaemon struct {
	t    *testing.T
	path string

	mu       sync.Mutex
	sessions []imsg.LiveSession
	locked   []string
	began    int64
	reader   bool // no order is taken
	socket   *net.UnixListener
	links    []*link.Conn
}

func newFakeDaemon(t *testing.T) *fakeDaemon {
	d := &fakeDaemon{t: t, path: filepath.Join(t.TempDir(), "control"), began: time.Now().Add(-time.Hour).UnixNano()}
	for i := range 30 {
		d.sessions = append(d.sessions, imsg.LiveSession{
			Number: uint64(i + 1), State: imsg.StateData, Started: d.began + int64(i)*int64(time.Second),
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 - i)}), 4000), Target: netip.MustParseAddrPort("198.51.100.25:25"),
			Transactions: i % 10, ClientBytes: int64(i*7%30) * 1000,
		})
	}
	d.start()
	t.Cleanup(d.die)
	return d
}

func (d *fakeDaemon) start() {
	d.t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: d.path, Net: "unixpacket"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	d.socket = l
	d.mu.Unlock()
	go func() {
		for {
			s, err := l.AcceptUnix()
			if err != nil {
				return
			}
			f, err := s.File()
			s.Close()
			if err != nil {
				continue
			}
			role := imsg.Control
			d.mu.Lock()
			if d.reader {
				role = imsg.Reader
			}
			c, err := link.NewConn(f, imsg.Lockd, role)
			if err == nil {
				d.links = append(d.links, c)
				go c.Serve(d.answer)
			}
			d.mu.Unlock()
		}
	}()
}

// die is what SIGKILL does to one: all ends, and the socket stays behind.
func (d *fakeDaemon) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.socket.SetUnlinkOnClose(false)
	d.socket.Close()
	for _, c := range d.links {
		c.Close()
	}
	os.Remove(d.path)
}

func (d *fakeDaemon) answer(r link.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch m := r.Message.(type) {
	case *imsg.Status:
		counters := make([]uint64, imsg.Slots)
		counters[imsg.CountClean], counters[imsg.CountViruses] = 1234, 5
		family.Answer(r, &imsg.StatusReport{
			Family: imsg.Family{Version: "2.0", Started: d.began, Rooms: []imsg.Member{{Room: imsg.Parent, State: imsg.Running}, {Room: imsg.Lockd, State: imsg.Running}}},
			Now:    time.Now().UnixNano(), Sessions: len(d.sessions), Limit: 64, Load: 0.25, Locks: len(d.locked), Counters: counters,
		})
	case *imsg.Sessions:
		list := new(imsg.SessionList)
		for _, s := range d.sessions {
			if s.Number > m.After {
				list.Sessions = append(list.Sessions, s)
			}
		}
		family.Answer(r, list)
	case *imsg.EndSession:
		before := len(d.sessions)
		d.sessions = slices.DeleteFunc(d.sessions, func(s imsg.LiveSession) bool { return s.Number == m.Number })
		if len(d.sessions) == before {
			family.Answer(r, &imsg.Done{Errno: imsg.NotFound, Detail: "there is no such session"})
			return
		}
		family.Answer(r, &imsg.Done{})
	case *imsg.Lock:
		d.locked = append(d.locked, m.Name)
		family.Answer(r, &imsg.Done{})
	}
}

// screenTest is a terminal of tmux's with a shell in it.
type screenTest struct {
	t       *testing.T
	socket  string
	sockets string // folder of it
	dir     string
	ends    int // so often top has ended
}

// newScreenTest has a shell run in a terminal of 80 by 24, and top be called by `top`.
func newScreenTest(t *testing.T, args ...string) *screenTest {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		imsgtest.Lacks(t, "no tmux")
	}
	s := &screenTest{t: t, socket: fmt.Sprintf("gated-test-%d-%d", os.Getpid(), time.Now().UnixNano()), dir: t.TempDir()}
	script := "#!/bin/sh\necho $$ >" + s.dir + "/pid\nexec " + filepath.Join(programs(t), "smtp-gatectl") + " top " + strings.Join(args, " ") + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, "top"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "tmux") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	s.sockets = sockets
	t.Cleanup(func() {
		s.try("kill-server")
		os.RemoveAll(sockets)
	})
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-s", "top", "env", "PS1=ready> ", "sh")
	s.has("ready>")
	s.types("cd "+s.dir+"; stty -a >before; echo the line before", "Enter")
	s.has(`(?m)^the line before$`)
	return s
}

func (s *screenTest) try(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-L", s.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX=", "TMUX_TMPDIR="+s.sockets, "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *screenTest) tmux(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return out
}

func (s *screenTest) types(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys", "-t", "top"}, keys...)...)
}

func (s *screenTest) screen() string { s.t.Helper(); return s.tmux("capture-pane", "-p", "-t", "top") }

// is waits until the screen is so.
func (s *screenTest) is(what string, so func(screen string) bool) {
	s.t.Helper()
	last := ""
	if err := imsgtest.Eventually(what, func() bool { last = s.screen(); return so(last) }); err != nil {
		s.t.Fatalf("%v; the screen is\n%s", err, last)
	}
}

// has waits until the screen has what fits all patterns.
func (s *screenTest) has(patterns ...string) {
	s.t.Helper()
	s.is(fmt.Sprintf("no %q", patterns), func(screen string) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool { return !regexp.MustCompile(p).MatchString(screen) })
	})
}

// hasNot waits until nothing on the screen fits.
func (s *screenTest) hasNot(pattern string) {
	s.t.Helper()
	s.is(fmt.Sprintf("there is %q", pattern), func(screen string) bool { return !regexp.MustCompile(pattern).MatchString(screen) })
}

// mode is whether the alternate screen is shown, and whether a cursor is.
func (s *screenTest) mode() string {
	return strings.TrimSpace(s.tmux("display-message", "-p", "-t", "top", "#{alternate_on} #{cursor_flag}"))
}

// begins calls top, and waits until it draws.
func (s *screenTest) begins() {
	s.t.Helper()
	s.types("./top; echo it ended by $?", "Enter")
	s.has(`smtp-gated 2\.0   well`, `(?m)^ q quit`)
	if m := s.mode(); m != "1 0" {
		s.t.Errorf("top draws with alternate screen and cursor %s", m)
	}
}

// pid is top's process.
func (s *screenTest) pid() int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// asBefore waits for top's end, and holds the terminal to what it was.
func (s *screenTest) asBefore(status int) {
	s.t.Helper()
	s.has(`(?m)^the line before$`, fmt.Sprintf(`(?m)^it ended by %d$`, status))
	s.hasNot("q quit")
	if m := s.mode(); m != "0 1" {
		s.t.Errorf("alternate screen and cursor are left %s", m)
	}
	s.ends++
	s.types(fmt.Sprintf("clear; stty -a >after; echo end $((%d+1)); echo the line before", s.ends), "Enter")
	s.has(fmt.Sprintf(`(?m)^end %d$`, s.ends+1), `(?m)^the line before$`)
	before, _ := os.ReadFile(filepath.Join(s.dir, "before"))
	after, err := os.ReadFile(filepath.Join(s.dir, "after"))
	size := regexp.MustCompile(`rows \d+; columns \d+;`)
	if err != nil || size.ReplaceAllString(string(before), "") != size.ReplaceAllString(string(after), "") {
		s.t.Errorf("the terminal was\n%sand is\n%s", before, after)
	}
}

// TestTopInTerminal uses top as an operator does.
func TestTopInTerminal(t *testing.T) {
	d := newFakeDaemon(t)
	s := newScreenTest(t, "--every", "200ms", "--socket", d.path)
	s.begins()
	s.has(`30 of 64 live, 0 locks, load 0\.25`, `1234 clean, 5 virus`, `(?m)^> +1 data .* 192\.0\.2\.100:4000 `, `(?m)^by time`)
	// It sorts.
	s.types("o")
	s.has(`(?m)^by octets`, `(?m)^> +18 data `)
	s.types("c")
	s.has(`(?m)^by client`, `(?m)^> +30 data .* 192\.0\.2\.71:4000`)
	s.types("t", "Down", "Down")
	s.has(`(?m)^by time`, `(?m)^> +3 data`)
	s.types("End")
	s.has(`(?m)^> +30 data`)
	// It filters.
	s.types("/", "2.95")
	s.has(`(?m)^filter: 2\.95_`, `(?m)^> +6 data`)
	s.types("Enter")
	s.has(`(?m)^by time; with "2\.95": 1 of 30`)
	// It ends a session, after a y.
	s.types("k")
	s.has(`(?m)^end session 6 of 192\.0\.2\.95:4000\? y or n`)
	s.types("n")
	s.has("left as it is")
	s.types("k", "y")
	s.has(`(?m)^session 6 told to end`, "no live sessions like that", "29 of 64 live")
	s.types("Escape")
	s.has(`(?m)^> +1 data`)
	// It locks a client out.
	s.types("Down", "l")
	s.has(`(?m)^lock 192\.0\.2\.99 out\? y or n`)
	s.types("y")
	s.has(`(?m)^192\.0\.2\.99 locked`, "live, 1 lock,")
	d.mu.Lock()
	if !slices.Equal(d.locked, []string{"192.0.2.99"}) {
		t.Errorf("locked are %v", d.locked)
	}
	d.mu.Unlock()
	s.types("?")
	s.has("HELP", "draw the screen anew")
	s.types("x")
	s.has("NUMBER STATE")
	// It follows the window's size.
	s.tmux("resize-window", "-t", "top", "-x", "140", "-y", "40")
	s.has("MAILS +OCTETS NAME", `(?m)^ +30 data`)
	s.tmux("resize-window", "-t", "top", "-x", "60", "-y", "15")
	s.has("top needs 80 by 24,", "here are 60 by 15")
	s.hasNot("NUMBER")
	s.tmux("resize-window", "-t", "top", "-x", "80", "-y", "24")
	s.has("NUMBER STATE", `(?m)^ q quit`)
	// ^Z gives the terminal to the shell, and fg gives it back.
	s.types("C-z")
	s.has("ready>", "Stopped|Suspended")
	if m := s.mode(); m != "0 1" {
		t.Errorf("stopped, it leaves alternate screen and cursor %s", m)
	}
	s.types("fg", "Enter")
	s.has(`(?m)^ q quit`, "NUMBER STATE")
	if m := s.mode(); m != "1 0" {
		t.Errorf("going on, it draws with alternate screen and cursor %s", m)
	}
	s.types("q")
	s.is("it does not end", func(screen string) bool { return !strings.Contains(screen, "q quit") })
	s.types("clear; echo the line before; echo it ended by 0", "Enter") // fg's status is not echoed
	s.asBefore(0)
}

// TestTopEnds: whatever ends top, the terminal is as it was; and the daemon's end does not.
func TestTopEnds(t *testing.T) {
	d := newFakeDaemon(t)
	s := newScreenTest(t, "--every", "200ms", "--socket", d.path)
	for _, end := range endings {
		s.begins()
		syscall.Kill(s.pid(), end.(syscall.Signal))
		s.asBefore(128 + int(end.(syscall.Signal)))
	}
	s.begins()
	for _, none := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGXCPU, syscall.SIGPIPE} {
		syscall.Kill(s.pid(), none)
	}
	s.types("o")
	s.has(`(?m)^by octets`)
	s.types("C-c")
	s.asBefore(0)
	s.begins()
	d.die()
	s.has(`smtp-gated 2\.0   waiting for the daemon`, "smtp-gated is not running", `(?m)^> +1 data`)
	d.mu.Lock()
	d.sessions = d.sessions[1:]
	d.mu.Unlock()
	d.start()
	s.has(`smtp-gated 2\.0   well`, `(?m)^> +2 data`)
	d.die()
	s.has("waiting for the daemon")
	s.types("q")
	s.asBefore(0)
	// Who may only look hears so, at the latest when an order is denied.
	d.reader = true
	d.start()
	s.begins()
	s.types("k", "y")
	s.has("this socket only reads", "read-only: no k, no l")
	s.types("k")
	s.has("this top only looks: k and l are off")
	s.types("q")
	s.asBefore(0)
}

// TestTopStops: a stop from outside gives the terminal back, too.
func TestTopStops(t *testing.T) {
	d := newFakeDaemon(t)
	s := newScreenTest(t, "--every", "200ms", "--read-only", "--socket", d.path)
	s.begins()
	s.has("read-only: no k, no l")
	syscall.Kill(s.pid(), syscall.SIGTSTP)
	s.has("ready>", "Stopped|Suspended")
	if m := s.mode(); m != "0 1" {
		t.Errorf("stopped, it leaves alternate screen and cursor %s", m)
	}
	s.types("fg", "Enter")
	s.has(`(?m)^ q quit`)
	s.types("q")
	s.is("it does not end", func(screen string) bool { return !strings.Contains(screen, "q quit") })
}

// TestTopIsAlone: where no shell could have it go on it is not stopped.
func TestTopIsAlone(t *testing.T) {
	d := newFakeDaemon(t)
	s := newScreenTest(t, "--every", "200ms", "--socket", d.path)
	s.types("exec ./top", "Enter")
	s.has(`(?m)^ q quit`)
	s.types("C-z")
	s.has(`(?m)^not stopped: no shell is here`, `(?m)^ q quit`)
	s.types("o")
	s.has(`(?m)^by octets`)
	syscall.Kill(s.pid(), syscall.SIGTSTP)
	s.has(`(?m)^not stopped: no shell is here`)
}

func TestTopNeedsTerminal(t *testing.T) {
	for args, want := range map[string]string{
		"top":              "top needs a terminal, and standard output is none: see the commands status and sessions",
		"top --json":       "status --json and sessions --json are for machines",
		"top --every 1ms":  "--every 1ms is less than 100ms",
		"top --every -1s":  "--every -1s is less than 100ms",
		"top 192.0.2.7":    "unknown command",
		"top --every soon": "invalid",
	} {
		if code, out, errs := gatectl(strings.Fields(args)...); code == exitOK || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s%s", args, code, out, errs)
		}
	}
}
