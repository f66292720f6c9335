// The keeper: nothing stays behind of a daemon whose starter is gone, however it went.

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// TestKeeper: the starter is killed.
func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "daemon")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsleep 600 &\ntrap 'kill $!; touch "+dir+"/ended; exit 0' TERM\ntouch "+dir+"/begun\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, keptLog), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keeper := exec.Command(self, asKeeper, folder, script)
	var errs bytes.Buffer
	keeper.Stderr = &errs
	line, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	imsgtest.Until(t, "the daemon runs", func() bool { return there(filepath.Join(dir, "begun")) })
	keeper.Process.Signal(os.Interrupt) // a terminal's
	keeper.Process.Signal(syscall.SIGHUP)
	line.Close()
	if err := keeper.Wait(); err != nil || !there(filepath.Join(dir, "ended")) || there(folder) {
		t.Errorf("it ended with %v: %s", err, &errs)
	}
}

// TestKeeperTells how a daemon has ended by itself.
func TestKeeperTells(t *testing.T) {
	for script, want := range map[string]int{"exit 0": exitOK, "exit 3": 3, "kill -9 $$": exitFailed} {
		dir := t.TempDir()
		program := filepath.Join(dir, "daemon")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, keptLog), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r, w := io.Pipe()
		var errs bytes.Buffer
		code := keepDaemon(dir, program, r, &errs)
		w.Close()
		if code != want || want == exitFailed && !strings.Contains(errs.String(), "killed") {
			t.Errorf("%s: %d, %s", script, code, &errs)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Error("its last words are gone")
		}
	}
}

// TestKeeperSweeps: what is left behind goes, and nothing else.
func TestKeeperSweeps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x-left", "x-left/spool", "x-begun", "x-begun/run", "x-held", "x-runs", "x-runs/run", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other", filepath.Join(dir, "x-link")); err != nil {
		t.Fatal(err)
	}
	stays := []string{"other", "x-held", "x-link"}
	held, err := holdFolder(filepath.Join(dir, "x-held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	// A process does not see its own locks: another one has this.
	self, _ := os.Executable()
	runs := exec.Command(self, "-test.run=^TestKeeperHolds$")
	runs.Env = append(os.Environ(), "GATED_HOLD="+filepath.Join(dir, "x-runs", keptPid))
	line, _ := runs.StdinPipe()
	out, err := runs.StdoutPipe()
	if err == nil {
		err = runs.Start()
	}
	if err == nil {
		_, err = io.ReadFull(out, make([]byte, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Wait()
	defer line.Close()
	if os.Geteuid() == 0 {
		if err := os.Mkdir(filepath.Join(dir, "x-strange"), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chown(filepath.Join(dir, "x-strange"), 65534, 65534)
		stays = append(stays, "x-strange")
	}
	stays = append(stays, "x-runs")
	sweepFolders(dir, "x-")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stays {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if len(entries) != len(stays) {
		t.Errorf("left are %v", entries)
	}
}

// TestKeeperHolds is the daemon of TestKeeperSweeps.
func TestKeeperHolds(t *testing.T) {
	path := os.Getenv("GATED_HOLD")
	if path == "" {
		return
	}
	lock, err := host.LockPidFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Remove()
	os.Stdout.WriteString(".")
	io.Copy(io.Discard, os.Stdin)
}
