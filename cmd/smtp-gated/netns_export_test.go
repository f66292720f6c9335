//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exportTo is how the sets of etc/export/nftables-locked.nft are called.
const exportTo = "nft:inet/smtp_gated_locked/locked4,locked6"

// exportLab is a lab whose router keeps out who is locked.
type exportLab struct {
	*lab
	gate  *gate
	run   string // the loop's folder
	loop  *exec.Cmd
	group int // of the read socket
}

func newExportLab(t *testing.T, own string) *exportLab {
	needProgram(t, "nft")
	l := newLab(t)
	l.rules("nft -f nftables-redirect.nft")
	l.rules("nft -f ../export/nftables-locked.nft")
	g, err := newGate(t.TempDir(), true)
	must(t, err)
	t.Cleanup(g.end)
	g.server = 25
	must(t, g.configure("mode netfilter\nlisten "+everywhere+"\nlock_duration 3600\ncontrol_read_group mail\n"+own, false))
	must(t, l.router.enter(func() error { return g.start() }))
	e := &exportLab{lab: l, gate: g, run: filepath.Join(g.dir, "export")}
	mail, err := user.LookupGroup("mail")
	must(t, err)
	e.group, err = strconv.Atoi(mail.Gid)
	must(t, err)
	must(t, os.Mkdir(e.run, 0o755))
	must(t, os.Chown(e.run, unprivileged, unprivileged))
	t.Cleanup(e.stop)
	return e
}

// lock makes lock files of lockd's own, all of them so old, and returns when they end.
func (e *exportLab) lock(age time.Duration, names ...string) (end time.Time) {
	e.Helper()
	owner, err := user.Lookup("man") // of lockd, see accounts
	must(e, err)
	uid, err := strconv.Atoi(owner.Uid)
	must(e, err)
	made := time.Now().Add(-age)
	for _, name := range names {
		file := e.gate.path("lock/" + name)
		must(e, os.WriteFile(file, []byte("VIRUS\n"), 0o640))
		must(e, errors.Join(os.Chown(file, uid, uid), os.Chtimes(file, made, made)))
	}
	return made.Add(time.Hour)
}

// start runs the loop as its unit does: not as root, in the read socket's group, with one
// capability. It looks again at least so often.
func (e *exportLab) start(every string, options ...string) {
	e.Helper()
	script := e.gate.path("smtp-gated-export") // what lies above the tree may be root's alone
	write(e.T, script, readFile(e.T, recipes+"smtp-gated-export"))
	cmd := exec.Command("/bin/sh", append([]string{script, exportTo}, options...)...)
	cmd.Dir = e.gate.dir
	cmd.Env = []string{
		"PATH=" + programs + ":/usr/sbin:/usr/bin:/sbin:/bin", "EVERY=" + every, "RUNTIME_DIRECTORY=" + e.run, "GATE_STORY=yes",
		"SMTP_GATECTL=smtp-gatectl --socket " + e.gate.path("run/status"),
	}
	log, err := os.OpenFile(e.gate.path("loop"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(e, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
		Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged, Groups: []uint32{uint32(e.group)}},
	}
	must(e, e.router.enter(cmd.Start))
	e.loop = cmd
}

// stop ends the loop.
func (e *exportLab) stop() {
	if e.loop != nil {
		syscall.Kill(-e.loop.Process.Pid, syscall.SIGKILL)
		e.loop.Wait()
		e.loop = nil
	}
}

// nft runs nft on the router.
func (e *exportLab) nft(input string, args ...string) ([]byte, error) {
	cmd := exec.Command(needProgram(e, "nft"), args...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := e.router.enter(cmd.Run)
	return out.Bytes(), err
}

// inForce is what the sets hold, with the seconds that are left; 0: for ever.
func (e *exportLab) inForce() map[string]int {
	all := map[string]int{}
	for _, set := range []string{"locked4", "locked6"} {
		text, err := e.nft("", "-j", "list", "set", "inet", "smtp_gated_locked", set)
		if err != nil {
			return nil // there is none
		}
		var list struct {
			Nftables []struct {
				Set struct{ Elem []json.RawMessage }
			}
		}
		must(e, json.Unmarshal(text, &list))
		for _, part := range list.Nftables {
			for _, raw := range part.Set.Elem {
				var timed struct {
					Elem struct {
						Val     json.RawMessage
						Expires int
					}
				}
				if json.Unmarshal(raw, &timed) != nil || timed.Elem.Val == nil {
					timed.Elem.Val = raw
				}
				var network struct {
					Prefix struct {
						Addr string
						Len  int
					}
				}
				var name string
				if json.Unmarshal(timed.Elem.Val, &name) != nil {
					must(e, json.Unmarshal(timed.Elem.Val, &network))
					name = fmt.Sprintf("%s/%d", network.Prefix.Addr, network.Prefix.Len)
				}
				all[name] = timed.Elem.Expires
			}
		}
	}
	return all
}

// holds waits until the sets hold these, each until its lock ends.
func (e *exportLab) holds(what string, want map[string]time.Time) {
	e.Helper()
	complaint := ""
	if err := eventually("", func() bool {
		have := e.inForce()
		complaint = ""
		for name, end := range want {
			left, there := have[name]
			if over := time.Until(end.Add(-time.Duration(left) * time.Second)); !there || over.Abs() > 2*time.Second {
				complaint = fmt.Sprintf("%s is there: %v; it ends %v before its lock", name, there, over)
				break
			}
		}
		for name := range have {
			if _, ok := want[name]; !ok {
				complaint = name + " is there"
			}
		}
		return complaint == ""
	}); err != nil {
		loop, _ := os.ReadFile(e.gate.path("loop"))
		e.Fatalf("%s: %d of %d are in force; %s\n%s", what, len(e.inForce()), len(want), complaint, loop)
	}
}

// tells waits until the metrics say so.
func (e *exportLab) tells(success, wanted, inForce int) {
	e.Helper()
	var text []byte
	if err := eventually("", func() bool {
		text, _ = os.ReadFile(filepath.Join(e.run, "smtp-gated-export.prom"))
		for name, n := range map[string]int{"success": success, "wanted": wanted, "in_force": inForce} {
			if !matches(fmt.Sprintf(`^smtp_gated_export_%s %d$`, name, n), string(text)) {
				return false
			}
		}
		return true
	}); err != nil {
		e.Fatalf("the metrics are not %d, %d, %d:\n%s", success, wanted, inForce, text)
	}
}

// hears is what a client hears: a reset, or a line.
func (e *exportLab) hears(f labFamily, from netip.Addr, want string) {
	e.Helper()
	heard := ""
	if err := eventually("", func() bool {
		c, err := e.dial(from, f.server)
		if errors.Is(err, syscall.ECONNREFUSED) {
			heard = "a reset"
			return heard == want
		}
		must(e, err)
		defer c.conn.Close()
		heard = want
		if err := c.expect(want); err != nil {
			heard = err.Error()
		}
		return heard == want
	}); err != nil {
		e.Fatalf("%s hears %q, not %q", from, heard, want)
	}
}

// TestExport: what nft keeps out is who is locked, whoever flushes it, while the daemon is
// dead, and to the end of the locks.
func TestExport(t *testing.T) {
	t.Parallel()
	// Where the router has an address of the network that is one client nobody of it is
	// blocked: here it has none.
	e := newExportLab(t, "client_prefix_ipv6 124\n")
	defer explain(t, e.gate)
	four, six := labFamilies[0], labFamilies[1]
	want := map[string]time.Time{}
	var names []string
	for i := range 9000 {
		names = append(names, fmt.Sprintf("10.9.%d.%d", i/256, i%256))
		want[names[i]] = time.Time{}
	}
	for i := range 1000 {
		names = append(names, fmt.Sprintf("2001:db8:%x::", i+0x100))
		want[names[9000+i]+"/124"] = time.Time{}
	}
	end := e.lock(0, names...)
	for name := range want {
		want[name] = end
	}
	want["203.0.113.9"] = e.lock(time.Hour/2, "203.0.113.9")
	// Nobody of these: ours, a loopback, a user of an address, a client of another prefix,
	// one whose lock is over, whitelisted.
	e.lock(0, four.inner.String(), four.outer.String(), "127.0.0.9", "203.0.113.10-bob", "2001:db8:1::1f", "2001:db8:1::")
	e.lock(2*time.Hour, "203.0.113.11")
	must(t, os.WriteFile(e.gate.path("lock/203.0.113.12"), nil, 0o644))

	e.start("10m")
	e.holds("10,000 locks", want)
	e.tells(1, len(want), len(want))

	// A client is locked, which the loop hears at once: a reset is all that client hears,
	// and nobody else does. A session that is open is not cut.
	v := visit{T: t, interception: &interceptions[0], lab: e.lab, gate: e.gate, labFamily: four}
	open, err := e.dial(four.client, four.server)
	must(t, err)
	defer open.conn.Close()
	must(t, open.expect("220 msa.test"))
	v.send(four.client, virusMail, "550 ")
	e.hears(four, four.client, "a reset")
	e.hears(four, four.neighbour, "220 msa.test")
	must(t, open.send("NOOP"))
	must(t, open.expect("250"))
	open.conn.Close()
	v6 := visit{T: t, interception: &interceptions[0], lab: e.lab, gate: e.gate, labFamily: six}
	v6.send(six.private, virusMail, "550 ")
	e.hears(six, six.private, "a reset")
	e.hears(six, six.client, "220 msa.test")

	// An operator lets one in again.
	out, err := e.gate.ctl("lock", "remove", "fd00:1::10")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	e.hears(six, six.private, "220 msa.test")

	// Others flush the sets, or the whole ruleset and load it anew.
	e.stop()
	e.start("1s")
	withClient := maps.Clone(want)
	withClient[four.client.String()] = e.lock(time.Minute, four.client.String())
	e.nft("flush set inet smtp_gated_locked locked4\n", "-f", "-")
	e.holds("flushed by somebody else", withClient)
	e.nft("flush ruleset\n", "-f", "-")
	e.tells(0, len(withClient), 0)
	e.rules("nft -f nftables-redirect.nft")
	e.rules("nft -f ../export/nftables-locked.nft")
	e.holds("loaded anew", withClient)
	e.tells(1, len(withClient), len(withClient))

	// The daemon is killed: nobody is let in for that, and what has changed meanwhile is in
	// force when it is back.
	must(t, e.gate.signal(syscall.SIGKILL))
	if _, err := e.gate.wait(); err != nil {
		t.Fatal(err)
	}
	e.tells(0, len(withClient), len(withClient))
	e.holds("without a daemon", withClient)
	must(t, os.Remove(e.gate.path("lock/203.0.113.9")))
	delete(withClient, "203.0.113.9")
	must(t, e.router.enter(func() error { return e.gate.start() }))
	e.holds("with another daemon", withClient)
	e.tells(1, len(withClient), len(withClient))

	// A lock ends in nft when it ends for us.
	end = e.lock(time.Hour-10*time.Second, four.client.String())
	withClient[four.client.String()] = end
	e.holds("about to end", withClient)
	e.hears(four, four.client, "220 msa.test")
	if left := time.Until(end); left > time.Second {
		t.Errorf("it was let in %v too early", left)
	}
}

// TestExportOptions: who is protected and who has heard it too seldom is not exported, over
// a socket that gives no other right.
func TestExportOptions(t *testing.T) {
	t.Parallel()
	e := newExportLab(t, "")
	defer explain(t, e.gate)
	four := labFamilies[0]
	export := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program("smtp-gatectl"), append([]string{"--socket", e.gate.path("run/status"), "lock", "export"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: uint32(e.group)}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	client, server := four.client.String(), four.server.Addr().String()
	e.lock(time.Minute, client, server)
	is := func(want string, args ...string) {
		t.Helper()
		if got := strings.Join(strings.Fields(export(args...)), " "); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
	is(client+" "+server, "pf")
	is("", "pf", "--min-age", "5m")
	is(client+" "+server, "pf", "--min-age", "30s")
	is("", "pf", "--min-refusals", "2")
	e.hears(four, four.client, "554 gate.test .*locked")
	is("", "pf", "--min-refusals", "2")
	e.hears(four, four.client, "554 gate.test .*locked")
	is(client, "pf", "--min-refusals", "2")

	// A server is protected as long as somebody talks to it.
	c, err := e.dial(four.neighbour, four.server)
	must(t, err)
	defer c.conn.Close()
	must(t, c.expect("220 msa.test"))
	is(client, "pf")
	out, err := e.gate.ctl("lock", "list")
	if err != nil || !matches("^"+server+" .*protected: not exported", string(out)) || !matches("^"+client+" .* 2 +in ", string(out)) {
		t.Errorf("%v:\n%s", err, out)
	}
	must(t, c.quit())
	must(t, eventually("it stays protected", func() bool { return strings.Contains(export("plain"), server+"\n") }))
}
