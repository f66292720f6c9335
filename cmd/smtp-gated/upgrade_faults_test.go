//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A stage is how far an upgrade has come when something happens to it.
const (
	starting = "before Ready"
	ready    = "between Ready and Serving"
	taken    = "after Serving"
)

// handover is an upgrade that is held at a stage until it goes on.
type handover struct {
	*gate
	t           *testing.T
	server      *msa
	elder, heir int
	lockd       int       // the elder's
	sits        *client   // has a session of the elder
	family      []int     // every process there is
	process     *exec.Cmd // the elder
}

// hold begins an upgrade and stops it at a stage.
func hold(t *testing.T, rooted bool, stage, configuration string) *handover {
	t.Helper()
	g, m := ownProgram(t, rooted, configuration)
	must(t, g.replace(fmt.Sprintf("#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.02; done\nexec %s \"$@\"\n", g.path("go"), program("smtp-gated"))))
	h := &handover{gate: g, t: t, server: m, elder: g.pid, process: g.cmd}
	all, err := g.members()
	must(t, err)
	h.lockd = all[slices.IndexFunc(all, func(m member) bool { return m.Room == "lockd" })].PID
	h.sits, err = dialGate(g.address(0), "127.0.3.1")
	must(t, err)
	t.Cleanup(func() { h.sits.conn.Close() })
	must(t, h.sits.start())
	if stage == ready {
		must(t, syscall.Kill(h.lockd, syscall.SIGSTOP))
		t.Cleanup(func() { syscall.Kill(h.lockd, syscall.SIGCONT) })
	}
	must(t, g.signal(syscall.SIGUSR2))
	must(t, eventually("no heir is started", func() bool {
		h.heir = heirOf(g.log(), h.elder, 1)
		return h.heir > 0
	}))
	t.Cleanup(h.endHeirs)
	switch stage {
	case ready:
		must(t, h.letGo())
		must(t, g.inLog("upgrade: the other program is ready"))
	case taken:
		must(t, h.letGo())
		must(t, g.follow(h.elder))
	}
	h.family = slices.Concat(offspring(h.elder), offspring(h.heir))
	return h
}

// endHeirs ends those that a test which has failed leaves.
func (h *handover) endHeirs() {
	for line := range strings.Lines(h.log()) {
		_, text, found := strings.Cut(line, "another program gets ready")
		_, number, _ := strings.Cut(text, "pid=")
		pid, err := strconv.Atoi(strings.TrimSpace(number))
		if !found || err != nil || gone(pid) {
			continue
		}
		// Nobody else who may have its number by now.
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(args), h.dir) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// letGo has the heir begin.
func (h *handover) letGo() error { return os.WriteFile(h.path("go"), nil, 0o644) }

// goOn ends the hold of any stage.
func (h *handover) goOn() {
	h.t.Helper()
	must(h.t, h.letGo())
	syscall.Kill(h.lockd, syscall.SIGCONT) // it may have ended
}

// finish ends the session with the elder as it should end.
func (h *handover) finish() {
	h.t.Helper()
	must(h.t, errors.Join(h.sits.text([]byte(cleanMail)), h.sits.send("."), h.sits.expect("250 "), h.sits.quit()))
}

// serves tells that the daemon with this number has all to itself.
func (h *handover) serves(pid int) {
	h.t.Helper()
	must(h.t, eventually("it does not have the pid file", func() bool {
		text, _ := os.ReadFile(h.path("run/pid"))
		return strings.TrimSpace(string(text)) == strconv.Itoa(pid)
	}))
	must(h.t, eventually("it does not answer", func() bool {
		r, err := h.ask()
		return err == nil && slices.ContainsFunc(r.Rooms, func(m member) bool { return m.Room == "parent" && m.PID == pid })
	}))
	must(h.t, sendClean(h.gate))
	h.refusesAnother()
}

// refusesAnother has another daemon started, plainly.
func (h *handover) refusesAnother() {
	h.t.Helper()
	out, err := h.command(program("smtp-gated"), "-f", h.path("smtp-gated.conf")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another daemon is running") {
		h.t.Errorf("a plain start: %v: %s", err, out)
	}
}

// nothingLeft waits until nothing is left of both.
func (h *handover) nothingLeft() {
	h.t.Helper()
	must(h.t, eventually("processes are left", func() bool {
		h.forget()
		return !slices.ContainsFunc(h.family, func(pid int) bool { return !gone(pid) })
	}))
	for _, name := range []string{"run/pid", "run/control"} {
		if _, err := os.Stat(h.path(name)); err == nil {
			h.t.Errorf("%s is left", name)
		}
	}
}

// offspring returns a process and all that descend from it.
func offspring(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, childrenOf(all[i])...)
	}
	return all
}

func childrenOf(pid int) (all []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for word := range strings.FieldsSeq(string(text)) {
			child, _ := strconv.Atoi(word)
			all = append(all, child)
		}
	}
	return all
}

// status waits for the elder's end, which is the only one whose status we get.
func (h *handover) status(want int) {
	h.t.Helper()
	must(h.t, eventually("the elder does not end", func() bool {
		h.forget()
		select {
		case <-h.ended:
			return true
		default:
			return false
		}
	}))
	if got := h.process.ProcessState.ExitCode(); got != want {
		h.t.Errorf("exit status %d, not %d", got, want)
	}
}

// TestUpgradeIsSignalled: whatever signal comes to either of the two, however far they
// have come, one of them serves, or all have ended as asked, and nothing is left.
func TestUpgradeIsSignalled(t *testing.T) {
	t.Parallel()
	const conf = busy + "drain_timeout 20m\n"
	type sent struct {
		stage string
		heir  bool
		times int
		what  syscall.Signal
	}
	for _, s := range []struct {
		sent
		then func(h *handover)
	}{
		{sent{starting, false, 1, syscall.SIGTERM}, (*handover).elderEnds},
		{sent{ready, false, 1, syscall.SIGTERM}, (*handover).elderEnds},
		{sent{taken, false, 1, syscall.SIGTERM}, (*handover).heirServes},
		{sent{starting, false, 2, syscall.SIGINT}, (*handover).allEnd},
		{sent{ready, false, 2, syscall.SIGINT}, (*handover).allEnd},
		{sent{taken, false, 2, syscall.SIGINT}, (*handover).heirServesAlone},
		{sent{starting, false, 1, syscall.SIGUSR2}, (*handover).heirServes},
		{sent{ready, false, 1, syscall.SIGUSR2}, (*handover).heirServes},
		{sent{taken, false, 1, syscall.SIGUSR2}, (*handover).heirServes},
		{sent{taken, false, 1, syscall.SIGHUP}, (*handover).heirServes},
		{sent{starting, true, 1, syscall.SIGTERM}, (*handover).elderServes},
		{sent{ready, true, 1, syscall.SIGTERM}, (*handover).elderServes},
		{sent{taken, true, 1, syscall.SIGTERM}, (*handover).bothEnd},
		{sent{ready, true, 2, syscall.SIGINT}, (*handover).elderServes},
		{sent{taken, true, 2, syscall.SIGINT}, (*handover).allEnd},
		{sent{ready, true, 1, syscall.SIGHUP}, (*handover).heirServes},
		{sent{taken, true, 1, syscall.SIGHUP}, (*handover).heirServes},
		{sent{ready, true, 1, syscall.SIGUSR2}, (*handover).heirServes},
		{sent{taken, true, 1, syscall.SIGUSR2}, (*handover).heirServes},
	} {
		who := "elder"
		if s.heir {
			who = "heir"
		}
		t.Run(fmt.Sprintf("%d %v to the %s %s", s.times, s.what, who, s.stage), func(t *testing.T) {
			bothWays(t, func(t *testing.T, rooted bool) {
				t.Parallel()
				h := hold(t, rooted, s.stage, conf)
				to := h.elder
				if s.heir {
					to = h.heir
				}
				for i := range s.times {
					must(t, syscall.Kill(to, s.what))
					if i+1 < s.times { // two of a kind that wait are one
						must(t, h.inLog(fmt.Sprintf(`smtp-gated\[%d\]: asked to stop`, to)))
					}
				}
				s.then(h)
				noneBad(t, h.server)
			})
		})
	}
}

// elderEnds: with its last session, and the heir is none.
func (h *handover) elderEnds() {
	h.t.Helper()
	must(h.t, eventually("the heir does not end", func() bool { h.forget(); return gone(h.heir) }))
	h.goOn()
	h.finish()
	h.status(0)
	h.nothingLeft()
}

// allEnd: at once.
func (h *handover) allEnd() {
	h.t.Helper()
	h.status(0)
	h.nothingLeft()
}

// bothEnd: with the last session, the heir last, for a service manager kills whoever is
// left when its main process has ended.
func (h *handover) bothEnd() {
	h.t.Helper()
	must(h.t, h.inLog(fmt.Sprintf(`smtp-gated\[%d\]: asked to stop`, h.heir)))
	h.finish()
	h.status(0)
	must(h.t, eventually("the heir does not end", func() bool { h.forget(); return gone(h.heir) }))
	h.nothingLeft()
}

// heirServes, and the session of the elder goes on.
func (h *handover) heirServes() {
	h.t.Helper()
	h.goOn()
	if h.pid == h.elder {
		must(h.t, h.follow(h.elder))
	}
	h.serves(h.heir)
	h.finish()
	h.heirServesAlone()
}

// heirServesAlone: the elder has ended.
func (h *handover) heirServesAlone() {
	h.t.Helper()
	h.status(0)
	h.pid, h.cmd = h.heir, nil
	h.serves(h.heir)
	h.family = append(h.family, offspring(h.heir)...)
	must(h.t, h.terminate())
	h.nothingLeft()
}

// elderServes, as if nothing had been.
func (h *handover) elderServes() {
	h.t.Helper()
	must(h.t, eventually("the heir does not end", func() bool { h.forget(); return gone(h.heir) }))
	h.goOn()
	h.serves(h.elder)
	h.finish()
	h.family = append(h.family, offspring(h.elder)...)
	must(h.t, h.signal(syscall.SIGTERM))
	h.status(0)
	h.nothingLeft()
}

// TestUpgradeReloads: who asks for a reload while another program takes over gets it, though
// that one has read the file before.
func TestUpgradeReloads(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		h := hold(t, rooted, ready, busy)
		must(t, h.configure(busy+"workers 3\n", false))
		must(t, syscall.Kill(h.elder, syscall.SIGHUP))
		h.goOn()
		must(t, h.follow(h.elder))
		must(t, h.inLog(fmt.Sprintf(`smtp-gated\[%d\]: reloading`, h.heir)))
		must(t, eventually("it is not in force", func() bool {
			all, err := h.members()
			return err == nil && slices.ContainsFunc(all, func(m member) bool { return m.Room == "session" && m.Generation == 3 })
		}))
		h.heirServes()
	})
}

// TestHeirsLockdDies: who has a session of the program before counts on, is locked out and
// is limited by each lockd that comes.
func TestHeirsLockdDies(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		const host = "127.0.3.1" // of the session that sits
		h := hold(t, rooted, taken, "max_per_host 2\nlock_on never\nratelimit_expiration 1h\nratelimit_messages 3\nratelimit_path FOLDER/rates\n")
		for range 3 {
			all, err := h.members()
			must(t, err)
			dies := all[slices.IndexFunc(all, func(m member) bool { return m.Room == "lockd" })].PID
			must(t, syscall.Kill(dies, syscall.SIGKILL))
			// At once: they wait for the next one.
			var come []*client
			for range 5 {
				c, err := dialGate(h.address(0), host)
				must(t, err)
				come = append(come, c)
			}
			in := 0
			for _, c := range come {
				answer, err := c.reply()
				must(t, err)
				if strings.HasPrefix(answer, "220 ") {
					in++
				} else if !strings.HasPrefix(answer, "421 ") {
					t.Error(answer)
				}
			}
			if in != 1 {
				t.Errorf("%d more of the host came in, not 1", in)
			}
			for _, c := range come {
				c.conn.Close()
			}
			must(t, eventually("it is not replaced", func() bool {
				all, err := h.members()
				return err == nil && slices.ContainsFunc(all, func(m member) bool { return m.Room == "lockd" && m.PID != dies })
			}))
		}
		must(t, errors.Join(h.sits.text([]byte(cleanMail)), h.sits.send("."), h.sits.expect("250 ")))
		must(t, h.sits.mail("354 "))
		must(t, errors.Join(h.sits.text([]byte(cleanMail)), h.sits.send("."), h.sits.expect("250 ")))
		must(t, h.sits.mail("354 "))
		out, err := h.ctl("lock", "add", host)
		if err != nil {
			t.Fatal(err, out)
		}
		must(t, errors.Join(h.sits.text([]byte(cleanMail)), h.sits.send(".")))
		answer, err := h.sits.reply()
		if err != nil || strings.HasPrefix(answer, "250") {
			t.Errorf("who is locked out gets %q, %v", answer, err)
		}
		h.sits.conn.Close()
		h.heirServesAlone()
	})
}

// TestElderDies: when the program that is taken over from is killed, the other serves if it
// has begun to, else a plain start does at once; and so does one when the other is killed
// that has taken over.
func TestElderDies(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{starting, ready, taken} {
		t.Run(stage, func(t *testing.T) {
			bothWays(t, func(t *testing.T, rooted bool) {
				t.Parallel()
				h := hold(t, rooted, stage, busy)
				must(t, syscall.Kill(h.elder, syscall.SIGKILL))
				must(t, eventually("its rooms do not end", func() bool {
					h.forget()
					return !slices.ContainsFunc(h.family, func(pid int) bool {
						return pid != h.lockd && !gone(pid) && !slices.Contains(offspring(h.heir), pid)
					})
				}))
				h.goOn()
				if stage == taken {
					h.serves(h.heir)
					h.pid, h.cmd = h.heir, nil
					must(t, h.signal(syscall.SIGKILL))
				}
				must(t, eventually("the heir does not end", func() bool { h.forget(); return gone(h.heir) }))
				must(t, h.start())
				must(t, sendClean(h.gate))
				must(t, h.terminate())
				h.nothingLeft()
			})
		})
	}
}

// TestHeirDiesWhenItServes: the session of the program before ends as it should, and a plain
// start works meanwhile.
func TestHeirDiesWhenItServes(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		h := hold(t, rooted, taken, busy)
		must(t, syscall.Kill(h.heir, syscall.SIGKILL))
		must(t, eventually("the heir does not end", func() bool { h.forget(); return gone(h.heir) }))
		elder := h.ended
		time.Sleep(time.Second) // its sessions are told from those before by when they began
		must(t, h.start())
		must(t, sendClean(h.gate))
		h.finish()
		h.ended, elder = elder, h.ended
		h.status(0)
		h.ended = elder
		must(t, h.terminate())
		h.nothingLeft()
	})
}

// TestGivenSocketsPassOn: what the service manager has given goes from one program to the
// next, with its name and with whoever waits there, and costs none of them anything: after
// ten of them each has what the first had. Nobody else can start at any moment.
func TestGivenSocketsPassOn(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, m := rehearse(t, rooted)
		must(t, g.configure(busy+"connect_queue 128\n", false))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		must(t, g.start(f))
		f.Close()
		h := &handover{gate: g, t: t, server: m}
		t.Cleanup(h.endHeirs)
		_, err = g.whole(0)
		must(t, err)
		h.refusesAnother()
		crowd := g.crowd(m, 5, 0, verdicts...)
		must(t, crowd.moves())
		for i := range 10 {
			workers, err := g.workers()
			must(t, err)
			var waiting []*client
			if i%2 == 0 { // nobody accepts, until the new ones do
				must(t, freeze(workers))
				waiting = queued(t, g, 20)
			}
			old := g.pid
			must(t, g.signal(syscall.SIGUSR2))
			tries := 0
			must(t, eventually("no heir is started", func() bool { return heirOf(g.log(), old, 1) > 0 }))
			heir := heirOf(g.log(), old, 1)
			must(t, eventually("nobody takes over", func() bool {
				g.forget()
				if tries++; tries < 4 {
					h.refusesAnother()
				}
				if i%2 == 0 {
					each(workers, syscall.SIGCONT) // those that have ended need none
				}
				return matches(fmt.Sprintf(`smtp-gated\[%d\]: taken over`, heir), g.log())
			}))
			for _, c := range waiting {
				must(t, c.expect("220 "))
				must(t, c.quit())
			}
			must(t, g.follow(old))
			must(t, g.alone(old))
			h.refusesAnother()
			must(t, crowd.moves())
		}
		must(t, crowd.stop())
		must(t, crowd.undisturbed())
		noneBad(t, m)
		must(t, g.terminate())
	})
}

// TestUpgradesCostNothing: after ten upgrades there are as many processes, threads of the
// parent and descriptors of each as before, and no more memory.
func TestUpgradesCostNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, rooted bool) {
		t.Parallel()
		g, _ := stage(t, rooted, busy)
		var before cost
		for i := range 11 {
			must(t, sendClean(g))
			if i == 1 { // the first was started otherwise
				before = costOf(t, g)
			}
			if i == 10 {
				break
			}
			old := g.pid
			must(t, g.signal(syscall.SIGUSR2))
			must(t, g.follow(old))
			must(t, g.alone(old))
		}
		var after cost
		err := eventually("more is needed than before", func() bool {
			after = costOf(t, g)
			return after.processes == before.processes && after.descriptors <= before.descriptors && after.memory < 2*before.memory
		})
		t.Logf("before: %+v, after: %+v", before, after)
		must(t, err)
		must(t, g.terminate())
	})
}

// cost is what a family has, all together.
type cost struct{ processes, descriptors, threads, memory int }

func costOf(t *testing.T, g *gate) (c cost) {
	t.Helper()
	for _, pid := range offspring(g.pid) {
		c.processes++
		all, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		c.descriptors += len(all)
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			switch n, _ := strconv.Atoi(fields[min(1, len(fields)-1)]); fields[0] {
			case "Threads:":
				c.threads += n
			case "VmRSS:":
				c.memory += n
			case "State:":
				if fields[1] == "Z" {
					t.Errorf("process %d is dead and not buried", pid)
				}
			}
		}
	}
	return c
}

// TestElderDrains: a worker of the program before that dies, at any stage, costs its own
// sessions alone; the other reloads meanwhile; and drain_timeout ends who stays.
func TestElderDrains(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{ready, taken} {
		t.Run(stage, func(t *testing.T) {
			bothWays(t, func(t *testing.T, rooted bool) {
				t.Parallel()
				h := hold(t, rooted, stage, busy+"drain_timeout 5s\n")
				var idle []*client
				for range 6 { // each worker has some
					c, err := dialGate(h.address(0), "127.0.3.3")
					must(t, err)
					defer c.conn.Close()
					idle = append(idle, c)
				}
				for _, child := range childrenOf(h.elder) {
					name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
					if strings.TrimSpace(string(name)) == "smtp-gated-sess" {
						must(t, syscall.Kill(child, syscall.SIGKILL))
						break
					}
				}
				h.goOn()
				if h.pid == h.elder {
					must(t, h.follow(h.elder))
				}
				for i := range 2 {
					must(t, h.configure(fmt.Sprintf("%sdrain_timeout 5s\nworkers %d\nbind_address 127.0.0.%d\n", busy, 3-i, 2-i), false))
					must(t, syscall.Kill(h.heir, syscall.SIGHUP))
					must(t, eventually("it does not reload", func() bool {
						h.forget()
						return strings.Count(h.log(), fmt.Sprintf("smtp-gated[%d]: ready ", h.heir)) == i+2
					}))
					must(t, sendClean(h.gate))
				}
				for _, c := range idle {
					for err := error(nil); err == nil; { // its greeting, 421, or nothing any more
						_, err = c.reply()
					}
				}
				h.sits.send(".") // it has a message under way, if it lives
				h.sits.reply()
				h.sits.conn.Close()
				h.heirServesAlone()
			})
		})
	}
}
