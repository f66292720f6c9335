//go:build linux && booted

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestBootedHelper is for the same machine as TestBooted: on a router smtp-gate-helper starts
// from its unit when it is told who may ask, is never root, and tells the gateway what was
// translated.
func TestBootedHelper(t *testing.T) {
	const unit, folder = "smtp-gate-helper", "/etc/systemd/system/smtp-gate-helper.service.d"
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(needProgram(t, name), args...).CombinedOutput()
		if err != nil {
			journal, _ := exec.Command("journalctl", "-u", unit, "--no-pager").CombinedOutput()
			t.Fatalf("%s %v: %v: %s\n%s", name, args, err, out, journal)
		}
		return strings.TrimSpace(string(out))
	}
	property := func(name string) string {
		t.Helper()
		return run("systemctl", "show", "--property="+name, "--value", unit)
	}
	run("systemd-sysusers")
	run("systemd-analyze", "security", "--threshold=20", unit)

	// Who may ask nobody has said, and what is wrong stays wrong.
	if out, err := exec.Command("systemctl", "start", unit).CombinedOutput(); err == nil {
		t.Errorf("it starts without options: %s", out)
	}
	if state, result, status := property("ActiveState"), property("Result"), property("ExecMainStatus"); state != "failed" || result != "exit-code" || status != "2" {
		t.Errorf("it is %s, %s %s", state, result, status)
	}
	if said := run("journalctl", "-u", unit, "--no-pager"); !strings.Contains(said, "which proxies may ask? Name them with -a") || strings.Contains(said, "ignoring") {
		t.Errorf("it is not said why, or the unit is not understood: %s", said)
	}

	const secret = "/etc/smtp-gated/secret"
	who, err := user.Lookup("_smtpgate-helper")
	must(t, err)
	gid, err := strconv.Atoi(who.Gid)
	must(t, err)
	must(t, os.WriteFile(secret, []byte("4711\n"), 0o640))
	must(t, os.Chown(secret, 0, gid))
	var proxies []string
	for _, f := range labFamilies {
		proxies = append(proxies, f.gateway.String())
	}
	write(t, "/etc/smtp-gated/smtp-gate-helper.conf", fmt.Sprintf("OPTIONS=\"-v -a %s -s %s\"\n", strings.Join(proxies, ","), secret))
	must(t, os.MkdirAll(folder, 0o755))
	for _, mode := range []string{"remote", "remote-udp\nremote_udp_secret 4711"} {
		t.Run(strings.Fields(mode)[0], func(t *testing.T) {
			i := interception{mode: mode, rules: "nft -f nftables-remote.nft", listen: beside, remote: true}
			l := newLab(t)
			l.firewall = "/usr/share/examples/smtp-gated/firewall"
			l.separate()
			l.rules(i.rules)
			write(t, folder+"/story.conf", "[Service]\nNetworkNamespacePath=/run/netns/"+string(l.router)+"\n")
			run("systemctl", "daemon-reload")
			run("systemctl", "start", unit)
			defer run("systemctl", "stop", unit)
			holdsNoMore(t, who.Uid, property("MainPID"), property("ControlGroup"))
			g := i.gate(t, l)
			for _, f := range labFamilies {
				t.Run(f.name, func(t *testing.T) {
					defer explain(t, g)
					v := visit{T: t, interception: &i, lab: l, gate: g, labFamily: f}
					v.tell()
				})
			}
			must(t, g.terminate())
		})
	}
	if result := property("Result"); result != "success" {
		t.Errorf("it has ended as %s", result)
	}
}

// holdsNoMore looks at each thread of the processes of the unit: all are its user's, and
// none may more than ask connection tracking, nor the main one that.
func holdsNoMore(t *testing.T, uid, main, group string) {
	t.Helper()
	text, err := os.ReadFile("/sys/fs/cgroup" + group + "/cgroup.procs")
	if err != nil {
		text, err = os.ReadFile("/sys/fs/cgroup/systemd" + group + "/cgroup.procs")
	}
	must(t, err)
	pids := strings.Fields(string(text))
	if len(pids) != 2 {
		t.Errorf("there are %d processes", len(pids))
	}
	for _, pid := range pids {
		caps := "0000000000001000" // CAP_NET_ADMIN is 12
		if pid == main {
			caps = "0000000000000000"
		}
		must(t, eventually("a process of the unit may more than it should", func() bool {
			threads, err := filepath.Glob("/proc/" + pid + "/task/*/status")
			for _, thread := range threads {
				status, _ := os.ReadFile(thread)
				for _, line := range []string{
					"Uid:\t" + strings.Repeat(uid+"\t", 3) + uid, "CapPrm:\t" + caps, "CapEff:\t" + caps,
					"CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
				} {
					if !strings.Contains(string(status), line+"\n") {
						return false
					}
				}
				if strings.Contains(string(status), "Seccomp:\t0\n") {
					return false
				}
			}
			return err == nil && len(threads) > 0
		}))
	}
}
