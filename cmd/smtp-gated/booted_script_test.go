//go:build linux && booted

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBootedScript: sudo works in the script of a daemon that the unit has started, and what
// root does there for a locked client in the packet filter is done. What smtp-gated(8) says
// does not work is tried, too: iptables-legacy takes a drop-in. The limits hold who is root
// by sudo at once.
func TestBootedScript(t *testing.T) {
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(needProgram(t, name), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return string(out)
	}
	run("nft", "add table inet script")
	t.Cleanup(func() { run("nft", "delete table inet script") })
	run("nft", "add set inet script locked { type ipv4_addr; }")
	run("ipset", "create", "script", "hash:ip")
	t.Cleanup(func() { run("ipset", "destroy", "script") })
	write(t, "/etc/sudoers.d/script", "mail ALL=(root) NOPASSWD: ALL\n")
	t.Cleanup(func() { must(t, os.Remove("/etc/sudoers.d/script")) })
	for name, raw := range map[string]bool{"as installed": false, "with CAP_NET_RAW": true} {
		t.Run(name, func(t *testing.T) {
			b, begin := gateUnit(t, "")
			g, _ := rehearse(t, true)
			seen := g.path("seen")
			must(t, os.Mkdir(seen, 0o755))
			must(t, os.Chmod(seen, 0o777))
			must(t, os.WriteFile(g.path("script"), []byte(strings.ReplaceAll(`#!/bin/sh
cd SEEN
cat /proc/self/status >script
cat /proc/1/comm >/dev/null 2>&1 || echo cat >>failed
tries() {
	sudo -n "$@" >>said 2>&1 || echo "$*" >>failed
}
tries nft add element inet script locked "{ $2 }"
tries ipset add script "$2"
tries iptables-nft -A INPUT -s "$2" -j DROP
tries iptables-legacy -A INPUT -s "$2" -j DROP
tries cp /proc/self/status root
tries cat /proc/1/comm
tries touch /var/script /run/script
tries touch /etc/script
tries touch /root/script
tries dd if=/proc/sys/net/ipv4/ip_forward of=/proc/sys/net/ipv4/ip_forward
tries unshare --net true
tries chmod u+s said
touch over
`, "SEEN", seen)), 0o755))
			must(t, g.configure("lock_on virus\naction_script "+g.path("script")+"\n", false))
			more, client := "", "127.0.0.11"
			if raw {
				more, client = "CapabilityBoundingSet=CAP_NET_RAW\n", "127.0.0.12"
			}
			begin(g, more)
			b.runs(g)
			sends := func(client string) {
				t.Helper()
				c, err := dialGate(g.address(0), client)
				must(t, err)
				if heard, err := c.deliver([]byte(virusMail)); err != nil || !matches("^550 ", heard) {
					t.Fatalf("a virus hears %q, error %v", heard, err)
				}
			}
			sends(client)
			read := func(name string) string {
				text, _ := os.ReadFile(seen + "/" + name)
				return string(text)
			}
			if err := eventually("the script does not end", func() bool { _, err := os.Stat(seen + "/over"); return err == nil }); err != nil {
				t.Fatalf("%v: %s", err, read("said"))
			}
			failed := "cat\niptables-legacy -A INPUT -s " + client + " -j DROP\n"
			if raw {
				failed = "cat\n"
			}
			failed += `touch /etc/script
touch /root/script
dd if=/proc/sys/net/ipv4/ip_forward of=/proc/sys/net/ipv4/ip_forward
unshare --net true
chmod u+s said
`
			if got := read("failed"); got != failed {
				t.Errorf("these have failed: %s\n%s", got, read("said"))
			}
			for what, in := range map[string]string{
				"nft":             run("nft", "list", "set", "inet", "script", "locked"),
				"ipset":           run("ipset", "list", "script"),
				"iptables-nft":    run("iptables-nft", "-S"),
				"iptables-legacy": run("iptables-legacy", "-S"),
			} {
				if strings.Contains(in, client) != (raw || what != "iptables-legacy") {
					t.Errorf("%s has %s", what, in)
				}
			}
			all, err := g.members()
			must(t, err)
			for _, m := range all {
				if m.Room == "action" {
					text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID))
					must(t, err)
					write(t, seen+"/room", string(text))
				}
			}
			for _, who := range []string{"room", "script", "root"} {
				if text := read(who); !matches(`(?m)^NoNewPrivs:\t0$`, text) || !matches(`(?m)^Seccomp:\t2$`, text) {
					t.Errorf("the %s is held by %s", who, text)
				}
			}

			// One that is another user's at once, and fails.
			must(t, os.WriteFile(g.path("script"), []byte("#!/bin/sh\nexec sudo -n cp /proc/self/limits "+seen+"/limits /no/such/folder\n"), 0o755))
			sends(client + "0")
			if err := eventually("the failure is not in the log", func() bool {
				return matches(`action script failed .*stderr=.*cp: .*/no/such/folder`, g.log())
			}); err != nil {
				t.Error(err)
			}
			must(t, os.WriteFile(g.path("script"), []byte("#!/bin/sh\nexec sudo -n cp /proc/self/limits "+seen+"/limits\n"), 0o755))
			sends(client + "1")
			if err := eventually("the limits are not there", func() bool { return matches(`(?m)^Max realtime timeout `, read("limits")) }); err != nil {
				t.Fatal(err)
			}
			for _, limit := range []string{"data size", "address space"} {
				if !matches(`(?m)^Max `+limit+` +67108864 +67108864 `, read("limits")) {
					t.Errorf("no limit of its %s holds sudo in a script:\n%s", limit, read("limits"))
				}
			}
		})
	}
}
