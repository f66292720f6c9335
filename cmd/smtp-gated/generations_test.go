//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// many lets one address have more sessions than any test needs.
const many = "max_connections 500\nmax_per_host 0\nconnect_queue 128\nlock_on never\n"

// TestReloadsGoOn: neither messages under way nor idle clients put a reload off. A
// message is finished, whatever becomes of its generation; who is idle in one that
// must end hears so. With an idle client in each, eight generations may live.
func TestReloadsGoOn(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, many)
		m.answers = make(chan bool)
		writing, err := dialGate(g.address(0), "")
		must(t, err)
		must(t, writing.start())
		must(t, writing.text([]byte(cleanMail)))
		behind, err := dialGate(g.address(0), "")
		must(t, err)
		must(t, behind.start())
		must(t, errors.Join(behind.text([]byte(cleanMail)), behind.send(".")))
		var idle []*client
		for i := range 20 {
			c, err := dialGate(g.address(0), "")
			must(t, err)
			must(t, errors.Join(c.expect("220 "), c.send("EHLO client.test"), c.expect("250")))
			idle = append(idle, c)
			if err := g.reload(); err != nil {
				t.Fatalf("reload %d: %v", i, err)
			}
		}
		for _, c := range idle[:13] {
			must(t, errors.Join(c.expect(`421 4\.3\.2 gate\.test `), c.expect("EOF")))
		}
		for _, c := range idle[13:] {
			must(t, errors.Join(c.send("NOOP"), c.expect("250 ")))
			must(t, c.quit())
		}
		must(t, eventually("what lives is not what messages are under way in", func() bool {
			all, err := g.members()
			numbers := map[int]bool{}
			for _, m := range all {
				numbers[m.Generation] = true
			}
			return err == nil && len(numbers) == 2 && numbers[1] && numbers[21]
		}))
		must(t, writing.send("."))
		close(m.answers)
		for _, c := range []*client{writing, behind} {
			must(t, errors.Join(c.expect("250 "), c.expect(`421 4\.3\.2 `), c.expect("EOF")))
		}
		mails, err := m.box()
		must(t, err)
		if len(mails) != 2 {
			t.Errorf("%d mails have arrived, not two", len(mails))
		}
		noneBad(t, m)
		_, err = g.whole(0)
		must(t, err)
		must(t, g.terminate())
	})
}

// TestReloadIsComplete: whoever connects once smtp-gatectl has returned is judged
// by the new file.
func TestReloadIsComplete(t *testing.T) {
	t.Parallel()
	g, _ := stage(t, os.Geteuid() == 0, many)
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
		go greet(l, fmt.Sprintf("220 server %d\r\n", i))
	}
	for round := range 40 {
		g.server = ports[round%2]
		must(t, g.configure(many, false))
		if out, err := g.command(program("smtp-gatectl"), "--socket", g.path("run/control"), "reload").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for range 5 {
			c, err := dialGate(g.address(0), "")
			must(t, err)
			if err := c.expect(fmt.Sprintf("220 server %d", round%2)); err != nil {
				t.Fatalf("reload %d: %v", round, err)
			}
			c.conn.Close()
		}
	}
	must(t, g.terminate())
}

// greet is a server of which only the first line matters.
func greet(l net.Listener, line string) {
	serveEach(l, func(c net.Conn) {
		io.WriteString(c, line)
		io.Copy(io.Discard, c)
	})
}

// workers are the pids of the sessions of the generation in force.
func (g *gate) workers() (pids []int, err error) {
	all, err := g.members()
	newest := 0
	for _, m := range all {
		newest = max(newest, m.Generation)
	}
	for _, m := range all {
		if m.Room == "session" && m.Generation == newest && m.State == "running" {
			pids = append(pids, m.PID)
		}
	}
	if err == nil && len(pids) == 0 {
		err = errors.New("no workers")
	}
	return pids, err
}

// rush is clients who connect, read one line and go, again and again. None may be
// refused or cut off.
type rush struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	faults []error
}

func newRush(g *gate, clients int) *rush {
	ctx, cancel := context.WithCancel(context.Background())
	r := &rush{cancel: cancel}
	for range clients {
		r.wg.Go(func() {
			for ctx.Err() == nil {
				if err := r.once(g.address(0)); err != nil {
					r.mu.Lock()
					r.faults = append(r.faults, err)
					r.mu.Unlock()
				}
			}
		})
	}
	return r
}

func (r *rush) once(address string) error {
	c, err := dialGate(address, "")
	if err != nil {
		return err
	}
	defer c.conn.Close()
	return c.expect("220 ")
}

func (r *rush) stop() error {
	r.cancel()
	r.wg.Wait()
	return errors.Join(r.faults...)
}

// TestWorkersChange: however many workers there were and will be, who waits to be
// accepted waits for the next ones. Of sockets that systemd opened there is one
// for all.
func TestWorkersChange(t *testing.T) {
	t.Parallel()
	for _, given := range []bool{false, true} {
		t.Run(map[bool]string{false: "own", true: "given"}[given], func(t *testing.T) {
			t.Parallel()
			g, _ := stage(t, os.Geteuid() == 0, many)
			if given {
				must(t, g.terminate())
				l, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				defer l.Close()
				f, err := l.(*net.TCPListener).File()
				must(t, err)
				defer f.Close()
				must(t, g.start(f))
			}
			r := newRush(g, 40)
			for _, n := range []int{5, 1, 3, 2} {
				old, err := g.workers()
				must(t, err)
				must(t, g.configure(fmt.Sprint(many, "workers ", n, "\n"), false))
				// Nobody accepts, until the new ones do.
				must(t, freeze(old))
				waiting := queued(t, g, 60)
				g.forget()
				must(t, g.signal(syscall.SIGHUP))
				for _, c := range waiting {
					err = errors.Join(err, c.expect("220 "), c.conn.Close())
				}
				must(t, errors.Join(each(old, syscall.SIGCONT), err))
				must(t, g.ready())
				now, err := g.workers()
				must(t, err)
				if len(now) != n {
					t.Errorf("%d workers, not %d", len(now), n)
				}
			}
			must(t, r.stop())
			must(t, g.terminate())
		})
	}
}

// queued has clients wait for a worker that is stopped.
func queued(t *testing.T, g *gate, n int) (all []*client) {
	t.Helper()
	for range n {
		c, err := dialGate(g.address(0), "")
		must(t, err)
		all = append(all, c)
	}
	return all
}

// TestWorkerDiesWithAQueue: another one, or the next one, serves who waited for it.
func TestWorkerDiesWithAQueue(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, _ := stage(t, rooted, many)
		for _, dying := range []int{1, 2} {
			all, err := g.workers()
			must(t, err)
			must(t, freeze(all[:dying]))
			clients := queued(t, g, 60)
			must(t, each(all[:dying], syscall.SIGKILL))
			for _, c := range clients {
				must(t, c.expect("220 "))
				must(t, c.quit())
			}
			_, err = g.whole(all[0])
			must(t, err)
		}
		must(t, g.terminate())
	})
}

// TestListenerCloses: who waits at one hears why, when the family stops or an
// address is given up.
func TestListenerCloses(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, _ := stage(t, rooted, many)
		for _, end := range []string{"address", "TERM"} {
			all, err := g.workers()
			must(t, err)
			must(t, freeze(all))
			clients := queued(t, g, 60)
			if end == "TERM" {
				must(t, g.signal(syscall.SIGTERM))
				must(t, eventually("the pid file stays", func() bool { _, err := os.Stat(g.path("run/pid")); return err != nil }))
			} else {
				must(t, g.configure(many+"bind_address 127.0.0.2\n", false))
				g.forget()
				must(t, g.signal(syscall.SIGHUP))
				must(t, g.notified("RELOADING=1"))
				must(t, eventually("the old workers are not asked to drain", func() bool {
					now, err := g.members()
					return err == nil && !slices.ContainsFunc(now, func(m member) bool {
						return slices.Contains(all, m.PID) && m.State != "draining"
					})
				}))
			}
			must(t, each(all, syscall.SIGCONT))
			told := 0
			for _, c := range clients {
				line, err := c.reply()
				switch {
				case err != nil:
					t.Fatal(err)
				case strings.HasPrefix(line, "220 "):
					must(t, c.quit())
				case strings.HasPrefix(line, "421 gate.test "):
					told++
					must(t, c.expect("EOF"))
				default:
					t.Fatal(line)
				}
				c.conn.Close()
			}
			t.Logf("%s: %d of %d were told", end, told, len(clients))
			if end == "address" {
				must(t, g.ready())
				if _, err := net.DialTimeout("tcp", clients[0].conn.RemoteAddr().String(), time.Second); err == nil {
					t.Error("the old address still listens")
				}
			}
		}
		if status, err := g.wait(); err != nil || status != 0 {
			t.Errorf("exit status %d, %v", status, err)
		}
	})
}
