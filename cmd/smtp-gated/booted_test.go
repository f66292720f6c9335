//go:build linux && booted

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBooted is for a machine that systemd has booted, with the daemon installed and
// nothing else to do: see .ci/system. Upgrades, by either way, and a reload cost nobody
// anything; systemd follows the main process, hears it live, and a stop waits for a
// message under way, even in a session of the program before.
func TestBooted(t *testing.T) {
	g, m := rehearse(t, true)
	must(t, g.configure(busy+"drain_timeout 1200\n", false))
	const folder = "/etc/systemd/system/smtp-gated.service.d"
	must(t, os.MkdirAll(folder, 0o755))
	must(t, os.WriteFile(folder+"/story.conf", fmt.Appendf(nil, "[Service]\nProtectSystem=no\nPrivateTmp=no\nWatchdogSec=5\n"+
		"ExecStart=\nExecStart=%s -f %s\nExecReload=\nExecReload=%s --config %[2]s reload\n",
		program("smtp-gated"), g.path("smtp-gated.conf"), program("smtp-gatectl")), 0o644))
	systemctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("systemctl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("systemctl %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	property := func(name string) string { return systemctl("show", "--property="+name, "--value", "smtp-gated") }
	serves := func() {
		t.Helper()
		must(t, eventually("systemd does not follow", func() bool { return property("MainPID") == strconv.Itoa(g.pid) }))
		if state, again := property("ActiveState"), property("NRestarts"); state != "active" || again != "0" {
			t.Fatalf("it is %s, and was restarted %s times", state, again)
		}
	}
	systemctl("daemon-reload")
	systemctl("start", "smtp-gated")
	var err error
	g.pid, err = strconv.Atoi(property("MainPID"))
	must(t, err)
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
	systemctl("reload", "smtp-gated")
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
	time.Sleep(15 * time.Second) // signs of life are due meanwhile
	must(t, crowd.moves())
	serves()
	must(t, crowd.stop())
	must(t, crowd.undisturbed())
	t.Log(crowd)

	stopped := make(chan string, 1)
	go func() { stopped <- systemctl("stop", "smtp-gated") }()
	must(t, g.inLog(fmt.Sprintf(`smtp-gated\[%d\]: asked to stop`, g.pid)))
	must(t, long.send("."))
	must(t, long.expect("250 "))
	must(t, long.quit())
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if result, state := property("Result"), property("ActiveState"); result != "success" || state != "inactive" {
		t.Errorf("it has ended as %s, and is %s", result, state)
	}
	noneBad(t, m)
}
