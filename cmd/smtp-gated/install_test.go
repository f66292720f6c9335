package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// sudoPath is what sudo makes of PATH on Debian, less what is there already.
const sudoPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// tag is that of the commit which checkout makes. Only up to 1 does go take one for a
// version of a module of this name.
const tag = "v1.98.7"

// checkout copies this tree to dir and commits it there.
func checkout(t *testing.T, dir string) {
	t.Helper()
	needProgram(t, "git")
	must(t, os.Mkdir(dir, 0o755))
	root, err := filepath.Abs("../..")
	must(t, err)
	args := []string{"-R"}
	for _, name := range []string{
		".gitattributes", ".gitignore", "Makefile", "go.mod", "go.sum", "cmd", "etc", "imsg", "lockd", "lookupd", "man", "parent", "scand", "session",
	} {
		args = append(args, filepath.Join(root, name))
	}
	succeed(t, dir, nil, "cp", append(args, ".")...)
	at := "2026-11-30T17:35:00Z"
	env := []string{"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_AUTHOR_DATE=" + at, "GIT_COMMITTER_DATE=" + at}
	for _, words := range []string{"init -q", "add .", "commit -q -m x", "tag " + tag} {
		succeed(t, dir, env, "git", strings.Fields(words)...)
	}
}

// succeed runs a program in dir with more environment, and returns what it says.
func succeed(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	// What is built is nothing that the tests beside should wait for.
	cmd := exec.Command("nice", append([]string{"-n", "19", name}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// makes are the ones there are.
func makes(t *testing.T) []string {
	all := []string{needProgram(t, "make")}
	if runtime.GOOS == "linux" {
		all = append(all, needProgram(t, "bmake"))
	}
	return all
}

// TestInstall does what an administrator does: make as one user, then make install
// as another, who has no go, to whom git says nothing of the tree, and whose files are
// his own unless they are said to be everybody's.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything once more")
	}
	dir := open(t)
	tree := filepath.Join(dir, "the tree")
	checkout(t, tree)
	programs := makes(t)
	succeed(t, tree, nil, programs[0], "build")
	if os.Geteuid() == 0 {
		succeed(t, tree, nil, "chown", "-R", "1:1", ".")
	}
	bothWays(t, func(t *testing.T, rooted bool) {
		for _, program := range programs {
			t.Run(filepath.Base(program), func(t *testing.T) { install(t, program, tree, rooted) })
		}
	})

	// What is not there cannot be installed, and it is said who can help.
	cmd := exec.Command("sh", "-c", "command -v go")
	cmd.Env = []string{"PATH=" + sudoPath}
	if cmd.Run() == nil {
		t.Skip("go is where everybody finds it: what is missing is built")
	}
	must(t, os.Remove(filepath.Join(tree, "bin/smtp-gatectl")))
	for _, program := range programs {
		cmd := exec.Command(program, "install", "DESTDIR="+dir)
		cmd.Dir, cmd.Env = tree, []string{"PATH=" + sudoPath}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "bin/smtp-gatectl is not built") || !strings.Contains(string(out), "run make") {
			t.Errorf("%s without smtp-gatectl: %v: %s", program, err, out)
		}
		if out := succeed(t, tree, nil, program, "-s", "files"); !strings.Contains(out, "755 bin/smtp-gatectl /usr/local/sbin/smtp-gatectl\n") {
			t.Errorf("%s would not uninstall it: %s", program, out)
		}
	}
}

func install(t *testing.T, program, tree string, rooted bool) {
	const folders = "PREFIX=/opt/gate SYSCONF=/opt/etc MANDIR=/opt/man UNITDIR=/opt/units SYSUSERSDIR=/opt/users TMPFILESDIR=/opt/tmpfiles"
	home := open(t)
	if os.Geteuid() == 0 && !rooted {
		must(t, os.Chown(home, unprivileged, unprivileged))
	}
	dest := filepath.Join(home, "the destination")
	run := func(umask, target string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", fmt.Sprintf(`umask %s && exec "$@"`, umask), "sh", program, target, "DESTDIR="+dest)
		cmd.Args = append(cmd.Args, strings.Fields(folders)...)
		cmd.Dir, cmd.Env = tree, []string{"PATH=" + sudoPath}
		if filepath.Base(program) == "make" { // called by another, GNU's says where it goes
			cmd.Env = append(cmd.Env, "MAKELEVEL=1", "MAKEFLAGS=w")
		}
		if os.Geteuid() == 0 && !rooted {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v: %s", program, target, err, out)
		}
		return string(out)
	}
	if out := run("077", "install"); strings.Contains(out, "go build") {
		t.Errorf("what is built is built again:\n%s", out)
	}
	mine := []string{"opt/etc/smtp-gated.toml", "opt/etc/smtp-gate-helper.conf"}
	if runtime.GOOS != "linux" {
		mine = mine[:1]
	}
	is := map[string]fs.FileMode{}
	must(t, filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dest, path)
		want := fs.FileMode(0o644)
		switch {
		case d.IsDir():
			want = 0o755 | fs.ModeDir
		case slices.Contains(mine, name):
			want = 0o640
		case strings.Contains(name, "sbin/"), strings.Contains(name, "/rc."), strings.HasSuffix(name, ".sh"):
			want = 0o755
		}
		if info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
		}
		if text, err := os.ReadFile(path); !d.IsDir() && want != 0o755 && (err != nil || strings.Contains(string(text), "@SBIN@") || strings.Contains(string(text), "@SYSCONF@")) {
			t.Errorf("%s does not say where things are: %v", name, err)
		}
		is[name] = info.Mode()
		return nil
	}))
	wanted := strings.Fields(`gate/sbin/smtp-gated gate/sbin/smtp-gatectl gate/sbin/smtp-gate-helper gate/sbin/smtp-gated-export
		man/man8/smtp-gated.8 man/man5/smtp-gated.toml.5 man/man7/smtp-gated-sizing.7
		gate/share/bash-completion/completions/smtp-gatectl gate/share/zsh/site-functions/_smtp-gatectl gate/share/fish/vendor_completions.d/smtp-gatectl.fish
		gate/share/examples/smtp-gated/firewall/iptables.sh gate/share/examples/smtp-gated/rc.openbsd gate/share/examples/smtp-gated/helper/rc.freebsd
		gate/share/examples/smtp-gated/export/rc.openbsd gate/share/examples/smtp-gated/export/fail2ban/filter.d/smtp-gated.conf
		gate/share/examples/smtp-gated/smtp-gated.rules.yml gate/share/examples/smtp-gated/smtp-gated.json`)
	if runtime.GOOS == "linux" {
		wanted = append(wanted, strings.Fields("units/smtp-gated.service units/smtp-gated.socket units/smtp-gate-helper.service units/smtp-gated-export.service units/smtp-gated-exporter.service")...)
		for kind, folder := range map[string]string{"sysusers": "users/", "tmpfiles": "tmpfiles/", "conf": "gate/share/examples/smtp-gated/systemd/"} {
			files, err := filepath.Glob("../../etc/systemd/*." + kind)
			must(t, err)
			for _, file := range files {
				wanted = append(wanted, folder+strings.TrimSuffix(filepath.Base(file), "."+kind)+".conf")
			}
		}
	}
	for _, name := range wanted {
		if is["opt/"+name] == 0 {
			t.Errorf("there is no %s", name)
		}
	}
	for _, program := range []string{"smtp-gated", "smtp-gatectl", "smtp-gate-helper"} {
		if out := succeed(t, dest, nil, dest+"/opt/gate/sbin/"+program, "--version"); !strings.Contains(out, tag) {
			t.Errorf("%s is not of version %s: %s", program, tag, out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dest, "opt/gate/share/zsh/site-functions/_smtp-gatectl")); err != nil || !strings.HasPrefix(string(text), "#compdef smtp-gatectl") {
		t.Errorf("the completion for zsh: %v: %.80s", err, text)
	}

	// A second one leaves what the administrator did.
	conf := filepath.Join(dest, mine[0])
	write(t, conf, "mine\n")
	must(t, os.Chmod(filepath.Dir(conf), 0o750))
	run("027", "install")
	if text, err := os.ReadFile(conf); string(text) != "mine\n" {
		t.Errorf("the configuration is %q, %v", text, err)
	}
	if text, err := os.ReadFile(conf + ".default"); err != nil || !strings.Contains(string(text), "[target]") {
		t.Errorf("the defaults are %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Dir(conf)); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("the folder of the configuration: %v, %v", info, err)
	}

	// Nothing is left but what is his.
	own := "opt/gate/share/examples/smtp-gated/firewall/own.nft"
	write(t, filepath.Join(dest, own), "")
	if out := run("077", "uninstall"); !strings.Contains(out, "stay") || !strings.Contains(out, "/opt/etc") {
		t.Errorf("it is not said what stays: %s", out)
	}
	var left []string
	must(t, filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(dest, path); err == nil && (!d.IsDir() || strings.Contains(name, "examples/smtp-gated/")) {
			left = append(left, name)
		}
		return err
	}))
	want := append(slices.Clone(mine), own, filepath.Dir(own))
	slices.Sort(left)
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("what is left: %q, want %q", left, want)
	}
	run("077", "uninstall") // which finds nothing
}
