package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// doas stands for doas(1) and pfctl(8): it keeps one table.
const doas = `#!/bin/sh
echo "$*" >>"$STAGE/said"
case "$*" in
*replace*) cat >"$STAGE/new" && mv "$STAGE/new" "$STAGE/table" ;;
*show*) sed 's/^/   /' "$STAGE/table" ;;
esac
`

// TestExportForPf: the loop replaces a table of pf, by what doas.conf lets it do and no
// more; without a daemon it leaves the table alone.
func TestExportForPf(t *testing.T) {
	g, _ := rehearse(t, false)
	must(t, g.configure("", false))
	must(t, g.start())
	stage := t.TempDir()
	at := func(name string) string { return filepath.Join(stage, name) }
	must(t, os.WriteFile(at("doas"), []byte(doas), 0o755))
	for _, name := range []string{"192.0.2.7", "2001:db8:1::"} {
		if out, err := g.ctl("lock", "add", name); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cmd := exec.Command("/bin/sh", recipes+"smtp-gated-export", "pf:smtp_gated_locked")
	cmd.Env = append(os.Environ(), "PATH="+stage+":"+programs+":"+os.Getenv("PATH"), "STAGE="+stage, "RUNTIME_DIRECTORY="+stage,
		"EVERY=10m", "GATE_STORY=yes", "SMTP_GATECTL=smtp-gatectl --socket "+g.path("run/status"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(at("log"))
	must(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	// A shell cannot trap what it was told to ignore, as by nohup(1), and so by us.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	must(t, cmd.Start())
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	holds := func(table, metrics string) {
		t.Helper()
		have := func(name string) string {
			text, _ := os.ReadFile(at(name))
			return string(text)
		}
		if err := eventually("", func() bool { return have("table") == table && matches(metrics, have("smtp-gated-export.prom")) }); err != nil {
			t.Fatalf("the table is %q, not %q:\n%s%s", have("table"), table, have("smtp-gated-export.prom"), have("log"))
		}
	}
	holds("192.0.2.7\n2001:db8:1::/64\n", `^smtp_gated_export_in_force 2$`)
	if out, err := g.ctl("lock", "remove", "192.0.2.7"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	holds("2001:db8:1::/64\n", `^smtp_gated_export_in_force 1$`)
	// Somebody loads the filter anew, and says so.
	write(t, at("table"), "")
	must(t, cmd.Process.Signal(syscall.SIGHUP))
	holds("2001:db8:1::/64\n", `^smtp_gated_export_in_force 1$`)
	allowed := readFile(t, recipes+"doas.conf")
	for line := range strings.Lines(readFile(t, at("said"))) {
		program, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(allowed, " as root cmd "+program+" args "+args+"\n") {
			t.Errorf("doas.conf does not allow %q", line)
		}
	}
}

// TestExportWithoutDaemon: nothing is replaced, and it is said why.
func TestExportWithoutDaemon(t *testing.T) {
	stage := t.TempDir()
	must(t, os.WriteFile(filepath.Join(stage, "doas"), []byte(doas), 0o755))
	write(t, filepath.Join(stage, "table"), "192.0.2.7\n")
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", append([]string{recipes + "smtp-gated-export"}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+stage+":"+programs+":"+os.Getenv("PATH"), "STAGE="+stage, "RUNTIME_DIRECTORY="+stage,
			"GATE_STORY=yes", "SMTP_GATECTL=smtp-gatectl --socket "+filepath.Join(stage, "nobody"))
		return cmd
	}
	for _, wrong := range []string{"", "pf", "pf:", "nft:inet/t", "iptables"} {
		cmd := run(strings.Fields(wrong)...)
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() > 2 || len(out) == 0 {
			t.Errorf("%q: %v: %s", wrong, err, out)
		}
	}
	cmd := run("pf:smtp_gated_locked")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	must(t, eventually("it does not say so", func() bool {
		text, _ := os.ReadFile(filepath.Join(stage, "smtp-gated-export.prom"))
		return matches(`^smtp_gated_export_success 0$`, string(text)) && matches(`^smtp_gated_export_in_force 1$`, string(text))
	}))
	if said := readFile(t, filepath.Join(stage, "said")); strings.Contains(said, "replace") {
		t.Errorf("it has said %q", said)
	}
}

// seatless stands for a smtp-gatectl for whom there is always a seat but to hear of events.
const seatless = `#!/bin/sh
case "$*" in
*export*) echo 192.0.2.7 ;;
*) exit 1 ;;
esac
`

// rested stands for sleep(1): it tells how long it would.
const rested = `#!/bin/sh
echo "$1" >>"$STAGE/rested"
exec tail -f /dev/null
`

// TestExportWithoutSeats: where nobody tells of events the filter is not loaded every other
// second.
func TestExportWithoutSeats(t *testing.T) {
	stage := t.TempDir()
	for name, text := range map[string]string{"doas": doas, "ctl": seatless, "sleep": rested} {
		must(t, os.WriteFile(filepath.Join(stage, name), []byte(text), 0o755))
	}
	cmd := exec.Command("/bin/sh", recipes+"smtp-gated-export", "pf:smtp_gated_locked")
	cmd.Env = append(os.Environ(), "PATH="+stage+":"+os.Getenv("PATH"), "STAGE="+stage, "RUNTIME_DIRECTORY="+stage, "SMTP_GATECTL=ctl")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	// Which second it is may change meanwhile: then it looks again.
	must(t, eventually("it does not rest for long", func() bool {
		text, _ := os.ReadFile(filepath.Join(stage, "rested"))
		if strings.HasSuffix(string(text), "2\n") {
			cmd.Process.Signal(syscall.SIGHUP)
		}
		return strings.HasSuffix(string(text), "30\n")
	}))
	if table := readFile(t, filepath.Join(stage, "table")); table != "192.0.2.7\n" {
		t.Errorf("the table is %q", table)
	}
}
