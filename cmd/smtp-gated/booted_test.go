//go:build linux && booted

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestBooted is for a machine that systemd has booted, with the daemon installed and
// nothing else to do: see .ci/system. Upgrades, by either way, and a reload cost nobody
// anything; systemd follows the main process, hears it live, and a stop waits for a
// message under way, even in a session of the program before.
func TestBooted(t *testing.T) {
	for name, dropIn := range strict {
		t.Run(name, func(t *testing.T) { servesUnderSystemd(t, dropIn) })
	}
}

func servesUnderSystemd(t *testing.T, dropIn string) {
	b, begin := gateUnit(t, dropIn)
	g, m := rehearse(t, true)
	must(t, g.configure(busy+"drain_timeout 1200\n", false))
	begin(g, "WatchdogSec=2\n")
	serves := func() {
		t.Helper()
		must(t, eventually("systemd does not follow", func() bool { return b.property("MainPID") == strconv.Itoa(g.pid) }))
		if state, again := b.property("ActiveState"), b.property("NRestarts"); state != "active" || again != "0" {
			t.Fatalf("it is %s, and was restarted %s times", state, again)
		}
	}
	b.runs(g)
	held, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.pid))
	must(t, err)
	if want := dropIn != ""; matches(`(?m)^NoNewPrivs:\t1$`, string(held)) != want {
		t.Errorf("no_new_privs is not %v: %s", want, held)
	}
	crowd := g.crowd(m, 20, 0, verdicts...)
	for i := range 10 {
		must(t, crowd.moves())
		old := g.pid
		if i%2 == 0 {
			out, err := g.ctl("upgrade")
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		} else {
			must(t, g.signal(syscall.SIGUSR2))
		}
		must(t, g.follow(old))
		must(t, g.alone(old))
		serves()
	}
	b.systemctl("reload", b.name)
	must(t, crowd.moves())
	serves()

	long, err := dialGate(g.address(0), "127.0.2.1")
	must(t, err)
	must(t, long.start())
	must(t, long.text([]byte(cleanMail)))
	old := g.pid
	if out, err := g.ctl("upgrade"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, g.follow(old))
	// Were a sign of life not heard, it would be ended in a third of that time.
	begun := time.Now()
	must(t, eventually("it gives no signs of life", func() bool {
		heard, err := strconv.ParseInt(b.property("WatchdogTimestampMonotonic"), 10, 64)
		must(t, err)
		return heard > 0 && time.Since(begun) > 6*time.Second
	}))
	must(t, crowd.moves())
	serves()
	must(t, crowd.stop())
	must(t, crowd.undisturbed())
	t.Log(crowd)

	stopped := make(chan string, 1)
	go func() { stopped <- b.systemctl("stop", b.name) }()
	must(t, g.inLog(fmt.Sprintf(`smtp-gated\[%d\]: asked to stop`, g.pid)))
	must(t, long.send("."))
	must(t, long.expect("250 "))
	must(t, long.quit())
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if result, state := b.property("Result"), b.property("ActiveState"); result != "success" || state != "inactive" {
		t.Errorf("it has ended as %s, and is %s", result, state)
	}
	noneBad(t, m)
}

// TestBootedHang: systemd ends a main process that gives no signs of life, and begins anew;
// what it was doing is in the journal.
func TestBootedHang(t *testing.T) {
	b, begin := gateUnit(t, "")
	g, _ := rehearse(t, true)
	must(t, g.configure("", false))
	begin(g, "WatchdogSec=1\nRestartSec=0\n")
	b.runs(g)
	old := g.pid
	must(t, g.signal(syscall.SIGSTOP))
	if err := eventually("it is not begun anew", func() bool {
		b.follows(g)
		return g.pid != 0 && g.pid != old && b.property("ActiveState") == "active"
	}); err != nil {
		t.Fatalf("%v: %s", err, b.journal(40))
	}
	b.serves(g)
	must(t, sendClean(g))
	if said := b.journal(2000); !matches(`(?s)Watchdog timeout.*goroutine`, said) {
		t.Errorf("the journal has: %s", b.journal(40))
	}
}

// TestBootedSees: the unit hides no room from the main process, which has to end what one
// leaves behind, and the log reaches syslog.
func TestBootedSees(t *testing.T) {
	for name, dropIn := range strict {
		t.Run(name, func(t *testing.T) {
			b, begin := gateUnit(t, dropIn)
			g, _ := rehearse(t, true)
			must(t, g.configure("log_target syslog\n", false))
			g.discreet = true
			begin(g, "")
			b.runs(g)
			all, err := g.members()
			must(t, err)
			for _, m := range all {
				// As the main process is: root, where it is, and not allowed to trace others.
				if out, err := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", g.pid), "setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all",
					"cat", fmt.Sprintf("/proc/%d/stat", m.PID), fmt.Sprintf("/proc/%d/limits", m.PID)).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", m.Room, err, out)
				}
			}
			must(t, eventually("syslog has not heard of it", func() bool {
				out, _ := exec.Command("journalctl", "--no-pager", "--output=verbose", "SYSLOG_IDENTIFIER=smtp-gated", fmt.Sprintf("_PID=%d", g.pid)).Output()
				return matches(`(?s)_TRANSPORT=syslog.*ready generation=1`, string(out))
			}))
		})
	}
}
