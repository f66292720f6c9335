package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// plot is a room that lies to another, in a family of its own: a room that dies often
// is started again more and more slowly.
type plot struct {
	liar, peer string
	kinds      []string // of lies
	manners    []string // of how it answers, one after the other
	// innocents is how many other rooms a liar may take with it in one life, as the rules
	// of parent/quarrels.go have it.
	innocents int
	locks     bool // that a client is locked is what its word may bring about
	forges    bool // what passes for clean is its word, too
}

var (
	cutting  = []string{"bad-fields", "rubbish", "size", "type", "descriptors"}
	harmful  = slices.Concat([]string{"fields", "answers"}, cutting, []string{"flood"})
	toParent = slices.Concat([]string{"answers"}, cutting, []string{"flood"})
	answers  = []string{"twice", "other", "forger", "silent"}
)

// Of two that quarrel nobody knows which lies. A liar that is replaced by another is
// believed by and by: each counts against the one they all quarrel with.
var plots = []plot{
	{liar: "session", peer: "parent", kinds: toParent},
	{liar: "session", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "session", peer: "lockd", kinds: slices.Concat([]string{"others"}, harmful), manners: answers, innocents: 1, locks: true},
	{liar: "session", peer: "scand", kinds: harmful, innocents: 1},
	{liar: "session", peer: "lookupd", kinds: harmful, innocents: 1},
	{liar: "lookupd", peer: "parent", kinds: toParent},
	{liar: "lookupd", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "lookupd", peer: "session", kinds: harmful, manners: answers, innocents: 1},
	{liar: "scand", peer: "parent", kinds: toParent},
	{liar: "scand", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "scand", peer: "session", kinds: harmful, manners: answers, innocents: 1, locks: true, forges: true},
	{liar: "action", peer: "parent", kinds: toParent},
	{liar: "action", peer: "parent", kinds: []string{"accuse"}, innocents: 1},
	{liar: "action", peer: "lockd", kinds: harmful, innocents: 1},
	// lockd keeps what all share: four must stand against it.
	{liar: "lockd", peer: "parent", kinds: toParent, locks: true},
	{liar: "lockd", peer: "parent", kinds: []string{"accuse"}, innocents: 4, locks: true},
	{liar: "lockd", peer: "session", kinds: harmful, manners: answers, innocents: 4, locks: true, forges: true},
	{liar: "lockd", peer: "action", kinds: harmful, innocents: 4, locks: true},
}

// What a family may cost that has a liar.
const (
	floodCPU = time.Second // of the parent, for a flood
	growth   = 32 << 20    // of each room that lives on, in octets
)

const believing = "max_per_host 0\nlock_on virus\naction_script /bin/true\n" +
	"dnsbl bl.test\nnameservers 127.0.0.1:1\ntimeout_lookup 2\ntimeout_scanner 3\ntimeout_spam 3\n"

// TestLiars has one room after the other lie to each peer it has, in all it can say: the
// liar is ended and replaced, all others live on, no more memory is used, no client is
// locked or freed by a room that may not, and mail flows. -v prints a table.
func TestLiars(t *testing.T) {
	daemon := buildLiar(t)
	var mu sync.Mutex
	var rows []string
	t.Cleanup(func() {
		slices.Sort(rows)
		t.Logf("what became of lies:\n%s", aligned(rows))
	})
	bothWays(t, func(t *testing.T, rooted bool) {
		for _, p := range plots {
			t.Run(p.liar+" to "+p.peer+" "+p.kinds[0], func(t *testing.T) {
				t.Parallel()
				told := p.play(t, daemon, rooted)
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, told...)
			})
		}
	})
}

func aligned(rows []string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "liar\tto\tlies\tas\ttold\tcut for\tits deaths\tothers' deaths\tlocks by its word\tparent's CPU\tlargest growth")
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	w.Flush()
	return text.String()
}

// buildLiar returns the daemon whose rooms can lie.
func buildLiar(t *testing.T) string {
	t.Helper()
	path := filepath.Join(programs, "liar", "smtp-gated")
	build := exec.Command(needProgram(t, "go"), "build", "-tags", "liar", "-trimpath", "-buildvcs=false", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the liar: %v\n%s", err, out)
	}
	must(t, os.Chmod(filepath.Dir(path), 0o755))
	return path
}

// theatre is a family with a liar.
type theatre struct {
	*gate
	plot
	t       *testing.T
	crowd   *crowd
	births  chan *net.UnixConn // liars, as they are born
	conn    *net.UnixConn      // to the one that lies
	liars   []int              // processes that have lied
	members []member
	start   map[int]int64 // what they held, in octets
}

func (p plot) play(t *testing.T, daemon string, rooted bool) (rows []string) {
	g, m := rehearse(t, rooted)
	// A name of its own, so that whatever it leaves behind can be found.
	g.daemon = g.path("smtp-gated")
	must(t, copyProgram(daemon, g.daemon))
	must(t, g.configure(believing, false))
	h := &theatre{gate: g, plot: p, t: t, births: make(chan *net.UnixConn, 64)}
	h.listen()
	must(t, g.start())
	must(t, h.offend("127.0.2.1"))
	h.crowd = g.crowd(2, verdicts[0])
	must(t, h.crowd.moves())
	h.meet()
	h.look()
	for _, kind := range p.kinds {
		rows = append(rows, h.act(kind, func() (int, int, int) { return h.tell(kind) }))
		t.Log(rows[len(rows)-1])
		must(t, h.crowd.moves())
	}
	must(t, h.crowd.stop())
	if len(p.manners) > 0 {
		rows = append(rows, h.act("answering", h.answer))
	}
	if !p.forges {
		noneBad(t, m)
	}
	must(t, eventually("the replacement does not work", func() bool { return sendClean(g) == nil }))
	must(t, g.terminate())
	h.leavesNobody()
	if strings.Contains(g.log(), "BUG") {
		t.Errorf("a bug is logged")
	}
	return rows
}

// copyProgram makes a link, or a copy where there is another file system.
func copyProgram(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// listen waits for liars.
func (h *theatre) listen() {
	path := h.path("liar-" + h.liar)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	must(h.t, err)
	h.t.Cleanup(func() { l.Close() })
	must(h.t, os.Chmod(path, 0o777))
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			h.births <- c
		}
	}()
}

// meet makes the next that is born the liar.
func (h *theatre) meet() {
	h.t.Helper()
	select {
	case h.conn = <-h.births:
	case <-time.After(patience):
		h.t.Fatal("no liar is born")
	}
	if len(h.liars) == 0 && h.liar == "session" {
		<-h.births // the other worker is honest
	}
	raw, err := h.conn.SyscallConn()
	must(h.t, err)
	must(h.t, raw.Control(func(fd uintptr) {
		var c *unix.Ucred
		if c, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			h.liars = append(h.liars, int(c.Pid))
		}
	}))
	must(h.t, err)
}

// tell has the liar tell all lies of a kind, and those that replace it.
func (h *theatre) tell(kind string) (told, cut, deaths int) {
	buf := make([]byte, 1<<10)
	for from := 0; ; {
		_, err := fmt.Fprintf(h.conn, "%s %s %d", kind, h.peer, from)
		for err == nil {
			h.conn.SetReadDeadline(time.Now().Add(patience))
			var n int
			if n, err = h.conn.Read(buf); err != nil {
				break
			}
			text := string(buf[:n])
			if text == "done" {
				return told, cut, deaths
			}
			number, what, _ := strings.Cut(text, " ")
			i, aerr := strconv.Atoi(number)
			must(h.t, aerr)
			switch {
			case strings.HasSuffix(what, ": begun"):
				told, from = told+1, i+1
			case strings.HasSuffix(what, ": cut"):
				cut++
			case strings.HasSuffix(what, ": not cut"), strings.HasSuffix(what, ": no link"), strings.HasSuffix(what, ": not ended"):
				h.t.Errorf("%s to %s, %s: %s", h.liar, h.peer, kind, what)
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			h.t.Fatalf("%s says nothing of its lies, %s", h.liar, kind)
		}
		deaths++
		h.conn.Close()
		h.meet()
	}
}

// answer has the liar answer as it likes while clients come.
func (h *theatre) answer() (told, cut, deaths int) {
	for n, manner := range h.manners {
		_, _, d := h.tell(manner)
		deaths += d
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				c, err := dialGate(h.address(0), fmt.Sprintf("127.0.%d.%d", 10+n, i+1))
				if err != nil {
					h.t.Error(err)
					return
				}
				defer c.conn.Close()
				if _, err := c.deliver([]byte(cleanMail)); errors.Is(err, os.ErrDeadlineExceeded) {
					h.t.Errorf("a client waits for ever: %s", manner)
				}
			})
		}
		h.command(program("smtp-gatectl"), "--socket", h.path("run/control"), "sessions").Run()
		all.Wait()
		told++
	}
	_, _, d := h.tell("honest")
	return told, 0, deaths + d
}

// act plays one scene and looks who is there after it.
func (h *theatre) act(kind string, scene func() (told, cut, deaths int)) string {
	locks := h.locked()
	var idle []*client
	if kind == "others" {
		idle = h.idlers(8)
	}
	before := h.cpu(h.pid)
	told, cut, deaths := scene()
	spent := h.cpu(h.pid) - before
	for _, c := range idle {
		must(h.t, c.send("NOOP"))
		must(h.t, c.expect("250"))
		must(h.t, c.quit())
	}
	innocents, grown := h.look()
	if !slices.Contains(pids(h.members), h.liars[len(h.liars)-1]) {
		h.conn.Close()
		h.meet()
		deaths++
	}
	complain := func(format string, args ...any) {
		h.t.Errorf("%s to %s, %s: "+format, append([]any{h.liar, h.peer, kind}, args...)...)
	}
	if most := h.innocents * (deaths + 1); innocents > most {
		complain("%d others ended, at most %d may", innocents, most)
	}
	if kind == "flood" && spent > floodCPU {
		complain("the parent worked for %v", spent)
	}
	if grown > growth {
		complain("a room has grown by %d MiB", grown>>20)
	}
	now := h.locked()
	if h.liar != "lockd" && !slices.Contains(now, "127.0.2.1") {
		complain("a client was freed: %v", now)
	}
	more := slices.DeleteFunc(now, func(name string) bool { return slices.Contains(locks, name) })
	if len(more) > 0 && (!h.locks || kind == "others") {
		complain("clients were locked: %v", more)
	}
	as := "user"
	if h.rooted {
		as = "root"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%v\t%d KiB", h.liar, h.peer, kind, as, told, cut, deaths, innocents, len(more), spent, grown>>10)
}

// look compares who is there with who was: how many have ended who told no lie, and by
// how much the largest of the others has grown since it was first seen.
func (h *theatre) look() (innocents int, grown int64) {
	h.t.Helper()
	all, err := h.whole(0)
	must(h.t, err)
	if h.start == nil {
		h.start = map[int]int64{h.pid: h.rss(h.pid)}
	}
	for _, m := range h.members {
		is := func(o member) bool { return o.PID == m.PID }
		if !slices.ContainsFunc(all, is) && !slices.Contains(h.liars, m.PID) {
			innocents++
		}
	}
	h.members = all
	for _, pid := range append([]int{h.pid}, pids(all)...) {
		if _, known := h.start[pid]; !known {
			h.start[pid] = h.rss(pid)
		}
		if !slices.Contains(h.liars, pid) {
			grown = max(grown, h.rss(pid)-h.start[pid])
		}
	}
	return innocents, grown
}

func pids(all []member) (list []int) {
	for _, m := range all {
		list = append(list, m.PID)
	}
	return list
}

// rss is what a process holds in memory, in octets.
func (h *theatre) rss(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu is how long a process has worked (proc(5), stat).
func (h *theatre) cpu(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(h.t, err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}

// locked are the clients that are.
func (h *theatre) locked() (names []string) {
	all, err := os.ReadDir(h.path("lock"))
	must(h.t, err)
	for _, e := range all {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// offend has a client locked for good reason.
func (h *theatre) offend(address string) error {
	c, err := dialGate(h.address(0), address)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	answer, err := c.deliver([]byte(virusMail))
	if err == nil && !slices.Contains(h.locked(), address) {
		err = fmt.Errorf("a virus is answered %q, and locks nobody", answer)
	}
	return err
}

// idlers are clients with a session each who do nothing.
func (h *theatre) idlers(n int) (all []*client) {
	for i := range n {
		c, err := dialGate(h.address(0), fmt.Sprintf("127.0.4.%d", i+1))
		must(h.t, err)
		must(h.t, c.expect("220"))
		all = append(all, c)
	}
	return all
}

// leavesNobody looks for processes of the family.
func (h *theatre) leavesNobody() {
	h.t.Helper()
	must(h.t, eventually("processes are left", func() bool {
		for _, pid := range append(pids(h.members), h.liars...) {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == h.daemon {
				return false
			}
		}
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		return !slices.ContainsFunc(links, func(l string) bool {
			exe, err := os.Readlink(l)
			return err == nil && exe == h.daemon
		})
	}))
	if h.pid > 0 && !errors.Is(syscall.Kill(h.pid, 0), syscall.ESRCH) && !gone(h.pid) {
		h.t.Error("the parent is left")
	}
}
