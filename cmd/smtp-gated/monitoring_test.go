//go:build linux

// The gateway as its monitoring sees it: the exporter, Prometheus, the alert rules and the
// dashboard of etc, at a gateway that works.

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

const (
	alertRules = "../../etc/prometheus/smtp-gated.rules.yml"
	dashboard  = "../../etc/grafana/smtp-gated.json"
	alertTests = "testdata/monitoring/alerts.yml"
)

// TestAlerts: each alert has its test, in which it is not there yet, fires, and is over.
func TestAlerts(t *testing.T) {
	tests, err := os.ReadFile(alertTests)
	must(t, err)
	for _, name := range alerts(t) {
		if n := strings.Count(string(tests), fmt.Sprintf(`expr: 'ALERTS{alertname="%s"`, name)); n != 3 {
			t.Errorf("%s: %s is looked for %d times, not 3", alertTests, name, n)
		}
	}
	promtool := needProgram(t, "promtool")
	for _, args := range [][]string{{"check", "rules", alertRules}, {"test", "rules", alertTests}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
}

// alerts are the names of the alert rules. Each says what is wrong, and with what command
// of smtp-gatectl to begin, in a line.
func alerts(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(alertRules)
	must(t, err)
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Expr        string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	must(t, yaml.Unmarshal(text, &file))
	known := commandsOfTool(t)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			summary, runbook := r.Annotations["summary"], r.Annotations["runbook"]
			if r.Alert == "" || summary == "" || strings.Contains(summary+runbook, "\n") || r.Labels["severity"] == "" {
				t.Errorf("%+v is not whole", r)
			}
			command := regexp.MustCompile(`smtp-gatectl (?:--json )?(\w+)`).FindStringSubmatch(runbook)
			if command == nil || !slices.Contains(known, command[1]) {
				t.Errorf("%s does not say with what command to begin: %s", r.Alert, runbook)
			}
			knownMetrics(t, r.Alert, r.Expr)
			names = append(names, r.Alert)
		}
	}
	if len(names) < 8 {
		t.Errorf("only %d alerts found", len(names))
	}
	return names
}

// commandsOfTool are the commands that smtp-gatectl has.
func commandsOfTool(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.Command(program("smtp-gatectl"), "--help").Output()
	must(t, err)
	_, list, _ := strings.Cut(string(out), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// knownMetrics holds the metrics of a query against the table.
func knownMetrics(t *testing.T, where, query string) {
	t.Helper()
	for _, name := range regexp.MustCompile(`smtp_gated_\w+`).FindAllString(query, -1) {
		if !slices.ContainsFunc(imsg.MetricTable[:], func(m imsg.MetricRow) bool {
			if m.Kind == imsg.HistogramMetric {
				return slices.Contains([]string{m.Name + "_bucket", m.Name + "_sum", m.Name + "_count"}, name)
			}
			return m.Name == name
		}) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

// queries are those of the dashboard, by what they are for, as Grafana sends them.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	must(t, err)
	var board struct {
		Panels []struct {
			ID          int
			Type        string
			Title       string
			Description string
			Targets     []struct{ RefID, Expr, LegendFormat string }
			FieldConfig struct {
				Defaults  struct{ Decimals *int }
				Overrides []struct{ Matcher struct{ ID string } }
			}
		}
	}
	must(t, json.Unmarshal(text, &board))
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	found, ids := make(map[string]string), make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || (p.Type != "row") != (len(p.Targets) > 0 && p.Description != "") {
			t.Errorf("panel %d, %s, is not whole, or not the only one of its number", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			knownMetrics(t, p.Title, q.Expr)
			found[p.Title+" "+q.RefID] = variables.Replace(q.Expr)
			// Each value of a label has its line from the start, be it zero for ever; and
			// increase extrapolates, so that one restart is 1.005 of them.
			byCounter := strings.Contains(q.Expr, "_total") && strings.Contains(q.LegendFormat, "{{")
			if byCounter && (len(p.FieldConfig.Overrides) == 0 || p.FieldConfig.Overrides[0].Matcher.ID != "byValue") {
				t.Errorf("%s: its legend names what has never happened", p.Title)
			}
			if p.Type == "stat" && strings.Contains(q.Expr, "increase(") && p.FieldConfig.Defaults.Decimals == nil {
				t.Errorf("%s: shows parts of what comes whole", p.Title)
			}
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d queries found", len(found))
	}
	return found
}

// startExporter starts the exporter as the daemon's user, and returns where its metrics
// are. At the end it is told to end, and does.
func startExporter(t *testing.T, g *gate) string {
	t.Helper()
	cmd := g.command(program("smtp-gatectl"), "--socket", g.path("run/status"), "exporter", "--listen", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		end := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer end.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the exporter ends with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	i := strings.Index(line, "http://")
	if i < 0 {
		t.Fatalf("the exporter says %q", line)
	}
	return strings.TrimSpace(line[i:])
}

// get fetches a page.
func get(address string) (string, error) {
	a, err := (&http.Client{Timeout: patience}).Get(address)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", a.Status, text)
	}
	return string(text), err
}

// measured waits until the metrics have all these lines, and returns them.
func measured(t *testing.T, metrics string, lines ...string) (text string) {
	t.Helper()
	missing := ""
	err := eventually("", func() bool {
		var err error
		if text, err = get(metrics); err != nil {
			return false
		}
		i := slices.IndexFunc(lines, func(line string) bool { return !matches("(?m)^"+line+"$", text) })
		if i >= 0 {
			missing = lines[i]
		}
		return i < 0
	})
	if err != nil {
		t.Fatalf("in\n%s\nthere is no %s", text, missing)
	}
	return text
}

// TestMonitoring: what is counted is served, and none of it is a client's word; Prometheus
// reads it, and understands each query of the dashboard and each alert.
func TestMonitoring(t *testing.T) {
	promtool, prometheus := needProgram(t, "promtool"), needProgram(t, "prometheus")
	g, _ := rehearse(t, false, "tls")
	must(t, g.configure("lock_on spam\nlock_duration -1\nforbid_starttls on\nspam_threshold 5\n", false))
	must(t, g.start())
	metrics := startExporter(t, g)

	const word = "zzhostile"
	c, err := dialGate(g.address(0), "127.0.0.77")
	must(t, err)
	defer c.conn.Close()
	must(t, c.expect("^220"))
	for _, said := range []struct{ line, answer string }{
		{"HELO", "^[25]"},
		{"EHLO " + word + `"}.example`, "^250"},
		{`MAIL FROM:<"` + word + `\"} 1"@example.com>`, "^[25]"},
		{"RSET", "^250"},
		{"MAIL FROM:<" + word + "@" + word + ".example>", "^250"},
		{"RCPT TO:<" + word + "@msa.test>", "^[25]"},
		{"X" + strings.ToUpper(word) + "{", "^5"},
		{"RCPT TO:<bob@msa.test>", "^250"},
		{"DATA", "^354"},
		{"Subject: " + word + "\r\n\r\n" + word + "\r\n.", "^250"},
		{"QUIT", "^221"},
	} {
		must(t, c.send(said.line))
		must(t, c.expect(said.answer))
	}
	reply(t, g, cleanMail, "250 ")
	reply(t, g, virusMail, "550 5.7.1 ")
	reply(t, g, spamMail, "550 5.7.1 ")

	text := measured(t, metrics, "smtp_gated_up 1",
		`smtp_gated_messages_total\{verdict="clean"\} 2`, `smtp_gated_messages_total\{verdict="virus"\} 1`, `smtp_gated_messages_total\{verdict="spam"\} 1`,
		`smtp_gated_messages_total\{verdict="unscanned"\} 0`, `smtp_gated_messages_total\{verdict="failed"\} 0`,
		`smtp_gated_sessions_total\{family="ipv4"\} 4`, `smtp_gated_locks\{origin="local"\} 1`, `smtp_gated_locks_total\{cause="spam"\} 1`,
		`smtp_gated_added_latency_seconds_count 2`, `smtp_gated_scan_duration_seconds_count\{engine="builtin"\} 8`, `smtp_gated_session_duration_seconds_count 4`,
		`smtp_gated_tls_sessions_total\{mode="masked"\} 4`, `smtp_gated_verdict\{verdict="well"\} 1`, `smtp_gated_rooms\{room="session",state="running"\} 2`)
	for _, foreign := range []string{word, "127.0.0.77", "msa.test", "bob", "example"} {
		if strings.Contains(strings.ToLower(text), foreign) {
			t.Errorf("%s is in\n%s", foreign, text)
		}
	}
	labelsAreOurs(t, text)
	lint := exec.Command(promtool, "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	api := startPrometheus(t, prometheus, metrics)
	boardQueries(t, api)
	must(t, rulesAreWell(api))

	// Other workers, another lockd, another program: what was counted stays.
	all := []string{`smtp_gated_added_latency_seconds_count 2`, `smtp_gated_scan_duration_seconds_count\{engine="builtin"\} 8`, `smtp_gated_locks_total\{cause="spam"\} 1`}
	must(t, g.reload())
	measured(t, metrics, all...)
	must(t, g.kill("lockd"))
	measured(t, metrics, append(all, `smtp_gated_room_restarts_total\{room="lockd"\} 1`)...)
	must(t, alerted(api, "SmtpGatedRoomRestarts"))
	old := g.pid
	if out, err := g.ctl("upgrade"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, g.follow(old))
	measured(t, metrics, append(all, `smtp_gated_room_restarts_total\{room="lockd"\} 0`)...)
	must(t, g.signal(syscall.SIGKILL))
	measured(t, metrics, "smtp_gated_up 0")
	must(t, alerted(api, "SmtpGatedAway"))
}

// alerted waits for an alert, be it pending still.
func alerted(api, name string) error {
	return eventually("there is no alert "+name, func() bool {
		text, err := get(api + "/api/v1/alerts")
		return err == nil && strings.Contains(text, `"`+name+`"`)
	})
}

// labelsAreOurs holds each label's value against the tables.
func labelsAreOurs(t *testing.T, text string) {
	t.Helper()
	allowed := map[string][]string{"version": {"story"}, "object": {}, "le": {"+Inf"}}
	for _, d := range imsg.TimeBounds {
		allowed["le"] = append(allowed["le"], strconv.FormatFloat(d.Seconds(), 'g', -1, 64))
	}
	add := func(label string, values ...string) { allowed[label] = append(allowed[label], values...) }
	for h := imsg.Well; h <= imsg.Down; h++ {
		add("verdict", h.String())
	}
	for _, f := range imsg.FindingTable[1:] {
		add("id", f.Name)
	}
	for room := imsg.Parent; room < imsg.AllRooms; room++ {
		add("room", room.String())
	}
	for s := imsg.Starting; s <= imsg.Draining; s++ {
		add("state", s.String())
	}
	for s := range imsg.States {
		add("state", s.String())
	}
	add("state", "unknown")
	add("origin", "local")
	for h := range imsg.Histograms {
		row := imsg.HistogramTable[h]
		for i, label := range imsg.MetricTable[row.Metric].Labels {
			add(label, row.Labels[i])
		}
	}
	for c := range imsg.Counters {
		row := imsg.CounterTable[c]
		for i, label := range imsg.MetricTable[row.Metric].Labels {
			add(label, row.Labels[i])
		}
	}
	for _, pair := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(allowed[pair[1]], pair[2]) {
			t.Errorf("the label %s has the value %q", pair[1], pair[2])
		}
	}
}

// startPrometheus starts one that reads the metrics and has the alert rules, and returns
// where it is asked.
func startPrometheus(t *testing.T, program, metrics string) string {
	t.Helper()
	dir := open(t)
	rules, err := filepath.Abs(alertRules)
	must(t, err)
	target, err := url.Parse(metrics)
	must(t, err)
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: smtp-gated
    static_configs: [{targets: ["%s"]}]
`, rules, target.Host))
	address := imsgtest.Port(t).String()
	launch(t, dir, "tcp", address, program, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	return "http://" + address
}

// boardQueries has Prometheus answer each query of the dashboard. Those without a
// condition have something to show.
func boardQueries(t *testing.T, api string) {
	t.Helper()
	for name, query := range queries(t) {
		var answer struct {
			Status string
			Error  string
			Data   struct{ Result []json.RawMessage }
		}
		err := eventually("", func() bool {
			a, err := http.Get(api + "/api/v1/query?query=" + url.QueryEscape(query))
			if err != nil {
				return false
			}
			defer a.Body.Close()
			if err := json.NewDecoder(a.Body).Decode(&answer); err != nil {
				return false
			}
			return a.StatusCode == http.StatusBadRequest || answer.Status == "success" && (len(answer.Data.Result) > 0 || strings.ContainsAny(query, ">=") && matches(`(==|>) \d$`, query))
		})
		if err != nil || answer.Status != "success" {
			t.Errorf("%s: %s\n%s %s, and shows %d", name, query, answer.Status, answer.Error, len(answer.Data.Result))
		}
	}
}

// rulesAreWell waits until each alert was evaluated. None has fired.
func rulesAreWell(api string) error {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, State, Health, LastError string }
			}
		}
	}
	said := ""
	err := eventually("not all alerts are evaluated", func() bool {
		text, err := get(api + "/api/v1/rules")
		if err != nil || json.Unmarshal([]byte(text), &answer) != nil || len(answer.Data.Groups) == 0 {
			return false
		}
		said = ""
		for _, r := range answer.Data.Groups[0].Rules {
			if r.Health != "ok" || r.State != "inactive" {
				said += fmt.Sprintf("%+v\n", r)
			}
		}
		return said == ""
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}
