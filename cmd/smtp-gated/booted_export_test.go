//go:build linux && booted

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestBootedExport is for the same machine as TestBooted: the unit of smtp-gated-export has
// all it needs, which is not root, and others read its metrics and no more.
func TestBootedExport(t *testing.T) {
	run := func(input, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(needProgram(t, name), args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			journal, _ := exec.Command("journalctl", "-u", "smtp-gated-export", "--no-pager").CombinedOutput()
			t.Fatalf("%s %v: %v: %s\n%s", name, args, err, out, journal)
		}
		return string(out)
	}
	g, _ := rehearse(t, true)
	// Where the unit looks for it, which does not see our /tmp.
	must(t, os.MkdirAll("/run/smtp-gated", 0o755))
	must(t, g.configure("control_read_group smtp-gated-status\ncontrol_read_socket /run/smtp-gated/status\n", false))
	must(t, g.start())
	if out, err := g.ctl("lock", "add", "192.0.2.7"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run("", "cp", "/usr/share/examples/smtp-gated/export/nftables-locked.nft", "/etc/nftables.conf")
	run("", "systemctl", "start", "nftables")
	const folder = "/etc/systemd/system/smtp-gated-export.service.d"
	must(t, os.MkdirAll(folder, 0o755))
	// It blocks before any refusal. In a container old cgroups do not tell that they are empty.
	write(t, folder+"/story.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/smtp-gated-export "+exportTo+"\nEnvironment=EVERY=10m\nTimeoutStopSec=2\n")
	run("", "systemctl", "daemon-reload")
	run("", "systemctl", "start", "smtp-gated-export")
	holds := func(want bool) {
		t.Helper()
		if err := eventually("", func() bool {
			return strings.Contains(run("", "nft", "list", "set", "inet", "smtp_gated_locked", "locked4"), "192.0.2.7") == want
		}); err != nil {
			t.Fatalf("it is not blocked: %v\n%s", want, run("", "journalctl", "-u", "smtp-gated-export", "--no-pager"))
		}
	}
	holds(true)
	// Whatever empties the sets by way of nftables.service fills them at once, not in ten minutes.
	const metrics = "/run/smtp-gated-export/smtp-gated-export.prom"
	for _, way := range []string{"reload", "restart"} {
		must(t, eventually("it does not come to rest", func() bool {
			info, err := os.Stat(metrics)
			return err == nil && time.Since(info.ModTime()) > 4*time.Second
		}))
		run("", "systemctl", way, "nftables")
		holds(true)
	}
	run("", "systemctl", "enable", "smtp-gated-export")
	run("", "systemctl", "stop", "nftables")
	run("", "systemctl", "start", "nftables")
	holds(true)
	must(t, eventually("it does not tell others", func() bool {
		out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", metrics).Output()
		return err == nil && matches(`^smtp_gated_export_in_force 1$`, string(out))
	}))
	if out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", "/run/smtp-gated-export/wanted").CombinedOutput(); err == nil {
		t.Errorf("everybody reads who is locked: %s", out)
	}
	if out, err := g.ctl("lock", "remove", "192.0.2.7"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	holds(false)
	run("", "systemctl", "stop", "smtp-gated-export")
}
