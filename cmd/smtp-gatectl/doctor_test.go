// The table of doctor, its command line, and its judgements: each has what it is content
// with, and what it is not.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// TestMain is what doctor and demo start of themselves as well: they start this program.
func TestMain(m *testing.M) {
	if code, is := helperMain(os.Args[1:]); is {
		os.Exit(code)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// TestDoctorManual: smtp-gatectl.8 has the table. -update writes it.
func TestDoctorManual(t *testing.T) {
	const page, end = "../../man/smtp-gatectl.8", ".El\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, entry, ok := strings.Cut(string(text), ".It Ic doctor ")
	before, _, ok2 := strings.Cut(entry, ".Bl -tag -width Ds\n")
	if !ok || !ok2 {
		t.Fatalf("%s has no list of doctor", page)
	}
	at := strings.Index(string(text), entry) + len(before) + len(".Bl -tag -width Ds\n")
	rest := string(text)[at:]
	var list strings.Builder
	for _, p := range probes {
		list.WriteString(".It Cm " + p.id + "\n")
		line := ""
		for w := range strings.FieldsSeq(strings.ToUpper(p.help[:1]) + p.help[1:] + ".") {
			if len(line)+len(w) > 74 {
				list.WriteString(line + "\n")
				line = ""
			}
			line = strings.TrimSpace(line + " " + w)
		}
		list.WriteString(line + "\n")
	}
	if want := string(text)[:at] + list.String() + rest[strings.Index(rest, end):]; want != string(text) {
		if !*update {
			t.Fatalf("%s is not what the table says: run go test ./cmd/smtp-gatectl -run TestDoctorManual -update", page)
		}
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorTable(t *testing.T) {
	seen := map[string]bool{}
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+|-[A-Z]+)*$`)
	for _, p := range probes {
		if !word.MatchString(p.id) || seen[p.id] || seen[p.plainID()] || p.help == "" || p.do == nil {
			t.Errorf("%s is no row", p.id)
		}
		seen[p.id], seen[p.plainID()] = true, true
	}
	for id, want := range map[string]int{
		"users": 1, "engine-clamd-eicar": 1, "engine-ENGINE-gtube": 1, "engine-clean": 1, "dns-list-bl.example.org": 1,
		"engines": 4, "dns-server-[2001:db8::1]:53": 1, "nothing": 0, "users-x": 0,
	} {
		n := 0
		for _, p := range probes {
			if p.has(id) {
				n++
			}
		}
		if n != want {
			t.Errorf("%s is of %d rows, not %d", id, n, want)
		}
	}
}

func TestDoctorCommandLine(t *testing.T) {
	code, out, _ := gatectl("doctor", "--list")
	if code != exitOK || strings.Count(out, "\n  ") != len(probes) {
		t.Errorf("exit %d: %s", code, out)
	}
	code, out, _ = gatectl("doctor", "--list", "--json")
	var rows []map[string]string
	if err := json.Unmarshal([]byte(out), &rows); code != exitOK || err != nil || len(rows) != len(probes) {
		t.Errorf("exit %d, error %v: %s", code, err, out)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.toml")
	if err := os.WriteFile(wrong, []byte("[target]\nmode = \"nowhere\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		errs string
	}{
		{[]string{"doctor", "--only", "nothing"}, exitUsage, `nothing is called "nothing"`},
		{[]string{"doctor", "--socket", "/x", "file"}, exitUsage, "FILE names the daemon"},
		{[]string{"doctor", wrong}, exitUsage, "target.mode"},
		{[]string{"doctor", "/no/such/file"}, exitUsage, "/no/such/file"},
		{[]string{"doctor", "--socket", "/no/such/socket"}, exitFailed, "smtp-gated is not running"},
	} {
		if code, _, errs := gatectl(tt.args...); code != tt.code || !strings.Contains(errs, tt.errs) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs)
		}
	}
}

// TestDoctorPrints: in the order of the table, whoever is done first, with what to do below;
// and the worst is the outcome.
func TestDoctorPrints(t *testing.T) {
	second := make(chan struct{})
	rows := []probe{
		{id: "a", group: "one", do: func(context.Context, *patient) []result {
			<-second
			return []result{green("a", "fine\x1b[2J")}
		}},
		{id: "b", group: "one", do: func(context.Context, *patient) []result {
			close(second)
			return []result{warn("b", "mend it", "odd")}
		}},
		{id: "c", group: "two", do: func(ctx context.Context, _ *patient) []result {
			<-ctx.Done()
			return []result{red("c", "wait", "late")}
		}, limit: func(*patient) time.Duration { return time.Millisecond }},
	}
	p := &patient{Config: config.NewSite(), file: "f", noFamily: "none"}
	results := examine(context.Background(), p, rows)
	var out bytes.Buffer
	if err := printResults(&out, p, results); err != nil {
		t.Fatal(err)
	}
	const want = `f: none

one
  green   a  fine#[2J
  warning b  odd
             -> mend it

two
  red     c  late
             -> wait

1 green, 1 warning, 1 red
`
	if out.String() != want {
		t.Errorf("printed:\n%s", out.String())
	}
	for s, code := range map[state]int{skipped: 0, good: 0, warning: exitDegraded, bad: exitDown} {
		if s.exitStatus() != code {
			t.Errorf("%s: exit %d", s, s.exitStatus())
		}
	}
}

// TestDoctorHangs: a probe that does not keep to its time holds up nobody.
func TestDoctorHangs(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	row := probe{id: "x-FILE", do: func(context.Context, *patient) []result { <-forever; return nil }, limit: func(*patient) time.Duration { return -lateTime }}
	r := row.try(context.Background(), &patient{Config: config.Default()})
	if len(r) != 1 || r[0].ID != "x" || r[0].State != bad || r[0].Remedy == "" {
		t.Errorf("%+v", r)
	}
}

// TestDoctorTellsTheEnd of a temporary family that does not end well, whatever the outcome.
func TestDoctorTellsTheEnd(t *testing.T) {
	end := errors.New("it was killed")
	for _, tt := range []struct {
		err, end, want error
		said           bool
	}{
		{nil, nil, nil, false}, {bad, nil, bad, false}, {nil, end, end, false}, {bad, end, bad, true}, {errInterrupted, end, errInterrupted, true},
	} {
		var errs bytes.Buffer
		got := (&tool{err: &errs}).with(tt.err, tt.end)
		if got != tt.want || strings.Contains(errs.String(), end.Error()) != tt.said {
			t.Errorf("%v and %v: %v, said %q", tt.err, tt.end, got, &errs)
		}
	}
}

// TestDoctorLoose: what the kernel says of a process that should be held.
func TestDoctorLoose(t *testing.T) {
	held := confinement{root: "/spool", noNew: true, filtered: true}
	unfiltered, able, bare, whole := held, held, held, held
	unfiltered.filtered, able.capabilities, bare.noNew, whole.root = false, "1", false, "/"
	spool, script := site.Room{Root: site.Spool}, site.Room{Root: site.WholeTree}
	v := site.View{Spec: sandbox.New()}
	v.Spec.Chroot, v.Spec.Identity.UID = true, 7
	for _, tt := range []struct {
		name  string
		room  site.Room
		uid   int
		c     confinement
		lacks []string
		fault string
	}{
		{"held", spool, 7, held, nil, ""},
		{"another user", spool, 8, held, nil, "is user"},
		{"root", spool, 0, held, nil, "is user"},
		{"the whole tree", spool, 7, whole, nil, "whole tree"},
		{"capabilities", spool, 7, able, nil, "capabilities"},
		{"it may gain some", spool, 7, bare, nil, "privileges"},
		{"what starts programs", script, 7, confinement{root: "/x"}, nil, ""},
		{"no filter", spool, 7, unfiltered, nil, "filter"},
		{"no filter, where there is none", spool, 7, unfiltered, []string{sandbox.LacksFilters, sandbox.LacksLandlock}, ""},
		{"no filter, where there is no Landlock", spool, 7, unfiltered, []string{sandbox.LacksLandlock}, "filter"},
	} {
		p := patientWith(t, "")
		p.status = &status{Lacks: tt.lacks}
		if got := p.loose(&tt.uid, tt.c, tt.room, v); (got == "") != (tt.fault == "") || !strings.Contains(got, tt.fault) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestDoctorInterrupted: nobody waits for a probe once we are to end.
func TestDoctorInterrupted(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	ctx, cancel := context.WithCancel(context.Background())
	row := probe{id: "x", do: func(context.Context, *patient) []result { cancel(); <-forever; return nil }, limit: func(*patient) time.Duration { return time.Hour }}
	if r := row.try(ctx, &patient{Config: config.Default()}); len(r) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestDoctorJudges: numbers that are good, odd and bad.
func TestDoctorJudges(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, tt := range []struct {
		name string
		got  result
		want state
	}{
		{"files", judgeFiles("x", 664, 1024, 100, "have"), good},
		{"files", judgeFiles("x", 6064, 1024, 1000, "have"), warning},
		{"queue", judgeQueue("x", "q", 128, 4096), good},
		{"queue", judgeQueue("x", "q", 1024, 128), warning},
		{"conntrack", judgeConntrack("x", 10, 65536, 1000), good},
		{"conntrack", judgeConntrack("x", 10, 3999, 1000), warning},
		{"conntrack", judgeConntrack("x", 60000, 65536, 1000), warning},
		{"disk", judgeDisk("x", "/", space{free: 1 << 30, size: 2 << 30, names: 5000, found: 9000}, 1<<20, 1000), good},
		{"no inodes to count", judgeDisk("x", "/", space{free: 1 << 30, size: 2 << 30}, 1<<20, 1000), good},
		{"full", judgeDisk("x", "/", space{free: 1 << 19, size: 2 << 30}, 1<<20, 1000), bad},
		{"nearly full", judgeDisk("x", "/", space{free: 8 << 20, size: 2 << 30}, 1<<20, 1000), warning},
		{"two percent", judgeDisk("x", "/", space{free: 1 << 30, size: 100 << 30}, 1<<20, 1000), warning},
		{"no inode", judgeDisk("x", "/", space{free: 1 << 30, size: 2 << 30, found: 9000}, 1<<20, 1000), bad},
		{"few inodes", judgeDisk("x", "/", space{free: 1 << 30, size: 2 << 30, names: 9, found: 9000}, 1<<20, 1000), warning},
		{"clock", judgeClock("x", now, now.Add(time.Hour)), good},
		{"clock", judgeClock("x", now.AddDate(-10, 0, 0), now), bad},
	} {
		if tt.got.State != tt.want || (tt.got.State > good) != (tt.got.Remedy != "") {
			t.Errorf("%s: %+v", tt.name, tt.got)
		}
	}
}

// patientWith has a configuration in the old syntax.
func patientWith(t *testing.T, text string) *patient {
	t.Helper()
	c, _, err := config.Parse("gate.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{Config: c, file: "gate.conf", rooted: true, root: os.Geteuid() == 0, noFamily: "none runs"}
	p.look = func() lookResult {
		w, err := p.site().Look()
		return lookResult{w, err}
	}
	return p
}

func states(all []result) (words []string) {
	for _, r := range all {
		words = append(words, r.ID+" "+r.State.String())
	}
	return words
}

func same(t *testing.T, what string, got []result, want ...string) {
	t.Helper()
	if !slices.Equal(states(got), want) {
		t.Errorf("%s: %+v, want %q", what, got, want)
	}
	for _, r := range got {
		if r.State > good && r.Remedy == "" {
			t.Errorf("%s: %s does not say what to do", what, r.ID)
		}
	}
}

// TestDoctorEngines: what engines say of the mails decides, with the configuration.
func TestDoctorEngines(t *testing.T) {
	p := patientWith(t, "antivirus_type clamd\nantispam_type spamassassin\nspam_threshold 7\nantispam_refuse yes\n")
	ctx := context.Background()
	same(t, "no family", probeEicar(ctx, p), "engine-eicar skipped")
	p.control = new(control)
	var said []engineSaid
	var fault error
	p.scan = func(context.Context, io.Reader) ([]engineSaid, error) { return said, fault }
	clamd, spamd := engineSaid{engine: "clamd", roles: imsg.RoleVirus}, engineSaid{engine: "spamassassin", roles: imsg.RoleSpam}
	say := func(all ...engineSaid) {
		p.mails.Clear()
		said = all
	}
	caught, scored, odd, dumb := clamd, spamd, spamd, clamd
	caught.virus, scored.score, odd.score, dumb.err = "Eicar", 1000, 6.9, "no answer"
	say(caught, scored)
	same(t, "found", probeEicar(ctx, p), "engine-clamd-eicar green")
	same(t, "found", probeGtube(ctx, p), "engine-spamassassin-gtube green")
	same(t, "found in a clean mail", probeClean(ctx, p), "engine-clamd-clean red", "engine-spamassassin-clean red")
	same(t, "found", probeLarge(ctx, p), "engine-clamd-large green")
	say(clamd, odd)
	same(t, "not found", probeEicar(ctx, p), "engine-clamd-eicar red")
	same(t, "not found in a small mail", probeLarge(ctx, p), "engine-clamd-large skipped")
	same(t, "not found", probeGtube(ctx, p), "engine-spamassassin-gtube red")
	same(t, "nothing", probeClean(ctx, p), "engine-clamd-clean green", "engine-spamassassin-clean green")
	say(dumb)
	same(t, "silent, and not asked", probeClean(ctx, p), "engine-clamd-clean red", "engine-spamassassin-clean red")
	p.mails.Clear()
	fault = errors.New("broken")
	same(t, "no scan", probeEicar(ctx, p), "engine-clamd-eicar red")
	p.mails.Clear()
	fault = imsg.ReadOnly
	same(t, "a reader", probeEicar(ctx, p), "engine-clamd-eicar skipped")
	fault = nil
	say(engineSaid{roles: imsg.RoleSpam, skipped: "load"}, caught)
	same(t, "too busy", probeGtube(ctx, p), "engine-spamassassin-gtube skipped")
	same(t, "too busy for spam", probeClean(ctx, p), "engine-clamd-clean red", "engine-spamassassin-clean skipped")
	say(engineSaid{roles: imsg.RoleSpam, skipped: "size"})
	same(t, "too large", probeGtube(ctx, p), "engine-spamassassin-gtube warning")
	say(engineSaid{roles: imsg.RoleVirus | imsg.RoleSpam, err: "no scand"})
	same(t, "nobody answers for the role", probeEicar(ctx, p), "engine-clamd-eicar red")
	if r := probeEicar(ctx, p)[0]; !strings.Contains(r.Text, "no scand") {
		t.Errorf("%+v", r)
	}
	say(caught, scored)
	most := p.SpamMaxSize
	p.SpamMaxSize = 10
	same(t, "hardly any mail is looked at", probeGtube(ctx, p), "engine-spamassassin-gtube warning")
	p.SpamMaxSize = most
	p.SpamRefuse = false
	same(t, "let through", probeGtube(ctx, p), "engine-spamassassin-gtube warning")

	for _, text := range []string{"antivirus_type clamd\nantivirus_method scan\n", "antivirus_type mksd\n"} {
		p = patientWith(t, text+"antivirus_path /run/x\nantispam_type off\n")
		p.control = new(control)
		p.scan = func(context.Context, io.Reader) ([]engineSaid, error) {
			t.Error("it is shown a mail that it cannot open")
			return nil, nil
		}
		if r := probeEicar(ctx, p); len(r) != 1 || r[0].State != skipped {
			t.Errorf("%s%+v", text, r)
		}
	}

	p = patientWith(t, "antivirus_type builtin\nantispam_type off\n")
	p.control = new(control)
	p.scan = func(context.Context, io.Reader) ([]engineSaid, error) {
		return []engineSaid{{engine: "builtin", roles: imsg.RoleVirus}}, nil
	}
	same(t, "no limits", probeLarge(ctx, p), "engine-builtin-large skipped")

	p = patientWith(t, "antivirus_type builtin\nantispam_type builtin\nantispam_refuse yes\n")
	p.control = new(control)
	p.scan = func(context.Context, io.Reader) ([]engineSaid, error) {
		return []engineSaid{{engine: "builtin", roles: imsg.RoleVirus | imsg.RoleSpam, virus: "Eicar", score: 1000}}, nil
	}
	same(t, "test files alone", probeEicar(ctx, p), "engine-builtin-eicar warning")
	same(t, "test mails alone", probeGtube(ctx, p), "engine-builtin-gtube warning")

	p = patientWith(t, "antivirus_type off\nantispam_type off\n")
	same(t, "no engine", probeEicar(ctx, p), "engine-eicar skipped")
}

// TestDoctorLargeMails: what an engine says of mails of several sizes.
func TestDoctorLargeMails(t *testing.T) {
	for _, tt := range []struct {
		name, config  string
		looks, fails  int64 // octets at which it still looks, and from which it answers with an error; 0: all, none
		apart         bool  // it knows the virus in a file of its own alone
		bound         int64
		state         state
		words, remedy string
	}{
		{name: "all", config: "scan_max_size 30000000", state: good, words: "at the end of 28.6 MiB"},
		{name: "all, in a file of its own", config: "scan_max_size 30000000", apart: true, state: good},
		{name: "as much as is let in", config: "scan_max_size 30000000\nsize_limit 10000000", looks: 10000000, state: good, words: "9.5 MiB"},
		{name: "a part", config: "scan_max_size 30000000", looks: 20000000, state: bad, words: "it is shown mails of up to 28.6 MiB", remedy: "MaxFileSize and StreamMaxLength be 30M and MaxScanSize 90M, or more, and restart clamd; or let scan_max_size and size_limit be 19000000:"},
		{name: "errors", config: "scan_max_size 30000000", fails: 20000000, state: warning, words: "put off then: too large"},
		{name: "errors that are ignored", config: "scan_max_size 30000000\nignore_errors yes", fails: 20000000, state: bad, words: "pass then: too large"},
		{name: "a part, and errors behind", config: "scan_max_size 30000000", looks: 10000000, fails: 20000000, state: bad, words: "clean"},
		{name: "less memory", config: "scan_max_size 30000000", bound: 10000000, state: skipped, words: "9.5 MiB; up to 28.6 MiB are scanned"},
		{name: "less memory, and a part", config: "scan_max_size 30000000", looks: 5000000, bound: 10000000, state: bad},
	} {
		p := patientWith(t, "antivirus_type clamd\nantispam_type off\n"+tt.config+"\n")
		look := func(size int64) engineSaid {
			n, err := io.Copy(io.Discard, largeMail(size, tt.apart))
			e := engineSaid{engine: "clamd", roles: imsg.RoleVirus}
			switch {
			case err != nil || n > size || n < size-100:
				t.Errorf("%s: a mail of %d octets, not %d, error %v", tt.name, n, size, err)
			case tt.looks == 0 && tt.fails == 0, tt.looks > 0 && n <= tt.looks, tt.looks == 0 && n < tt.fails:
				e.virus = "Eicar"
			case tt.fails > 0 && n >= tt.fails:
				e.err = "too large"
			}
			return e
		}
		if tt.bound == 0 {
			tt.bound = largestMail
		}
		r := p.judgeLarge(context.Background(), "engine-clamd-large", tt.bound, look)
		if r.State != tt.state || !strings.Contains(r.Text, tt.words) || !strings.Contains(p.Speak(r.Remedy), tt.remedy) || (r.State > good) != (r.Remedy != "") {
			t.Errorf("%s: %+v, with remedy %s", tt.name, r, p.Speak(r.Remedy))
		}
	}
}

// TestDoctorCertificates: files that are good, end soon, have ended, and do not fit.
func TestDoctorCertificates(t *testing.T) {
	const day = 24 * time.Hour
	dir := t.TempDir()
	p := patientWith(t, "")
	same(t, "none", probeCertificates(context.Background(), p), "certificate skipped")
	_, strange := aPair(t, -day, 90*day)
	for _, tt := range []struct {
		name string
		end  time.Duration
		key  string
		want string
	}{
		{"good", 90 * day, "", "green"}, {"soon", 10 * day, "", "warning"}, {"over", -time.Hour, "", "red"}, {"strange", 90 * day, strange, "red"}, {"absent", 0, "none", "red"},
	} {
		chain, key := aPair(t, -day, tt.end)
		if tt.key != "" {
			key = tt.key
		}
		names := config.Certificate{Chain: filepath.Join(dir, tt.name+".PEM"), Key: filepath.Join(dir, tt.name+".key")}
		if tt.key != "none" {
			for path, text := range map[string]string{names.Chain: chain, names.Key: key} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.TLSCertificates = []config.Certificate{names}
		same(t, tt.name, probeCertificates(context.Background(), p), "certificate-"+tt.name+".pem "+tt.want)
	}
}

// TestDoctorCertificateNames: each certificate has an id of its own.
func TestDoctorCertificateNames(t *testing.T) {
	var all []config.Certificate
	for _, chain := range []string{"/le/a.example/fullchain.pem", "/le/b.example/fullchain.pem", "/x/own.pem", "/y/b.example/Fullchain.pem"} {
		all = append(all, config.Certificate{Chain: chain})
	}
	if got, want := certificateNames(all), []string{"a.example-fullchain.pem", "b.example-fullchain.pem", "own.pem", "b.example-Fullchain.pem-2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDoctorTemporary: a temporary family starts by whatever a file says, and has none of
// its places.
func TestDoctorTemporary(t *testing.T) {
	for _, text := range []string{
		"mode fixed\nfixed_server 192.0.2.1\n",
		"mode tproxy\nso_mark 5\nlisten 0.0.0.0:9199,[::]:9199\naction_script /bin/x\noutgoing_addr 192.0.2.9\n",
		"mode remote-udp\nremote_udp_secret 77\nchroot_path /srv\nantivirus_type clamd\nantivirus_path /run/clamd\nratelimit_expiration 60\nratelimit_messages 5\n",
		"mode fixed+xclient\nfixed_server 2001:db8::1\nset_user daemon\nset_group daemon\nspool_path /var/spool/x\nlimit_fsize 1000000\n",
	} {
		p := patientWith(t, text)
		c := temporary(p.Config, "/tmp/x")
		if err := c.Check(); err != nil {
			t.Fatalf("%s%v", text, err)
		}
		var b bytes.Buffer
		if err := c.PrintTOML(&b, true, false); err != nil {
			t.Fatal(err)
		}
		again, _, err := config.Parse("x", b.Bytes())
		if err != nil {
			t.Fatalf("%s%v", text, err)
		}
		if again.ActionScript != "" || again.SoMark != 0 || again.ChrootPath != "" || again.SpoolPath != "/tmp/x/spool" || again.LockPath != "/tmp/x/lock" {
			t.Errorf("%s%s", text, b.String())
		}
		for _, o := range c.Settings() {
			if o.Secret {
				t.Errorf("%s%s is kept", text, o.Name)
			}
		}
		if l := again.Listeners(); len(l) != 1 || l[0] != netip.MustParseAddrPort("127.0.0.1:0") {
			t.Errorf("%slistens at %s", text, l)
		}
		for _, r := range imsg.Children() {
			if again.User(r) != p.User(r) {
				t.Errorf("%sroom %s is %s", text, r, again.User(r))
			}
		}
		if p.AntivirusSocket.Path != "" && again.AntivirusSocket.Path != p.Inside(p.AntivirusSocket.Path) {
			t.Errorf("%sclamd is at %s", text, again.AntivirusSocket.Path)
		}
	}
}
