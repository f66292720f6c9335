// The family that a liar is in. This file owns what is looked at while it lies: who is there,
// what each holds and how long it works, and who is locked.

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// theatre is a family with a liar.
type theatre struct {
	*gate
	plot
	t        *testing.T
	crowds   []*crowd
	births   chan *net.UnixConn // liars, as they are born
	conn     *net.UnixConn      // to the one that lies
	visitors []*tls.Config      // clients who keep their tickets
	liars    []int              // processes that have lied
	members  []member
	start    map[int]int64 // what they held, in octets
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

// moves waits until mail gets through from each of the crowds.
func (h *theatre) moves() error {
	for _, c := range h.crowds {
		if err := c.moves(); err != nil {
			return fmt.Errorf("%w: %v", err, c)
		}
	}
	return nil
}

// unsigned are the manners in which no signature is a true one.
var unsigned = []string{"silent", "garble", "long"}

// answer has the liar answer as it likes while clients come.
func (h *theatre) answer() (told, cut, deaths int) {
	for n, manner := range h.manners {
		begun, d := h.secrets()
		deaths += d
		workers := h.workers()
		_, _, d = h.tell(manner)
		deaths += d
		var mu sync.Mutex
		var disturbed []error
		taken := func(sort, answer string, err error) {
			if !strings.HasPrefix(answer, "250 ") {
				mu.Lock()
				defer mu.Unlock()
				disturbed = append(disturbed, fmt.Errorf("a mail %s, %s: %q, %v", sort, manner, answer, err))
			}
		}
		var all sync.WaitGroup
		for i := range 7 {
			all.Go(func() {
				c, err := dialGate(h.address(0), fmt.Sprintf("127.0.%d.%d", 10+n, i+1))
				if err != nil {
					h.t.Error(err)
					return
				}
				defer c.conn.Close()
				switch {
				case !h.keys():
				case i == 6:
					c.tls = anyServer // who needs a signature
				case i%2 > 0:
					c.tls = h.visitors[i/2]
				}
				answer, err := h.stamped(c.deliver)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					h.t.Errorf("a client waits for ever: %s", manner)
				}
				if c.tls == anyServer && slices.Contains(unsigned, manner) && err == nil {
					h.t.Errorf("a handshake without a true signature succeeds: %s", manner)
				}
				if h.keys() && c.tls == nil {
					taken("in clear", answer, err)
				}
			})
		}
		h.command(program("smtp-gatectl"), "--socket", h.path("run/control"), "sessions").Run()
		all.Wait()
		for _, c := range begun {
			answer, err := "", c.mail("354 ")
			if err == nil {
				answer, err = h.stamped(c.finish)
			}
			if err == nil {
				err = c.quit()
			}
			c.conn.Close()
			taken("in a session under TLS that had begun", answer, err)
		}
		if slices.Equal(workers, h.workers()) { // else it ended with its room
			for _, err := range disturbed {
				h.t.Error(err)
			}
		}
		told++
	}
	_, _, d := h.tell("honest")
	return told, 0, deaths + d
}

// stamped is a mail of which is known whether it arrived.
func (h *theatre) stamped(send func([]byte) (string, error)) (answer string, err error) {
	number, text := h.crowds[0].post.stamp(cleanMail, 0)
	answer, err = send([]byte(text))
	h.crowds[0].heard(number, "250", answer, err)
	return answer, err
}

// secrets are sessions under TLS that have begun, if keys matter, with clients who will
// come again and show what they were given; and how many liars had ended before.
func (h *theatre) secrets() (all []*client, deaths int) {
	if !h.keys() {
		return nil, 0
	}
	if h.visitors == nil {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13} {
			h.visitors = append(h.visitors, &tls.Config{
				InsecureSkipVerify: true, ServerName: "gate.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8),
			})
		}
	}
	_, _, deaths = h.tell("honest")
	for _, config := range h.visitors {
		must(h.t, eventually("no session under TLS begins", func() bool {
			c, err := dialGate(h.address(0), "127.0.3.1")
			must(h.t, err)
			h.t.Cleanup(func() { c.conn.Close() })
			c.tls = config
			if c.greet() != nil {
				return false
			}
			all = append(all, c)
			return true
		}))
	}
	return all, deaths
}

// workers are the processes that have sessions.
func (h *theatre) workers() (list []int) {
	all, err := h.gate.members()
	must(h.t, err)
	for _, m := range all {
		if m.Room == "session" {
			list = append(list, m.PID)
		}
	}
	return list
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
