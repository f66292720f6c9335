//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// follow finds the daemon that has taken over from another.
func (g *gate) follow(old int) error {
	err := eventually("nobody takes over", func() bool {
		g.forget()
		text, err := os.ReadFile(g.path("run/pid"))
		pid, nerr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || nerr != nil || pid == old {
			return false
		}
		g.pid, g.cmd = pid, nil
		return true
	})
	if err != nil {
		return err
	}
	return eventually("the heir does not say that it serves", func() bool {
		g.forget()
		return strings.Contains(g.log(), fmt.Sprintf("smtp-gated[%d]: taken over", g.pid))
	})
}

// alone waits until the program before has ended, and ours knows: then the next may come.
func (g *gate) alone(old int) error {
	return eventually("the program before does not end", func() bool {
		g.forget()
		return gone(old) && matches(fmt.Sprintf(`smtp-gated\[%d\]: the last session of the program before has ended`, g.pid), g.log())
	})
}

// TestUpgradeUnderLoad: a program that takes over while mail flows refuses and drops
// nobody, tells nobody to come again, and neither loses nor doubles a mail.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := rehearse(t, rooted)
		must(t, g.certified(busy))
		must(t, g.start())
		crowd := g.crowd(m, 20, 0, verdicts...)
		for i := range 25 {
			must(t, crowd.moves())
			must(t, g.certified(fmt.Sprintf("%sworkers %d\n", busy, 1+i%3)))
			old := g.pid
			must(t, g.signal(syscall.SIGUSR2))
			must(t, g.follow(old))
			must(t, g.alone(old))
		}
		must(t, crowd.moves())
		must(t, crowd.stop())
		must(t, crowd.undisturbed())
		noneBad(t, m)
		if n := m.post.count(isTaken); int64(n) != crowd.sent.Load() {
			t.Errorf("%d mails were delivered, %d accepted", n, crowd.sent.Load())
		}
		r, err := g.ask()
		must(t, err)
		if r.Crashes > 0 {
			t.Errorf("%d rooms crashed", r.Crashes)
		}
		must(t, g.terminate())
	})
}

// ownProgram is a stage whose program may be replaced. FOLDER in its configuration is where
// the daemon may write.
func ownProgram(t *testing.T, rooted bool, configuration string) (*gate, *msa) {
	t.Helper()
	g, m := rehearse(t, rooted)
	g.daemon = g.path("daemon")
	// Not by ourselves: a process that is just being started would have it open.
	must(t, exec.Command("cp", program("smtp-gated"), g.daemon).Run())
	must(t, g.configure(strings.ReplaceAll(configuration, "FOLDER", g.path("run")), false))
	must(t, g.start())
	return g, m
}

// replace puts another program in the place of the daemon's.
func (g *gate) replace(text string) error {
	return errors.Join(os.WriteFile(g.path("new"), []byte(text), 0o755), os.Rename(g.path("new"), g.daemon))
}

// TestUpgradeGoesOn: who has a session when another program takes over keeps it, to the
// answer of its message; what it has used counts on, and so do the sessions that live.
func TestUpgradeGoesOn(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := rehearse(t, rooted)
		must(t, g.configure("max_per_host 3\nlock_on never\nratelimit_expiration 3600\nratelimit_messages 2\nratelimit_path "+g.path("run/rates")+"\n", false))
		must(t, g.start())
		long, err := dialGate(g.address(0), "127.0.2.1")
		must(t, err)
		must(t, long.start())
		must(t, long.text([]byte(cleanMail)))
		idle, err := dialGate(g.address(0), "127.0.2.1")
		must(t, err)
		must(t, errors.Join(idle.expect("220 "), idle.send("EHLO client.test"), idle.expect("250")))
		old := g.pid
		out, err := g.ctl("upgrade")
		if err != nil || !strings.HasPrefix(out, "upgraded: version ") {
			t.Fatalf("%v: %s", err, out)
		}
		must(t, g.follow(old))
		reads := func() {
			t.Helper()
			if out, err := g.ctl("config"); err != nil || !strings.Contains(out, "\nper_host = 3\n") {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := g.ctl("--socket", g.path("run/status"), "sessions"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := g.ctl("--socket", g.path("run/status"), "reload"); err == nil || !strings.Contains(out, "this socket only reads") {
				t.Errorf("%v: %s", err, out)
			}
		}
		reads()
		if gone(old) {
			t.Error("the old one has left its sessions alone")
		}
		if out, err := g.ctl("upgrade"); err == nil || !strings.Contains(out, "the program before this one has sessions still") {
			t.Errorf("a second upgrade: %v: %s", err, out)
		}
		all, err := g.members()
		must(t, err)
		workers := 0
		for _, m := range all {
			if m.Room == "session" {
				workers++
			}
		}
		if workers < 3 || workers > 4 { // two of the new, and of the old those with sessions
			t.Errorf("%d workers are known", workers)
		}
		// The third of the host may come, the fourth may not.
		third, err := dialGate(g.address(0), "127.0.2.1")
		must(t, err)
		must(t, third.expect("220 "))
		fourth, err := dialGate(g.address(0), "127.0.2.1")
		must(t, err)
		must(t, fourth.expect("421 "))
		must(t, third.quit())
		// One message of two was used before, by a session that is under way.
		must(t, errors.Join(long.send("."), long.expect("250 ")))
		must(t, idle.mail("354 "))
		must(t, errors.Join(idle.text([]byte(cleanMail)), idle.send("."), idle.expect("250 ")))
		must(t, long.mail("552 "))
		must(t, idle.quit())
		long.conn.Close()
		must(t, eventually("the old one does not end", func() bool { return gone(old) }))
		must(t, eventually("its end is not noticed", func() bool {
			all, err := g.members()
			return err == nil && len(all) == 6
		}))
		reads()
		noneBad(t, m)
		must(t, g.terminate())
	})
}

// TestUpgradeFails: whatever is wrong with the file or with the program that is to take
// over, the old one serves on, says why, and the next upgrade works.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := ownProgram(t, rooted, busy)
		real, err := os.ReadFile(g.daemon)
		must(t, err)
		crowd := g.crowd(m, 5, 0, verdicts...)
		must(t, crowd.moves())
		fails := func(what string, want string) {
			t.Helper()
			old := g.pid
			g.forget()
			if out, err := g.ctl("upgrade"); err == nil || !matches(want, out) {
				t.Errorf("%s: %v: %s, want %q", what, err, out, want)
			}
			if gone(old) {
				t.Fatalf("%s: the old one has ended", what)
			}
			must(t, crowd.moves())
		}
		must(t, g.configure("mode nonsense\n", false))
		fails("a wrong file", `old one goes on: .*nonsense`)
		must(t, g.configure(busy+"pidfile "+g.path("run/other")+"\n", false))
		fails("another pid file", `pidfile: needs a restart`)
		must(t, g.configure(busy, false))
		must(t, g.replace("#!/bin/sh\nexit 3\n"))
		fails("a program that ends", `it has ended`)
		must(t, g.replace("rubbish"))
		fails("no program", `exec format error`)
		must(t, os.Remove(g.daemon))
		fails("no file", `no such file`)
		must(t, g.replace(string(real)))
		old := g.pid
		if out, err := g.ctl("upgrade"); err != nil {
			t.Errorf("the right program: %v: %s", err, out)
		}
		must(t, g.follow(old))
		must(t, crowd.moves())
		must(t, crowd.stop())
		must(t, crowd.undisturbed())
		noneBad(t, m)
		must(t, g.terminate())
	})
}

// TestHeirDies: the program that takes over is killed at any moment: one of the two
// serves, and no mail is lost.
func TestHeirDies(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := stage(t, rooted, busy)
		crowd := g.crowd(m, 5, 0, verdicts...)
		must(t, crowd.moves())
		for i := range 20 {
			old := g.pid
			g.forget()
			must(t, g.signal(syscall.SIGUSR2))
			heir := 0
			must(t, eventually("no heir is started", func() bool {
				heir = heirOf(g.log(), old, i+1)
				return heir > 0
			}))
			time.Sleep(time.Duration(i) * 15 * time.Millisecond)
			if strings.Contains(g.log(), fmt.Sprintf("smtp-gated[%d]: taken over", heir)) {
				must(t, g.follow(old)) // as it should have
				break
			}
			syscall.Kill(heir, syscall.SIGKILL)
			must(t, eventually("the old one does not say it", func() bool {
				g.forget()
				return strings.Count(g.log(), "upgrade failed, this program goes on") == i+1 || gone(old)
			}))
			if gone(old) { // it was killed when it served: nobody is left, as when any daemon is killed
				crowd.stop()
				noneBad(t, m)
				return
			}
			must(t, crowd.moves())
		}
		must(t, crowd.stop())
		if crowd.cut.Load()+crowd.unreached.Load() > 0 {
			t.Errorf("clients were cut off")
		}
		t.Log(crowd)
		noneBad(t, m)
		must(t, g.terminate())
	})
}

// heirOf returns the process of the n-th heir that a daemon has started.
func heirOf(log string, old, n int) (pid int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, fmt.Sprintf("smtp-gated[%d]: upgrade: another program gets ready", old)) {
			if n--; n == 0 {
				_, text, _ := strings.Cut(line, "pid=")
				pid, _ = strconv.Atoi(strings.TrimSpace(text))
			}
		}
	}
	return pid
}
