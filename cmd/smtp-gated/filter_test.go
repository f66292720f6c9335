//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// standIn has /dev hold an empty file in the packet filter's place, and for the
// rest what a program of ours needs. It is for one process and its children.
const standIn = `set -e
mkdir dev
mount -t tmpfs tmpfs dev
touch dev/null dev/pf dev/ipnat
mount --bind /dev/null dev/null
mount --rbind dev /dev
exec "$@"
`

// holders are the rooms that hold a file of this name, the parent with them.
func (g *gate) holders(name string) (rooms []string) {
	r, err := g.ask()
	if err != nil {
		return []string{err.Error()}
	}
	for _, m := range r.Rooms {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.PID))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && filepath.Base(to) == name {
				rooms = append(rooms, m.Room)
			}
		}
	}
	slices.Sort(rooms)
	return rooms
}

// TestPacketFilter runs the modes of the BSDs as far as they go here: the device
// is opened, reaches lookupd and nobody else, and is asked; that a file cannot
// answer is told to the client.
func TestPacketFilter(t *testing.T) {
	t.Parallel()
	need(t, os.Geteuid() == 0, "root")
	needProgram(t, "mount")
	g, err := newGate(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	defer explain(t, g)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g.server = 25 // of whom nothing is wanted
	must(g.configure("mode pf\n", false))

	// Without a device nothing starts, and the one who tried is told why.
	out, err := g.command(program("smtp-gated"), g.path("smtp-gated.conf")).CombinedOutput()
	if want := "mode pf: open /dev/pf: no such file or directory: Linux has no such packet filter, use mode netfilter"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(g.path("run/pid")); err == nil {
		t.Error("something was started")
	}

	cmd := g.command("/bin/sh", "-c", standIn, "sh", program("smtp-gated"), "-f", g.path("smtp-gated.conf"))
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	must(g.launch(cmd))
	must(g.ready())
	for _, mode := range []string{"pf", "ipfilter"} {
		device := map[string]string{"pf": "pf", "ipfilter": "ipnat"}[mode]
		must(g.configure("mode "+mode+"\nmsg_lookup_unknown nobody knows\n", false))
		must(g.reload())
		_, err := g.whole(0)
		must(err)
		must(eventually("an old lookupd has not ended", func() bool { return len(g.holders(device)) == 1 }))
		if got := fmt.Sprint(g.holders(device)); got != "[lookupd]" {
			t.Errorf("%s is held by %s", device, got)
		}
		c, err := dialGate(g.address(0), "")
		must(err)
		must(c.expect("220 gate.test SMTP"))
		must(c.send("MAIL FROM:<alice@client.test>"))
		must(c.expect("451 gate.test .*: nobody knows"))
		must(c.quit())
		must(g.inLog(mode + ": look up the translation of .*unsupported operation"))
	}

	// Without it, a reload changes nothing.
	must(os.Remove(fmt.Sprintf("/proc/%d/root/dev/pf", g.pid)))
	must(g.configure("mode pf\n", false))
	must(g.signal(syscall.SIGHUP))
	must(g.inLog("reload failed, nothing has changed error=mode pf: open /dev/pf: no such file"))
	if got := fmt.Sprint(g.holders("ipnat")); got != "[lookupd]" {
		t.Errorf("ipnat is held by %s", got)
	}
	must(g.terminate())
}
