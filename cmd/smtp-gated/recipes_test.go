package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const recipes = "../../etc/export/"

// forgedLine is what a client calls itself that would be somebody else.
const forgedLine = `x","message":"LOCK:LOCKED","src":"203.0.113.66","ident":""}`

// lockedLog is a log in JSON, in which a client of 127.0.0.7 is turned away three times for
// its lock, one of 127.0.0.8 once, and others say much.
func lockedLog(t *testing.T) string {
	t.Helper()
	g, _ := rehearse(t, false)
	must(t, g.configure("log_format json\nlog_helo yes\n", false))
	must(t, g.start())
	must(t, eventually("nobody listens", func() bool { return jsonAddress(g) != "" }))
	at := jsonAddress(g)
	for _, from := range []string{"127.0.0.7", "127.0.0.8"} {
		c, err := dialGate(at, from)
		must(t, err)
		if reply, err := c.deliver([]byte(virusMail)); err != nil || !strings.HasPrefix(reply, "550 ") {
			t.Fatalf("%q, %v", reply, err)
		}
		c.conn.Close()
	}
	for _, from := range []string{"127.0.0.7", "127.0.0.8", "127.0.0.7", "127.0.0.7"} {
		c, err := dialGate(at, from)
		must(t, err)
		must(t, c.expect("554 .*locked"))
		c.conn.Close()
	}
	c, err := dialGate(at, "127.0.0.9")
	must(t, err)
	must(t, c.expect("220 "))
	must(t, c.send("EHLO "+forgedLine))
	must(t, c.expect("5|250"))
	c.conn.Close()
	must(t, eventually("the log is not whole", func() bool {
		return strings.Count(g.log(), `"message":"LOCK:LOCKED"`) == 4 && strings.Contains(g.log(), "203.0.113.66")
	}))
	must(t, g.terminate())
	file := g.path("log")
	if !strings.Contains(g.log(), "LOCK:LOCKED") {
		t.Fatal("the log is gone")
	}
	return file
}

var jsonServed = regexp.MustCompile(`"message":"ready".*"listen":"\[([^ \]]+)`)

// jsonAddress is where a daemon listens whose log is JSON.
func jsonAddress(g *gate) string {
	if m := jsonServed.FindStringSubmatch(g.log()); m != nil {
		return m[1]
	}
	return ""
}

// TestFail2ban has the real fail2ban read our log by the filter that we give away.
func TestFail2ban(t *testing.T) {
	program := needProgram(t, "fail2ban-regex")
	file := lockedLog(t)
	filter, err := filepath.Abs(recipes + "fail2ban/filter.d/smtp-gated.conf")
	must(t, err)
	out, err := exec.Command(program, "--out", "ip", file, filter).Output()
	if got, want := strings.Fields(string(out)), []string{"127.0.0.7", "127.0.0.8", "127.0.0.7", "127.0.0.7"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: it finds %v, want %v", err, got, want)
	}
	if out, err := exec.Command(program, file, filter).Output(); err != nil || !matches(`^Lines: [0-9]+ lines, 0 ignored, 4 matched, [1-9]`, string(out)) || !matches(`^\|  \[[1-9][0-9]*\] \^`, string(out)) {
		t.Errorf("%v: %s", err, out)
	}
	for line, found := range map[string]bool{
		`{"ts":"2026-11-30T14:00:00.123456789Z","level":"info","process":"lockd","pid":7,"session":5,"message":"LOCK:LOCKED","src":"2001:db8::7","ident":""}`:               true,
		`{"ts":"2026-11-30T14:00:00+01:00","level":"info","process":"session","pid":7,"session":5,"message":"LOCK:LOCKED","src":"192.0.2.7","ident":"","id":"1.5"}`:         true,
		`{"ts":"2026-11-30T14:00:00Z","level":"info","process":"lockd","pid":7,"session":5,"message":"LOCK:LOCKED","src":"192.0.2.7","ident":"bob"}`:                        false,
		`{"ts":"2026-11-30T14:00:00Z","level":"info","process":"session","pid":7,"session":5,"message":"EHLO \",\"message\":\"LOCK:LOCKED\"","src":"192.0.2.7","ident":""}`: false,
	} {
		out, _ := exec.Command(program, "--out", "ip", line, filter).Output()
		if (len(strings.Fields(string(out))) == 1) != found {
			t.Errorf("%s: it finds %q", line, out)
		}
	}
}

// TestFail2banJail has fail2ban read the jail, with that filter.
func TestFail2banJail(t *testing.T) {
	client := needProgram(t, "fail2ban-client")
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("/etc/fail2ban")))
	for _, part := range []string{"filter.d/smtp-gated.conf", "jail.d/smtp-gated.conf"} {
		text, err := os.ReadFile(recipes + "fail2ban/" + part)
		must(t, err)
		log := filepath.Join(dir, "log")
		write(t, log, "")
		write(t, filepath.Join(dir, part), strings.ReplaceAll(string(text), "/var/log/smtp-gated.json", log))
	}
	os.Remove(filepath.Join(dir, "jail.d/defaults-debian.conf")) // has a jail whose log may not be there
	out, err := exec.Command(client, "-c", dir, "-d").CombinedOutput()
	if err != nil || !matches(`'smtp-gated', 'maxretry', 3`, string(out)) || !matches(`'smtp-gated', 'addfailregex'`, string(out)) || !matches("reject with tcp reset", string(out)) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestCrowdSec: the files are YAML, their filter picks those lines of a real log that it
// should, and what they read is there. Its terms are few enough to be read here.
func TestCrowdSec(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		text, err := os.ReadFile(recipes + "crowdsec/" + name)
		must(t, err)
		must(t, yaml.Unmarshal(text, into))
	}
	var from struct {
		Filenames []string
		Labels    struct{ Type string }
	}
	var parser struct {
		Name, Filter, Onsuccess string
		Statics                 []struct{ Meta, Value, Target, Expression string }
	}
	var scenario struct {
		Type, Name, Filter, Groupby, Leakspeed string
		Capacity                               int
		Labels                                 struct{ Remediation bool }
	}
	read("acquis.d/smtp-gated.yaml", &from)
	read("parsers/s01-parse/smtp-gated-logs.yaml", &parser)
	read("scenarios/smtp-gated-locked.yaml", &scenario)

	terms := strings.Split(parser.Filter, " && ")
	if len(terms) != 4 || terms[0] != "evt.Parsed.program == '"+from.Labels.Type+"'" || terms[1] != "UnmarshalJSON(evt.Parsed.message, evt.Unmarshaled, 'smtp_gated') in ['', nil]" {
		t.Fatalf("%q", terms)
	}
	term := regexp.MustCompile(`^evt\.Unmarshaled\.smtp_gated\.(\w+) == '([^']*)'$`)
	field := regexp.MustCompile(`^evt\.Unmarshaled\.smtp_gated\.(\w+)$`)
	meta := map[string]string{}
	var clients []string
	for line := range strings.Lines(readFile(t, lockedLog(t))) {
		var said map[string]any
		must(t, json.Unmarshal([]byte(line), &said))
		if slices.ContainsFunc(terms[2:], func(text string) bool {
			m := term.FindStringSubmatch(text)
			return m == nil || said[m[1]] != m[2]
		}) {
			continue
		}
		for _, s := range parser.Statics {
			value := s.Value
			if m := field.FindStringSubmatch(s.Expression); m != nil {
				value, _ = said[m[1]].(string)
			}
			if value == "" {
				t.Errorf("%s%s is empty", s.Meta, s.Target)
			}
			meta[s.Meta] = value
		}
		clients = append(clients, meta["source_ip"])
	}
	if want := []string{"127.0.0.7", "127.0.0.8", "127.0.0.7", "127.0.0.7"}; !slices.Equal(clients, want) {
		t.Errorf("it finds %v, want %v", clients, want)
	}
	if parser.Onsuccess != "next_stage" || scenario.Type != "leaky" || scenario.Groupby != "evt.Meta.source_ip" || scenario.Capacity != 2 || !scenario.Labels.Remediation ||
		scenario.Filter != "evt.Meta.log_type == '"+meta["log_type"]+"'" {
		t.Errorf("%+v %+v", parser, scenario)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}
