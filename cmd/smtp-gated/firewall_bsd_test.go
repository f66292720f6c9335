//go:build freebsd || openbsd

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestFirewalls lets the packet filters parse the rules that we give away. They load
// none of them.
func TestFirewalls(t *testing.T) {
	need(t, os.Geteuid() == 0, "root")
	const rules = "../../etc/firewall/"
	expect := func(t *testing.T, cmd *exec.Cmd) {
		t.Helper()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", cmd, err, out)
		}
	}
	t.Run("pf", func(t *testing.T) {
		pfctl := needProgram(t, "pfctl")
		for _, name := range map[string][]string{"openbsd": {"pf-openbsd.conf", "pf-openbsd-tproxy.conf"}, "freebsd": {"pf-freebsd.conf", "pf-remote.conf"}}[runtime.GOOS] {
			text, err := os.ReadFile(rules + name)
			must(t, err)
			file := filepath.Join(t.TempDir(), "pf.conf")
			write(t, file, strings.ReplaceAll(string(text), `user = "_smtpgated"`, `user = "nobody"`))
			// The interfaces need addresses.
			expect(t, exec.Command(pfctl, "-n", "-D", "lan=lo0", "-D", "dmz=lo0", "-f", file))
		}
		expect(t, exec.Command(pfctl, "-n", "-D", "lan=lo0", "-f", recipes+"pf-locked.conf"))
	})
	if runtime.GOOS != "freebsd" {
		return
	}
	t.Run("ipnat", func(t *testing.T) {
		expect(t, exec.Command(needProgram(t, "ipnat"), "-n", "-f", rules+"ipnat.conf"))
	})
	t.Run("ipfw", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "ipfw"), []byte("#!/bin/sh\nexec "+needProgram(t, "ipfw")+` -n "$@"`+"\n"), 0o755))
		cmd := exec.Command("sh", "-e", rules+"ipfw.sh", "start")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		expect(t, cmd)
	})
}
