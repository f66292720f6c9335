// make test-bsd, as far as Linux can tell: over ssh to this machine, and what it
// reports of tests that fail or skip.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// sshd starts a server that knows this user by a key of its own, and returns the
// command that reaches it, and whom to name as host.
func sshd(t *testing.T) (command, host string) {
	t.Helper()
	server, ssh, keygen := needProgram(t, "sshd"), needProgram(t, "ssh"), needProgram(t, "ssh-keygen")
	me, err := user.Current()
	must(t, err)
	dir, port := t.TempDir(), imsgtest.Port(t).Port()
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if os.Getuid() == 0 {
		// It separates its own privileges there.
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	config := filepath.Join(dir, "sshd_config")
	write(t, config, fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
`, port, dir))
	log := &imsgtest.Journal{}
	cmd := exec.Command(server, "-D", "-e", "-f", config)
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	imsgtest.Until(t, "sshd listens", func() bool { return log.Count("Server listening") > 0 })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	return fmt.Sprintf("%s -F none -p %d -i %s/user -o UserKnownHostsFile=%[3]s/known -o StrictHostKeyChecking=accept-new -o BatchMode=yes", ssh, port, dir), me.Username + "@127.0.0.1"
}

func TestRemote(t *testing.T) {
	if testing.Short() || os.Getenv("GATED_PROGRAMS") != "" {
		t.Skip("builds everything once more, and where it is run by itself, for ever")
	}
	for _, name := range []string{"make", "go", "tar"} {
		needProgram(t, name)
	}
	ssh, host := sshd(t)
	report := filepath.Join(t.TempDir(), "report")
	left, err := filepath.Glob("/var/tmp/gated.*")
	must(t, err)
	cmd := exec.Command("make", "-C", "../..", "test-bsd", "HOST="+host, "SSH="+ssh, "PACKAGES=./lookupd/nat ./session/verdict", "REPORT="+report)
	cmd.Env = append(os.Environ(), "GATED_REQUIRE=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	text, err := os.ReadFile(report)
	must(t, err)
	want := regexp.MustCompile(`(?s)^Linux .*\nuid=.*\nok +\d+ s +\d+ skipped  lookupd/nat\n.*ok +\d+ s +0 skipped  session/verdict\n\npackages: 2 ok, 0 with nothing to test here, failed: none\n(tests not run here, by cause:\n.*)?$`)
	if !want.Match(text) {
		t.Errorf("reported:\n%s\nsaid:\n%s", text, out)
	}
	if now, err := filepath.Glob("/var/tmp/gated.*"); err != nil || len(now) > len(left) {
		t.Errorf("left behind: %v, %v", now, err)
	}
}

// TestRemoteReport gives the far side tests that end in each way.
func TestRemoteReport(t *testing.T) {
	there, err := filepath.Abs("../../.ci/bsd-there")
	must(t, err)
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "tests"), 0o755))
	var packages strings.Builder
	for _, c := range []struct{ name, script string }{
		{"in/good", "echo '=== RUN   TestA'; echo '--- PASS: TestA (0.00s)'; pwd"},
		{"in/bad", "echo '=== RUN   TestA'; echo '--- PASS: TestA (0.00s)'; echo '=== RUN   TestB'; echo '    b_test.go:7: it is 1, want 2'; echo '--- FAIL: TestB (0.00s)'; exit 1"},
		{"part", "echo '=== RUN   TestA'; echo '--- PASS: TestA (0.00s)'; echo '=== RUN   TestB'; echo '    b_test.go:7: missing: pfctl'; echo '--- SKIP: TestB (0.00s)'"},
		{"none", "echo '=== RUN   TestA'; echo '    a_test.go:7: missing: root'; echo '--- SKIP: TestA (0.00s)'"},
		{"reader", "echo '=== RUN   TestA'; cat; echo '--- PASS: TestA (0.00s)'; echo $GATED_PROGRAMS"},
		{"absent", ""},
	} {
		must(t, os.MkdirAll(filepath.Join(dir, "tree", c.name), 0o755))
		fmt.Fprintln(&packages, c.name)
		if c.script != "" {
			must(t, os.WriteFile(filepath.Join(dir, "tests", filepath.Base(c.name)+".test"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o755))
		}
	}
	write(t, filepath.Join(dir, "packages"), packages.String())
	cmd := exec.Command("sh", there)
	cmd.Dir = dir
	if _, err := cmd.StdinPipe(); err != nil { // it ends with that
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err == nil {
		t.Error("a failure is none")
	}
	got := regexp.MustCompile(`(?m) +\d+ s +`).ReplaceAllString(string(out), " ")
	_, got, _ = strings.Cut(got, "\nuid=")
	_, got, _ = strings.Cut(got, "\n")
	// What sh says of an absent program is its own.
	got = regexp.MustCompile(`(?m)(absent\n)     \| .*\n`).ReplaceAllString(got, "$1")
	want := `ok 0 skipped  in/good
FAIL 0 skipped  in/bad
     | --- FAIL: TestB (0.00s)
     |         b_test.go:7: it is 1, want 2
ok 1 skipped  part
     | SKIP: TestB: missing: pfctl
skip 1 skipped  none
     | SKIP: TestA: missing: root
ok 0 skipped  reader
FAIL 0 skipped  absent

packages: 3 ok, 1 with nothing to test here, failed: in/bad absent
tests not run here, by cause:
      1 missing: root
      1 missing: pfctl
`
	if got != want {
		t.Errorf("reported:\n%s\nwant:\n%s", got, want)
	}
}
