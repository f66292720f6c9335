//go:build linux && booted

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
)

const (
	packaged     = "/etc/smtp-gated/smtp-gated.toml"
	packagedPort = "127.0.0.1:9199"
)

// packageStory is a machine that systemd has booted, and on which nothing of ours was ever
// installed but what lies in /root/packages: two versions, each as deb and as rpm.
type packageStory struct {
	t      *testing.T
	gate   *gate // for its crowds only: it starts no daemon
	server *msa
	rows   []string // of what became of mail meanwhile
}

// TestPackages installs, upgrades, goes back, removes and purges the packages, as an
// administrator does, while mail flows: see .ci/system.
func TestPackages(t *testing.T) {
	g, m := rehearse(t, true)
	p := &packageStory{t: t, gate: g, server: m}
	write(t, g.path("log"), " ready generation=1 listen=["+packagedPort+"]\n")
	// Where the configuration of the packages looks for it.
	m.stop()
	var err error
	m.listener, err = net.Listen("tcp", "127.0.0.1:25")
	must(t, err)
	go m.accept(m.listener)
	defer func() {
		var table strings.Builder
		w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "from\tto\tby\tclients\tmails sent\tdelivered\tlost\tdoubled\tput off\tsessions dropped")
		fmt.Fprintln(w, strings.Join(p.rows, "\n"))
		w.Flush()
		t.Logf("upgrades under load\n%s", table.String())
	}()
	t.Run("deb", func(t *testing.T) { p.t = t; p.deb() })
	t.Run("rpm", func(t *testing.T) { p.t = t; p.rpm() })
	noneBad(t, m)
}

func (p *packageStory) deb() {
	t := p.t
	old, young := p.file("1", "deb"), p.file("2", "deb")
	p.run("dpkg", "-i", old)
	p.serves("1.9.1")
	p.scans("127.0.5.1")
	if out := p.run("systemctl", "is-enabled", "smtp-gated"); out != "enabled" {
		t.Errorf("at boot it is %s", out)
	}

	mine := p.edit()
	p.run("systemctl", "reload", "smtp-gated")
	p.sends("127.0.6.1", "250 ")
	p.replaced("1.9.1", "1.9.2", "dpkg -i", "dpkg", "-i", young)
	p.replaced("1.9.2", "1.9.1", "dpkg -i, back", "dpkg", "-i", old)
	p.remembers(mine)

	// What is wrong with the configuration keeps the new version from taking over, and
	// neither the old one from serving nor dpkg from its work.
	write(t, packaged, mine+"nonsense = 1\n")
	if out := p.run("dpkg", "-i", young); !strings.Contains(out, "nonsense") || !strings.Contains(out, "the old one serves on") {
		t.Errorf("with a wrong configuration dpkg says\n%s", out)
	}
	p.serves("1.9.1")
	write(t, packaged, mine)
	p.run("smtp-gatectl", "upgrade")
	p.serves("1.9.2")

	// Where the administrator allows nothing, nothing happens to the daemon.
	write(t, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
	must(t, os.Chmod("/usr/sbin/policy-rc.d", 0o755))
	p.run("dpkg", "-i", old)
	p.serves("1.9.2")
	must(t, os.Remove("/usr/sbin/policy-rc.d"))

	p.run("dpkg", "-r", "smtp-gated")
	p.stopped()
	if text, err := os.ReadFile(packaged); err != nil || string(text) != mine {
		t.Errorf("once it is removed the configuration is %q, %v", text, err)
	}
	p.run("dpkg", "-i", young)
	p.serves("1.9.2")
	p.remembers(mine)

	p.run("dpkg", "-P", "smtp-gated")
	p.stopped()
	p.nothingLeft()
	p.run("getent", "passwd", "_smtpgated", "_smtpgate-helper")
}

// rpm has no packages of its own to depend on here, and no word for a purge.
func (p *packageStory) rpm() {
	t := p.t
	old, young := p.file("1", "rpm"), p.file("2", "rpm")
	rpm := func(args ...string) []string { return append([]string{"rpm", "--nodeps"}, args...) }
	p.run(rpm("-i", old)...)
	p.stopped()
	p.run("systemctl", "start", "smtp-gated")
	p.serves("1.9.1")
	p.scans("127.0.5.1")

	mine := p.edit()
	p.run("systemctl", "reload", "smtp-gated")
	p.sends("127.0.6.1", "250 ")
	p.replaced("1.9.1", "1.9.2", "rpm -U", rpm("-U", young)...)
	p.replaced("1.9.2", "1.9.1", "rpm -U --oldpackage", rpm("-U", "--oldpackage", old)...)
	p.remembers(mine)

	p.run(rpm("-e", "smtp-gated")...)
	p.stopped()
	if text, err := os.ReadFile(packaged + ".rpmsave"); err != nil || string(text) != mine {
		t.Errorf("once it is removed the configuration is %q, %v", text, err)
	}
	must(t, os.Rename(packaged+".rpmsave", packaged))
	p.run(rpm("-i", young)...)
	p.run("systemctl", "start", "smtp-gated")
	p.serves("1.9.2")
	p.remembers(mine)
	p.run(rpm("-e", "smtp-gated")...)
	p.stopped()
}

// run runs a command that has to succeed, and returns what it says.
func (p *packageStory) run(args ...string) string {
	p.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		journal, _ := exec.Command("journalctl", "-u", "smtp-gated", "-n", "30", "--no-pager").CombinedOutput()
		p.t.Fatalf("%v: %v: %s\n%s", args, err, out, journal)
	}
	return strings.TrimSpace(string(out))
}

// file is a package of a version.
func (p *packageStory) file(folder, kind string) string {
	p.t.Helper()
	found, err := filepath.Glob("/root/packages/" + folder + "/*." + kind)
	must(p.t, err)
	if len(found) != 1 {
		p.t.Fatalf("version %s has %d packages of %s", folder, len(found), kind)
	}
	return found[0]
}

func (p *packageStory) property(name string) string {
	p.t.Helper()
	return p.run("systemctl", "show", "--property="+name, "--value", "smtp-gated")
}

// serves tells that a version is the one that runs, in systemd's eyes too.
func (p *packageStory) serves(version string) {
	p.t.Helper()
	if state, again := p.property("ActiveState"), p.property("NRestarts"); state != "active" || again != "0" {
		p.t.Fatalf("it is %s, and was restarted %s times", state, again)
	}
	var status struct{ Version string }
	must(p.t, json.Unmarshal([]byte(p.run("smtp-gatectl", "--json", "status")), &status))
	if strings.TrimPrefix(status.Version, "v") != version {
		p.t.Fatalf("%s serves, not %s", status.Version, version)
	}
}

func (p *packageStory) stopped() {
	p.t.Helper()
	if state := p.property("ActiveState"); state != "inactive" {
		p.t.Fatalf("it is %s", state)
	}
	if out, err := exec.Command("pgrep", "-x", "smtp-gated").Output(); err == nil {
		p.t.Fatalf("there are processes of it: %s", out)
	}
}

// sends sends a clean mail in a session of its own; reply is what ends it: of the mail, or
// in place of a greeting.
func (p *packageStory) sends(from, reply string) {
	p.t.Helper()
	p.ends(from, cleanMail, reply)
}

func (p *packageStory) ends(from, mail, reply string) {
	p.t.Helper()
	c, err := dialGate(packagedPort, from)
	must(p.t, err)
	defer c.conn.Close()
	if strings.HasPrefix(reply, "554") {
		must(p.t, c.expect(reply))
		return
	}
	answer, err := c.deliver([]byte(mail))
	must(p.t, err)
	if !strings.HasPrefix(answer, reply) {
		p.t.Fatalf("got reply %q, want %q", answer, reply)
	}
	c.send("QUIT")
}

// scans tells that what the package brings scans mail, and locks out who sends a virus.
func (p *packageStory) scans(infected string) {
	p.t.Helper()
	p.sends("127.0.4.1", "250 ")
	p.ends(infected, virusMail, "550 ")
	p.ends(infected, cleanMail, "554 ")
}

// edit writes the administrator's configuration, and returns it.
func (p *packageStory) edit() string {
	p.t.Helper()
	text, err := os.ReadFile(packaged)
	must(p.t, err)
	mine := string(text) + "\n[server]\nname = \"gate.test\"\n\n[rate]\nperiod = \"1h\"\nmessages = 1000000\n"
	write(p.t, packaged, mine)
	return mine
}

// remembers tells that configuration, locks and counts are those of before.
func (p *packageStory) remembers(mine string) {
	p.t.Helper()
	text, err := os.ReadFile(packaged)
	must(p.t, err)
	if string(text) != mine {
		p.t.Errorf("the configuration is now\n%s", text)
	}
	p.ends("127.0.5.1", cleanMail, "554 ")
	out := strings.Join(strings.Fields(p.run("smtp-gatectl", "--json", "rate", "list")), "")
	if !matches(`"client":"127\.0\.6\.1"[^}]*"counters":\{[^]]*?"messages":\{"used":1,`, out) {
		p.t.Errorf("what 127.0.6.1 has sent is forgotten:\n%s", out)
	}
}

// replaced has another version installed under 20 clients, and a session in the middle of
// its message, which goes on.
func (p *packageStory) replaced(from, to, by string, command ...string) {
	t, post := p.t, p.server.post
	t.Helper()
	var before [3]int
	count := func() [3]int {
		return [3]int{post.count(isTaken), post.count(isAccepted) - post.count(isAccepted|isTaken), post.count(isDoubled)}
	}
	before = count()
	long, err := dialGate(packagedPort, "127.0.7.1")
	must(t, err)
	must(t, long.start())
	must(t, long.text([]byte(cleanMail)))
	crowd := p.gate.crowd(p.server, 20, 0, verdicts[0])
	must(t, crowd.moves())
	old := p.property("MainPID")
	out := p.run(command...)
	p.serves(to)
	if p.property("MainPID") == old {
		t.Fatalf("nobody has taken over: %s", out)
	}
	must(t, crowd.moves())
	must(t, crowd.stop())
	dropped := crowd.cut.Load() + crowd.unreached.Load()
	if long.send(".") != nil || long.expect("250 ") != nil || long.quit() != nil {
		dropped++
	}
	must(t, eventually("the program before does not end", func() bool {
		pid, _ := strconv.Atoi(old)
		return gone(pid)
	}))
	if _, err := p.server.box(); err != nil { // nothing is under way
		t.Fatal(err)
	}
	after := count()
	p.rows = append(p.rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d", from, to, by, 20, crowd.sent.Load(),
		after[0]-before[0], after[1]-before[1], after[2]-before[2], crowd.later.Load(), dropped))
	must(t, crowd.undisturbed())
	if dropped > 0 || int64(after[0]-before[0]) != crowd.sent.Load() || after[1] > 0 || after[2] > 0 {
		t.Errorf("%s: %s", by, p.rows[len(p.rows)-1])
	}
	must(t, post.judge())
}

// nothingLeft looks for what a purge has left.
func (p *packageStory) nothingLeft() {
	p.t.Helper()
	out := p.run("find", "/etc", "/usr", "/var", "/run", "-path", "/var/log", "-prune", "-o", "-name", "*smtp-gate*", "-print")
	if out != "" {
		p.t.Errorf("left behind:\n%s", out)
	}
}
