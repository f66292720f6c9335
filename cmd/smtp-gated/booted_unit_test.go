//go:build linux && booted

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// booted is a unit of the machine that systemd has booted.
type booted struct {
	*testing.T
	name string
}

// dropIns is where what is added to a unit lies.
func (b booted) dropIns() string { return "/etc/systemd/system/" + b.name + ".d" }

func (b booted) systemctl(args ...string) string {
	b.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		b.Fatalf("systemctl %v: %v: %s\n%s", args, err, out, b.journal(40))
	}
	return strings.TrimSpace(string(out))
}

func (b booted) property(name string) string {
	b.Helper()
	return b.systemctl("show", "--property="+name, "--value", b.name)
}

// journal is the end of what the unit's journal has.
func (b booted) journal(lines int) string {
	out, _ := exec.Command("journalctl", "--no-pager", fmt.Sprintf("--lines=%d", lines), "--unit", b.name).CombinedOutput()
	return string(out)
}

// add has the unit be as it is installed, and lines of its section Service that the test
// adds. The test leaves it as it was.
func (b booted) add(lines string) {
	b.Helper()
	must(b, os.MkdirAll(b.dropIns(), 0o755))
	write(b.T, b.dropIns()+"/story.conf", "[Service]\n"+lines)
	b.systemctl("daemon-reload")
	b.Cleanup(func() {
		exec.Command("systemctl", "kill", "--signal=KILL", b.name).Run()
		exec.Command("systemctl", "stop", b.name).Run()
		exec.Command("systemctl", "reset-failed", b.name).Run()
		must(b, os.RemoveAll(b.dropIns()))
		b.systemctl("daemon-reload")
	})
}

// strict are the drop-ins with which all is tested that works with them: none, and the one
// that is for those who have no script.
var strict = map[string]string{"as installed": "", "without a script": "10-no-script.conf"}

// gateUnit is the unit of the gate, which begins to run it by systemctl start. Whatever the
// gate has lies where the unit lets it write.
func gateUnit(t *testing.T, dropIn string) (booted, func(g *gate, more string)) {
	const spool = "/var/spool/smtp-gated"
	must(t, os.MkdirAll(spool, 0o755))
	t.Setenv("TMPDIR", spool)
	b := booted{t, "smtp-gated.service"}
	return b, func(g *gate, more string) {
		t.Helper()
		if dropIn != "" {
			must(t, os.MkdirAll(b.dropIns(), 0o755))
			text, err := os.ReadFile("/usr/share/examples/smtp-gated/systemd/" + dropIn)
			must(t, err)
			write(t, filepath.Join(b.dropIns(), dropIn), string(text))
		}
		b.add(fmt.Sprintf("ExecStart=\nExecStart=%s -f %s\nExecReload=\nExecReload=%s --config %[2]s reload\n%[4]s",
			program("smtp-gated"), g.path("smtp-gated.conf"), program("smtp-gatectl"), more))
	}
}

// runs starts the unit, and has the gate know the process.
func (b booted) runs(g *gate) {
	b.Helper()
	b.systemctl("start", b.name)
	b.follows(g)
	b.serves(g)
}

// serves waits until the log tells where the gate serves: systemd has heard of it before.
func (b booted) serves(g *gate) {
	b.Helper()
	if !g.discreet {
		must(b, g.inLog(fmt.Sprintf(`smtp-gated\[%d\]: ready `, g.pid)))
	}
}

// follows has the gate know the process that the unit's main one is.
func (b booted) follows(g *gate) {
	b.Helper()
	pid, err := strconv.Atoi(b.property("MainPID"))
	must(b, err)
	g.pid, g.cmd = pid, nil
}
