package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// names holds what a program says of itself to a version and a date.
func names(t *testing.T, program, version, date string) {
	t.Helper()
	if out := succeed(t, ".", nil, program, "--version"); !strings.Contains(out, fmt.Sprintf("  version              : %s\n", version)) || !strings.HasSuffix(out, ": "+date+"\n") {
		t.Errorf("it is not of version %s of %s: %s", version, date, out)
	}
}

// TestVersion: whoever builds it, and from what, the program knows what it is.
func TestVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything some times more")
	}
	const at = "2026-11-30T17:35:00Z"
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	checkout(t, tree)
	stamped := []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath"}
	succeed(t, tree, nil, "make", "build")
	names(t, tree+"/bin/smtp-gated", tag, at)
	succeed(t, tree, stamped, "go", "build", "-o", "bin", "./cmd/smtp-gated")
	names(t, tree+"/bin/smtp-gated", tag, at)
	write(t, tree+"/Makefile.mine", "")
	succeed(t, tree, nil, "git", "add", ".")
	succeed(t, tree, nil, "make", "build")
	names(t, tree+"/bin/smtp-gated", tag+"-dirty", at)
	succeed(t, tree, stamped, "go", "build", "-o", "bin", "./cmd/smtp-gated")
	names(t, tree+"/bin/smtp-gated", tag+"+dirty", at)

	// An archive of a release, in a repository that is another's.
	succeed(t, dir, nil, "git", "init", "-q")
	archive := filepath.Join(dir, "archive")
	must(t, os.Mkdir(archive, 0o755))
	succeed(t, tree, nil, "sh", "-c", `git archive HEAD | tar -x -C "$1"`, "sh", archive)
	for _, program := range makes(t) {
		succeed(t, archive, nil, program, "build")
		names(t, archive+"/bin/smtp-gated", tag, at)
	}
	succeed(t, archive, stamped, "go", "build", "-o", "bin", "./cmd/smtp-gated")
	names(t, archive+"/bin/smtp-gated", tag, at)
	succeed(t, archive, nil, "make", "build", "VERSION=1.98.7-1")
	names(t, archive+"/bin/smtp-gated", "1.98.7-1", at)

	// Neither git nor an archive.
	must(t, os.Rename(tree+"/.git", dir+"/away"))
	succeed(t, tree, nil, "make", "build")
	names(t, tree+"/bin/smtp-gated", "devel", "unknown")

	// go install, by way of a proxy that is a folder.
	const version = "v0.0.0-20261130173500-0123456789ab"
	proxy, to := proxied(t, tree, version), t.TempDir()
	cache := strings.TrimSpace(succeed(t, tree, nil, "go", "env", "GOMODCACHE"))
	succeed(t, dir, append(stamped, "GOBIN="+to, "GOSUMDB=off", "GOMODCACHE="+t.TempDir(), "GOFLAGS=-trimpath -modcacherw",
		"GOPROXY=file://"+proxy+",file://"+cache+"/cache/download"),
		"go", "install", module+"cmd/...@"+version)
	for _, name := range []string{"smtp-gatectl", "smtp-gate-helper"} {
		if out := succeed(t, dir, nil, filepath.Join(to, name), "--version"); out != name+" "+version+"\n" {
			t.Errorf("%s is not of version %s: %s", name, version, out)
		}
	}
	names(t, to+"/smtp-gated", version, at)
}

// proxied returns a folder that serves tree as a version of the module, as a proxy does
// (go.dev/ref/mod, GOPROXY protocol).
func proxied(t *testing.T, tree, version string) string {
	t.Helper()
	proxy := t.TempDir()
	folder := filepath.Join(proxy, module, "@v")
	must(t, os.MkdirAll(folder, 0o755))
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"go.mod", "go.sum", "cmd", "etc", "imsg", "lockd", "lookupd", "parent", "scand", "session"} {
		for path := range strings.FieldsSeq(succeed(t, tree, nil, "find", name, "-type", "f")) {
			text, err := os.ReadFile(filepath.Join(tree, path))
			must(t, err)
			f, err := z.Create(strings.TrimSuffix(module, "/") + "@" + version + "/" + path)
			must(t, err)
			_, err = f.Write(text)
			must(t, err)
		}
	}
	must(t, z.Close())
	must(t, os.WriteFile(filepath.Join(folder, version+".zip"), b.Bytes(), 0o644))
	write(t, filepath.Join(folder, version+".info"), fmt.Sprintf(`{"Version": %q}`, version))
	write(t, filepath.Join(folder, "list"), "")
	write(t, filepath.Join(proxy, module, "@latest"), fmt.Sprintf(`{"Version": %q}`, version))
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	must(t, err)
	write(t, filepath.Join(folder, version+".mod"), string(mod))
	return proxy
}

// TestCgo: what go install makes where there is a C compiler is linked with cgo. Nobody
// runs that as root by mistake.
func TestCgo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything once more")
	}
	needProgram(t, "go")
	needProgram(t, map[string]string{"linux": "gcc"}[runtime.GOOS])
	dir := open(t)
	succeed(t, ".", []string{"CGO_ENABLED=1", "GOFLAGS=-trimpath -buildvcs=false"}, "go", "build", "-o", dir, "../smtp-gated", "../smtp-gate-helper")
	run := func(rooted bool, name string, args ...string) (string, int) {
		cmd := exec.Command(filepath.Join(dir, name), args...)
		if os.Geteuid() == 0 && !rooted {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
		}
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	bothWays(t, func(t *testing.T, rooted bool) {
		for _, words := range []string{"smtp-gated -f /nowhere", "smtp-gate-helper -p 0"} {
			args := strings.Fields(words)
			out, status := run(rooted, args[0], args[1:]...)
			if refused := strings.Contains(out, "linked with cgo") && strings.Contains(out, "CGO_ENABLED=0 go install"); refused != rooted || rooted && status != exitFailure || !rooted && status != exitBadConfig {
				t.Errorf("%s ends with %d, %s", words, status, out)
			}
		}
	})
	if out, _ := run(true, "smtp-gated", "-V"); !strings.Contains(out, "as root     : none: linked with cgo") {
		t.Errorf("it says %s", out)
	}
}
