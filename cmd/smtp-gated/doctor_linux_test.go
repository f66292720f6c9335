// smtp-gatectl doctor at real families: healthy, ill, before the first start, and as a
// user; and that it leaves all of them as they were.

package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// diagnosis is what doctor printed, by id, and its exit status.
type diagnosis struct {
	status int
	states map[string]string
	texts  map[string]string
	list   string
}

// doctor runs it.
func doctor(t *testing.T, cmd *exec.Cmd) *diagnosis {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	d := &diagnosis{states: map[string]string{}, texts: map[string]string{}}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		d.status = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var all []struct{ ID, State, Text, Remedy string }
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("exit %d: %v: %s%s", d.status, err, out, stderr.String())
	}
	for _, r := range all {
		d.states[r.ID], d.texts[r.ID] = r.State, r.Text+"; "+r.Remedy
		d.list += fmt.Sprintf("%-8s %-28s %s; %s\n", r.State, r.ID, r.Text, r.Remedy)
		if r.State == "red" && r.Remedy == "" || r.State == "warning" && r.Remedy == "" {
			t.Errorf("%s does not say what to do", r.ID)
		}
	}
	return d
}

// startZone serves two block lists, and says where: list.test has the test entries of RFC
// 5782 section 5, and all.test has all the world. What else it is asked it refuses.
func startZone(t *testing.T) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		switch {
		case !strings.HasSuffix(name, ".list.test.") && !strings.HasSuffix(name, ".all.test."):
			answer.Rcode = dns.RcodeRefused
		case strings.HasSuffix(name, ".list.test.") && !strings.HasPrefix(name, "2.0.0.127.") && !strings.HasPrefix(name, "2.0.0.0.0.0.f.7.f.f.f.f.0."):
			answer.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 2)}}
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe()
	return conn.LocalAddr().String()
}

// wants holds states against those of some ids; every other must be green or skipped.
func (d *diagnosis) wants(t *testing.T, status int, want map[string]string) {
	t.Helper()
	need(t, d.states["kernel"] != "warning", "a kernel with all layers of the sandbox")
	if d.status != status {
		t.Errorf("exit %d, want %d", d.status, status)
	}
	for id, state := range d.states {
		switch wanted, is := want[id]; {
		case is && state != wanted:
			t.Errorf("%s is %s, want %s: %s", id, state, wanted, d.texts[id])
		case !is && state != "green" && state != "skipped":
			t.Errorf("%s is %s: %s", id, state, d.texts[id])
		}
	}
	for id := range want {
		if d.states[id] == "" {
			t.Errorf("there is no %s", id)
		}
	}
	if t.Failed() {
		t.Log("\n" + d.list)
	}
}

// traces are what a look could leave behind in a gate's folder: each file, with its owner,
// and what is in it.
func traces(t *testing.T, g *gate) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		// Spool files are there for some seconds behind a session, and behind a scan.
		if err != nil || strings.HasSuffix(path, ".part") || d.Type()&fs.ModeSocket != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		all[path] = fmt.Sprint(info.Mode(), st.Uid, st.Gid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[path] += fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		return nil
	}))
	return all
}

func changes(before, after map[string]string) (names []string) {
	for name := range maps.Keys(after) {
		if after[name] != before[name] {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const scanned = "antivirus_type clamd\nantispam_type spamassassin\nspam_max_size 100000\nlock_on spam\nlock_duration 60\nspf off\n"

// TestDoctor: a healthy family is green, whoever looks; and looking changes nothing.
func TestDoctor(t *testing.T) {
	clamd, _ := startClamd(t)
	spamd := startSpamd(t)
	zone := startZone(t)
	bothWays(t, func(t *testing.T, rooted bool) {
		g, _ := rehearse(t, rooted)
		must(t, g.configure(scanned+"antivirus_path "+clamd+"\nantispam_path "+spamd+"\nnameservers "+zone+"\ndnsbl list.test\n", false))
		must(t, g.start())
		_, err := g.whole(0)
		must(t, err)
		before, counted := traces(t, g), counters(t, g)
		d := doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf")))
		want := map[string]string{
			"engine-clamd-large": "green", "engine-clamd-eicar": "green", "engine-spamassassin-gtube": "green", "engine-clamd-clean": "green", "engine-spamassassin-clean": "green",
			"dns-server-" + zone: "green", "dns-list-list.test": "green", "server-greeting": "green", "server-loop": "green",
			"room-session": "green", "room-scand": "green", "daemon": "green",
		}
		if rooted {
			want["sandbox-session"] = "green"
			want["firewall-own"] = "green"
		}
		d.wants(t, 0, want)
		if names := changes(before, traces(t, g)); len(names) > 0 {
			t.Errorf("these have changed: %s", names)
		}
		after := counters(t, g)
		for name, n := range after {
			if n != counted[name] && name != imsg.CountFilesScanned.String() {
				t.Errorf("counter %s was %v and is %v", name, counted[name], n)
			}
		}
		must(t, g.terminate())
	})
}

func counters(t *testing.T, g *gate) map[string]float64 {
	t.Helper()
	out, err := g.command(program("smtp-gatectl"), "--socket", g.path("run/control"), "status", "--json").Output()
	must(t, err)
	var s struct{ Counters map[string]float64 }
	must(t, json.Unmarshal(out, &s))
	return s.Counters
}

// TestDoctorLargeMails: clamd is shown mails that are too large for it, by each of its limits,
// which it calls clean, or refuses, or names, and one that looks at all of them.
func TestDoctorLargeMails(t *testing.T) {
	const most = "antispam_type off\nantivirus_type clamd\nscan_max_size 8000000\n"
	for name, tt := range map[string]struct {
		limits []string
		stream bool
		status int
		state  string
		text   string
	}{
		"all":                {[]string{"MaxFileSize 9M", "MaxScanSize 27M", "StreamMaxLength 9M"}, false, 0, "green", "found Eicar-Test-Signature.UNOFFICIAL at the end of 7.6 MiB"},
		"all, in a stream":   {[]string{"MaxFileSize 9M", "MaxScanSize 27M", "StreamMaxLength 9M"}, true, 0, "green", ""},
		"files":              {[]string{"MaxFileSize 2M"}, false, 4, "red", "clean with the test virus at the end, and finds the test virus at the end of 1.9 MiB"},
		"files, in a stream": {[]string{"MaxFileSize 2M", "StreamMaxLength 5M"}, true, 4, "red", "finds the test virus at the end of 1.9 MiB"},
		"scans":              {[]string{"MaxFileSize 9M", "MaxScanSize 9M"}, false, 4, "red", "clean with the test virus at the end"},
		"streams":            {[]string{"MaxFileSize 9M", "StreamMaxLength 2M"}, true, 3, "warning", "INSTREAM size limit exceeded"},
		"named":              {[]string{"MaxFileSize 2M", "AlertExceedsMax yes"}, false, 3, "warning", "Heuristics.Limits.Exceeded.MaxFileSize"},
	} {
		t.Run(name, func(t *testing.T) {
			at, tcp := startClamd(t, tt.limits...)
			if tt.stream {
				at = tcp
			}
			g, _ := rehearse(t, os.Geteuid() == 0)
			must(t, g.configure(most+"antivirus_path "+at+"\n", false))
			must(t, g.start())
			_, err := g.whole(0)
			must(t, err)
			d := doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf"), "--only", "engine-clamd-large"))
			d.wants(t, tt.status, map[string]string{"engine-clamd-large": tt.state})
			if !strings.Contains(d.list, tt.text) {
				t.Errorf("%s lacks %s", d.list, tt.text)
			}
			must(t, g.terminate())
		})
	}
}

// TestDoctorFindsFaults: three things are wrong at a running family, and are named.
func TestDoctorFindsFaults(t *testing.T) {
	need(t, os.Geteuid() == 0, "root")
	clamd, _ := startClamd(t)
	zone := startZone(t)
	g, m := rehearse(t, true)
	must(t, g.configure("antispam_type off\nantivirus_type clamd\nspf off\nantivirus_path "+clamd+"\nnameservers "+zone+"\ndnsbl all.test\n", false))
	must(t, g.start())
	_, err := g.whole(0)
	must(t, err)
	m.stop()
	must(t, os.Chmod(clamd, 0o600))
	d := doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf")))
	d.wants(t, 4, map[string]string{
		"server-greeting": "red", "room-scand": "red", "dns-list-all.test": "red",
		"engine-clamd-eicar": "red", "engine-clamd-large": "red", "engine-clamd-clean": "red",
		"daemon": d.states["daemon"], // it has noticed, or not yet
	})
}

// TestDoctorBeforeTheStart: root tries a configuration that nothing runs by, with a
// temporary family; nothing of it stays.
func TestDoctorBeforeTheStart(t *testing.T) {
	need(t, os.Geteuid() == 0, "root")
	clamd, _ := startClamd(t)
	g, _ := rehearse(t, true)
	must(t, g.configure("antispam_type builtin\nantivirus_type clamd\nantivirus_path "+clamd+"\n", false))
	tmp := t.TempDir()
	must(t, os.Chmod(tmp, 0o755))
	must(t, os.Chmod(filepath.Dir(tmp), 0o755))
	run := func(args ...string) *exec.Cmd {
		cmd := g.command(program("smtp-gatectl"), append([]string{"--json", "doctor", g.path("smtp-gated.conf")}, args...)...)
		cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
		return cmd
	}
	before := traces(t, g)
	d := doctor(t, run())
	d.wants(t, 3, map[string]string{
		"daemon": "green", "engine-clamd-eicar": "green", "engine-builtin-gtube": "warning", // it knows no other spam "room-session": "green",
		"room-scand": "green", "sandbox-session": "green", "server-greeting": "green",
	})
	// In a mode for routers, with a script that is not there.
	must(t, g.configure("mode tproxy\nso_mark 7\nantispam_type builtin\nantivirus_type clamd\nantivirus_path "+clamd+"\naction_script /no/such\n", false))
	d = doctor(t, run("--only", "daemon,engine-clamd-eicar,room-action,room-scand,server"))
	d.wants(t, 4, map[string]string{"daemon": "green", "engine-clamd-eicar": "green", "room-action": "red", "server-loop": "skipped"})
	must(t, g.configure("antispam_type builtin\nantivirus_type clamd\nantivirus_path "+clamd+"\n", false))
	if names := changes(before, traces(t, g)); len(names) > 0 {
		t.Errorf("these have changed: %s", names)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}

	// A wrong file is said to be one, and one of a user's that runs nothing is looked at
	// as far as a user may.
	must(t, g.configure("no_such_option 1\n", false))
	if out, err := run().CombinedOutput(); err == nil || !strings.Contains(string(out), "no_such_option") || err.(*exec.ExitError).ExitCode() != 2 {
		t.Errorf("%v: %s", err, out)
	}
	must(t, g.configure("", false))
	cmd := run()
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	d = doctor(t, cmd)
	d.wants(t, 3, map[string]string{"daemon": "warning", "engine-eicar": "skipped", "room-session": "skipped", "server-greeting": "green"})
}

// TestDoctorInterrupted: an interrupt ends the temporary family, too, and so does what
// leaves doctor no time for it.
func TestDoctorInterrupted(t *testing.T) {
	need(t, os.Geteuid() == 0, "root")
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		g, _ := rehearse(t, true)
		silent := silence(t) // nobody greets: it waits
		must(t, g.configure(fmt.Sprintf("fixed_server_port %d\nremote_udp_secret 77\n", silent.Addr().(*net.TCPAddr).Port), false))
		cmd := g.command(program("smtp-gatectl"), "doctor", g.path("smtp-gated.conf"))
		before := traces(t, g)
		must(t, cmd.Start())
		var found []string
		imsgtest.Until(t, "the temporary daemon", func() bool {
			found, _ = filepath.Glob(g.path("smtp-gated-doctor-*/run/control"))
			return len(found) > 0
		})
		folder := filepath.Dir(filepath.Dir(found[0]))
		for _, name := range []string{"smtp-gated.toml", "log"} {
			info, err := os.Stat(filepath.Join(folder, name))
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has the mode %v", name, info.Mode())
			}
		}
		must(t, cmd.Process.Signal(signal))
		err := cmd.Wait()
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || signal == os.Interrupt && exit.ExitCode() != 1 {
			t.Errorf("after %v: %v", signal, err)
		}
		if signal == os.Kill {
			imsgtest.Until(t, "nothing is left behind", func() bool { _, err := os.Stat(folder); return err != nil })
		}
		if names := changes(before, traces(t, g)); len(names) > 0 {
			t.Errorf("after %v these have changed: %s", signal, names)
		}
	}
}

// TestDoctorFirewall: real rules, in a namespace of their own.
func TestDoctorFirewall(t *testing.T) {
	l := newLab(t)
	i := interception{mode: "tproxy"}
	g := i.gate(t, l)
	look := func() (d *diagnosis) {
		t.Helper()
		must(t, l.gateway.enter(func() error {
			d = doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf"), "--only", "firewall-redirect,firewall-own,firewall-routes"))
			return nil
		}))
		return d
	}
	look().wants(t, 4, map[string]string{"firewall-redirect": "red", "firewall-own": "green", "firewall-routes": "skipped"})
	l.rules("nft -f nftables-redirect.nft") // of another mode
	look().wants(t, 4, map[string]string{"firewall-redirect": "red", "firewall-own": "green", "firewall-routes": "skipped"})
	l.rules("nft -f nftables-tproxy.nft")
	look().wants(t, 4, map[string]string{"firewall-redirect": "green", "firewall-own": "green", "firewall-routes": "red"})
	l.rules("tproxy-routes.sh start")
	look().wants(t, 0, map[string]string{"firewall-redirect": "green", "firewall-own": "green", "firewall-routes": "green"})

	// In the output hook root's own sockets would come back, but for a mark.
	nft := func(rules string) {
		t.Helper()
		must(t, l.gateway.enter(func() error {
			cmd := exec.Command(needProgram(t, "nft"), "-f", "-")
			cmd.Stdin = strings.NewReader(rules)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}))
	}
	nft("table ip own {\nchain output {\ntype nat hook output priority -100;\ntcp dport { 25, 587 } redirect to :9199\n}\n}\n")
	look().wants(t, 4, map[string]string{"firewall-redirect": "green", "firewall-own": "red", "firewall-routes": "green"})
	nft("delete table ip own\ntable ip own {\nchain output {\ntype nat hook output priority -100;\nmeta mark 0x5347 accept\nmeta skuid 0 return\ntcp dport { 25, 587 } redirect to :9199\n}\n}\n")
	look().wants(t, 0, map[string]string{"firewall-redirect": "green", "firewall-own": "green", "firewall-routes": "green"})
}

// TestDoctorLoop: the server that is configured is led back to us.
func TestDoctorLoop(t *testing.T) {
	l := newLab(t)
	i := interception{mode: "fixed"}
	g := i.gate(t, l)
	must(t, l.gateway.enter(func() error {
		cmd := exec.Command(needProgram(t, "nft"), "-f", "-")
		cmd.Stdin = strings.NewReader("table ip own {\nchain output {\ntype nat hook output priority -100;\ntcp dport 25 redirect to :9199\n}\n}\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		doctor(t, g.command(program("smtp-gatectl"), "--json", "doctor", g.path("smtp-gated.conf"), "--only", "server,server-loop,firewall-own")).
			wants(t, 4, map[string]string{"server-greeting": "red", "server-loop": "red", "firewall-own": "red"})
		return nil
	}))
}

// silence is a listener that accepts nobody.
func silence(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}
