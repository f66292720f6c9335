package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sudoPath is what sudo makes of PATH on Debian, less what is there already.
const sudoPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// TestInstall does what an administrator does: make as one user, then make install
// as another, who has no go and to whom git says nothing of the tree.
func TestInstall(t *testing.T) {
	needProgram(t, "make")
	if testing.Short() {
		t.Skip("builds everything once more")
	}
	dir := open(t)
	tree, dest := filepath.Join(dir, "tree"), filepath.Join(dir, "dest")
	must(t, os.Mkdir(tree, 0o755))
	run := func(env []string, name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = tree, env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	ok := func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	root, err := filepath.Abs("../..")
	must(t, err)
	ok(run(os.Environ(), "cp", "-R", root+"/Makefile", root+"/go.mod", root+"/go.sum", root+"/cmd", root+"/etc", root+"/imsg", root+"/lockd",
		root+"/lookupd", root+"/man", root+"/parent", root+"/scand", root+"/session", "."))
	version := "unknown"
	if _, err := exec.LookPath("git"); err == nil {
		me := append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		ok(run(me, "git", "init", "-q"))
		ok(run(me, "git", "commit", "-q", "--allow-empty", "-m", "x"))
		ok(run(me, "git", "tag", "v9.8.7"))
		version = "v9.8.7"
	}
	ok(run(os.Environ(), "make", "build"))
	if os.Geteuid() == 0 {
		ok(run(os.Environ(), "chown", "-R", "65534:65534", "."))
	}

	install := func() (string, error) {
		return run([]string{"PATH=" + sudoPath}, "make", "install", "DESTDIR="+dest, "PREFIX=/opt/gate", "SYSCONF=/opt/etc")
	}
	if out := ok(install()); strings.Contains(out, "go build") {
		t.Errorf("what is built is built again:\n%s", out)
	}
	if out := ok(run(nil, dest+"/opt/gate/sbin/smtp-gated", "-v")); !strings.Contains(out, version) {
		t.Errorf("its version is not %s: %s", version, out)
	}
	for _, name := range []string{"sbin/smtp-gatectl", "sbin/smtp-gate-helper", "share/man/man8/smtp-gated.8", "share/man/man5/smtp-gated.toml.5", "share/man/man7/smtp-gated-sizing.7", "share/examples/smtp-gated/firewall", "share/examples/smtp-gated/rc.openbsd", "sbin/smtp-gated-export", "share/examples/smtp-gated/export/rc.openbsd", "share/examples/smtp-gated/export/fail2ban/filter.d/smtp-gated.conf", "share/examples/smtp-gated/smtp-gated.rules.yml", "share/examples/smtp-gated/smtp-gated.json"} {
		if _, err := os.Stat(filepath.Join(dest, "opt/gate", name)); err != nil {
			t.Error(err)
		}
	}

	// A second one leaves what the administrator wrote.
	conf := filepath.Join(dest, "opt/etc/smtp-gated.toml")
	must(t, os.WriteFile(conf, []byte("mine\n"), 0o640))
	ok(install())
	if text, err := os.ReadFile(conf); string(text) != "mine\n" {
		t.Errorf("the configuration is %q, %v", text, err)
	}
	if text, err := os.ReadFile(conf + ".default"); err != nil || !strings.Contains(string(text), "[target]") {
		t.Errorf("the defaults are %q, %v", text, err)
	}

	// What is not there cannot be installed, and it is said who can help.
	if _, err := run([]string{"PATH=" + sudoPath}, "sh", "-c", "command -v go"); err == nil {
		t.Skip("go is where everybody finds it: what is missing is built")
	}
	must(t, os.Remove(filepath.Join(tree, "bin/smtp-gatectl")))
	if out, err := install(); err == nil || !strings.Contains(out, "bin/smtp-gatectl is not built") || !strings.Contains(out, "run make") {
		t.Errorf("without smtp-gatectl: %v: %s", err, out)
	}
}
