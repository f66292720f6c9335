// The ports for FreeBSD and OpenBSD in etc/ports. This file owns that they name the files
// that make install puts there, the modules of go.mod, our users and rc scripts. What
// their own bsd.port.mk makes of them nobody has tried: testdata/ports stands for it.

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

const (
	freebsdPort = "../../etc/ports/freebsd/mail/smtp-gated"
	openbsdPort = "../../etc/ports/openbsd/mail/smtp-gated"
)

// portUsers are those that a port makes, with whose they are.
func portUsers() map[string]string {
	users := map[string]string{"_smtpgate-helper": "smtp-gate-helper"}
	for _, r := range imsg.Children() {
		users[config.Default().User(r)] = "smtp-gated " + r.String()
	}
	return users
}

// firstID is the first of the numbers that stand for those that the systems' lists of
// users will give.
const firstID = 990

// generated holds a file of a port to what it has to be. -update writes it.
func generated(t *testing.T, file, now string) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(now), 0o644))
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	if d := diff.Diff(strings.TrimPrefix(file, "../../"), old, "what it has to be", []byte(now)); d != nil {
		t.Errorf("go test ./cmd/smtp-gated -run TestPort -update writes it anew:\n%s", d)
	}
}

// portVariable is what make makes of a variable of a port's.
func portVariable(t *testing.T, port, name string) string {
	t.Helper()
	return strings.Join(strings.Fields(portMake(t, port, "-V", "${"+name+"}")), " ")
}

func portMake(t *testing.T, port string, words ...string) string {
	t.Helper()
	mk, err := filepath.Abs("testdata/ports")
	must(t, err)
	cmd := exec.Command("nice", append([]string{"-n", "19", needProgram(t, "bmake"), "-m", mk, "-C", port}, words...)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKEOBJDIR=/nonexistent")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: bmake %s: %v: %s%s", port, strings.Join(words, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// stagePort installs a port and returns the names of its files, from the system's root.
func stagePort(t *testing.T, port string) (files map[string]fs.FileMode) {
	t.Helper()
	dir := t.TempDir()
	tree, stage := filepath.Join(dir, "tree"), filepath.Join(dir, "stage")
	must(t, os.Mkdir(tree, 0o755))
	root, err := filepath.Abs("../..")
	must(t, err)
	for _, name := range []string{"Makefile", "LICENSE", "go.mod", "go.sum", "cmd", "etc", "imsg", "lockd", "lookupd", "man", "parent", "scand", "session"} {
		if out, err := exec.Command("cp", "-R", filepath.Join(root, name), tree).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// What is built is built with names alone, newer than its source.
	must(t, os.MkdirAll(filepath.Join(tree, "bin/completion"), 0o755))
	for _, name := range append([]string{"completion/bash", "completion/fish", "completion/zsh"}, programNames...) {
		must(t, os.WriteFile(filepath.Join(tree, "bin", name), nil, 0o755))
	}
	portMake(t, port, "WRKSRC="+tree, "STAGE="+stage, "stage")
	files = map[string]fs.FileMode{}
	must(t, filepath.WalkDir(stage, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == stage {
			return err
		}
		info, err := d.Info()
		files[strings.TrimPrefix(path, stage)] = info.Mode()
		return err
	}))
	return files
}

// TestPortFiles: both lists of files are those of what is installed, and sorted.
func TestPortFiles(t *testing.T) {
	t.Run("freebsd", func(t *testing.T) {
		var lines []string
		for name, mode := range stagePort(t, freebsdPort) {
			if mode.IsDir() {
				continue
			}
			name, inside := strings.CutPrefix(name, "/usr/local/")
			if !inside {
				t.Errorf("%s is outside of the port's PREFIX", name)
			}
			name = strings.Replace(name, "share/examples/smtp-gated/", "%%EXAMPLESDIR%%/", 1)
			name = strings.Replace(name, "etc/smtp-gated/", "%%ETCDIR%%/", 1)
			switch {
			case strings.HasPrefix(name, "share/man/"):
				name += ".gz"
			case strings.HasSuffix(name, ".sample"):
				name = "@sample(root,wheel,640) " + name
			}
			lines = append(lines, name+"\n")
		}
		slices.SortFunc(lines, func(a, b string) int { return strings.Compare(unannotated(a), unannotated(b)) })
		generated(t, freebsdPort+"/pkg-plist", strings.Join(lines, ""))
	})
	t.Run("openbsd", func(t *testing.T) {
		var b strings.Builder
		users := portUsers()
		users["_smtpgated-export"] = "smtp-gated-export" // of its rc script, which FreeBSD has not
		names := slices.Sorted(maps.Keys(users))
		for i, u := range names {
			fmt.Fprintf(&b, "@newgroup %s:%d\n", u, firstID+i)
		}
		for i, u := range names {
			fmt.Fprintf(&b, "@newuser %s:%d:%s:daemon:%s:/nonexistent:/sbin/nologin\n", u, firstID+i, u, users[u])
		}
		for _, name := range slices.Sorted(maps.Keys(rcScripts(t, "openbsd"))) {
			b.WriteString("@rcscript ${RCDIR}/" + name + "\n")
		}
		b.WriteString("@sample ${SYSCONFDIR}/smtp-gated/\n")
		lines := []string{"share/doc/pkg-readmes/${PKGSTEM}\n"}
		for name, mode := range stagePort(t, openbsdPort) {
			switch name { // there is one on each system
			case "/etc", "/usr", "/usr/local", "/usr/local/sbin", "/usr/local/man", "/usr/local/share", "/usr/local/share/examples":
				continue
			}
			name, inside := strings.CutPrefix(name, "/usr/local/")
			switch {
			case !inside:
				t.Errorf("%s is outside of the port's PREFIX", name)
			case mode.IsDir() && strings.HasPrefix(name, "man/"):
				continue
			case mode.IsDir():
				name += "/"
			case strings.HasPrefix(name, "man/"):
				name = "@man " + name
			case slices.Contains(programNames, path.Base(name)) && strings.HasPrefix(name, "sbin/"):
				name = "@bin " + name
			case name == "share/examples/smtp-gated/smtp-gated.toml":
				name += "\n@mode 640\n@sample ${SYSCONFDIR}/smtp-gated/smtp-gated.toml\n@mode"
			}
			lines = append(lines, name+"\n")
		}
		slices.SortFunc(lines, func(a, b string) int { return strings.Compare(unannotated(a), unannotated(b)) })
		b.WriteString(strings.Join(lines, ""))
		generated(t, openbsdPort+"/pkg/PLIST", b.String())
	})
}

// unannotated is a line of a list less what tells how it is to be installed.
func unannotated(line string) string {
	if strings.HasPrefix(line, "@") {
		_, line, _ = strings.Cut(line, " ")
	}
	return line
}

// rcScripts are those of a system, by name, as we install them by hand.
func rcScripts(t *testing.T, system string) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../etc/" + system + "/*")
	must(t, err)
	if system == "openbsd" {
		files = append(files, "../../etc/export/smtp_gated_export")
	}
	scripts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		scripts[filepath.Base(file)] = string(text)
	}
	if len(scripts) == 0 {
		t.Fatal("no rc scripts of " + system)
	}
	return scripts
}

// TestPortScripts: the rc scripts of the ports are ours, less what says how one is
// installed by hand.
func TestPortScripts(t *testing.T) {
	byHand := regexp.MustCompile(`^(#!.*\n)(?:#.*\n)+`)
	var names []string
	for name, text := range rcScripts(t, "freebsd") {
		names = append(names, name)
		text = strings.NewReplacer("@SBIN@", "%%PREFIX%%/sbin", "@SYSCONF@", "%%ETCDIR%%").Replace(text)
		generated(t, freebsdPort+"/files/"+name+".in", byHand.ReplaceAllString(text, "$1"))
	}
	slices.Sort(names)
	if have := portVariable(t, freebsdPort, "USE_RC_SUBR"); have != strings.Join(names, " ") {
		t.Errorf("FreeBSD's Makefile has USE_RC_SUBR=%q, and etc/freebsd %q", have, names)
	}
	for name, text := range rcScripts(t, "openbsd") {
		text = strings.NewReplacer("@SBIN@", "${TRUEPREFIX}/sbin", "@SYSCONF@", "${SYSCONFDIR}/smtp-gated").Replace(text)
		// A ${daemon} is the script's own.
		text = regexp.MustCompile(`\$\{(daemon\w*)\}`).ReplaceAllString(text, `$$$1`)
		generated(t, openbsdPort+"/pkg/"+name+".rc", byHand.ReplaceAllString(text, "$1"))
	}
}

// TestPortModules: the ports name our module and our Go, and OpenBSD's all that is linked
// there, by the programs and by their tests. With these alone all of it can be loaded.
func TestPortModules(t *testing.T) {
	goMod, err := os.ReadFile("../../go.mod")
	must(t, err)
	m := regexp.MustCompile(`(?s)^module (\S+)\n\ngo (\d+\.\d+)`).FindSubmatch(goMod)
	if m == nil {
		t.Fatal("go.mod begins otherwise")
	}
	if name := portVariable(t, freebsdPort, "GO_MODULE"); name != string(m[1]) {
		t.Errorf("FreeBSD's module is %s", name)
	}
	if uses := portVariable(t, freebsdPort, "USES"); !strings.Contains(uses, "go:"+string(m[2])+"+,modules") {
		t.Errorf("FreeBSD has USES=%s, and go.mod wants Go %s", uses, m[2])
	}
	if name := portVariable(t, openbsdPort, "MODGO_MODNAME"); name != string(m[1]) {
		t.Errorf("OpenBSD's module is %s", name)
	}

	gocmd := func(env []string, words ...string) string {
		cmd := exec.Command(needProgram(t, "go"), words...)
		cmd.Dir = "../.."
		cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=openbsd"), env...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v: %s", strings.Join(words, " "), err, stderr.Bytes())
		}
		return string(out)
	}
	modules := map[string]string{}
	for line := range strings.Lines(gocmd(nil, "list", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./...")) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			modules[path] = version
		}
	}
	var b strings.Builder
	b.WriteString("MODGO_MODULES =")
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		fmt.Fprintf(&b, " \\\n\t%s %s", escaped(path), modules[path])
	}
	b.WriteString("\n")
	generated(t, openbsdPort+"/modules.inc", b.String())

	cache := filepath.Join(strings.TrimSpace(gocmd(nil, "env", "GOMODCACHE")), "cache/download")
	proxy := t.TempDir()
	for path, version := range modules {
		place := filepath.Join(escaped(path), "@v")
		must(t, os.MkdirAll(filepath.Join(proxy, place), 0o755))
		for _, ext := range []string{".mod", ".zip"} {
			file := filepath.Join(cache, place, version+ext)
			_, err := os.Stat(file)
			need(t, err == nil, "a cache of modules, which has "+file)
			must(t, os.Symlink(file, filepath.Join(proxy, place, version+ext)))
		}
	}
	gocmd([]string{"GOMODCACHE=" + t.TempDir(), "GOPROXY=file://" + proxy, "GOSUMDB=off", "GOFLAGS=-modcacherw -mod=readonly"}, "list", "-deps", "-test", "./...")
}

// escaped is how proxies write a module's path.
func escaped(path string) string {
	var b strings.Builder
	for _, c := range path {
		if unicode.IsUpper(c) {
			b.WriteByte('!')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// TestPortUsers: FreeBSD's port makes our users.
func TestPortUsers(t *testing.T) {
	users := portUsers()
	names := slices.Sorted(maps.Keys(users))
	for _, variable := range []string{"USERS", "GROUPS"} {
		if have := portVariable(t, freebsdPort, variable); have != strings.Join(names, " ") {
			t.Errorf("FreeBSD's Makefile has %s=%s, and the rooms' are %q", variable, have, names)
		}
	}
	var uids, gids strings.Builder
	for i, u := range names {
		fmt.Fprintf(&uids, "%s:*:%d:%d::0:0:%s:/nonexistent:/usr/sbin/nologin\n", u, firstID+i, firstID+i, users[u])
		fmt.Fprintf(&gids, "%s:*:%d:\n", u, firstID+i)
	}
	generated(t, freebsdPort+"/UIDs", uids.String())
	generated(t, freebsdPort+"/GIDs", gids.String())
}
