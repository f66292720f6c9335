package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestStatusFindings: the first lines of status say what is wrong, and so does the exit
// status of --check.
func TestStatusFindings(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixNano() }
	server := imsg.StatusFinding{
		Finding: imsg.FindingServer, Object: "192.0.2.25:25", Since: ago(5 * time.Minute), Last: ago(3 * time.Second), Count: 12, Text: "connection refused",
	}
	spool := imsg.StatusFinding{
		Finding: imsg.FindingSpool, Object: "/srv/mail/gateways/smtp-gated/spool", Since: ago(time.Second), Last: ago(time.Second), Count: 1, Good: true,
		Text: strings.Repeat("no space ", 20),
	}
	for _, test := range []struct {
		name   string
		health imsg.Health
		found  int
		list   []imsg.StatusFinding
		status int
		says   []string
	}{
		{"well", imsg.Well, 0, nil, exitOK, []string{"well"}},
		{"degraded", imsg.Degraded, 1, []imsg.StatusFinding{spool}, exitDegraded, []string{
			"look here: 1",
			"spool-trouble /srv/mail/gateways/smtp-gated/spool: once, 1s ago, well since, ends in 59s: " + strings.Repeat("no space ", 20),
			"  Look at the disk of spool_path: space, inodes, mount options, health.",
		}},
		{"down", imsg.Down, 40, []imsg.StatusFinding{server}, exitDown, []string{
			"look here: 40",
			"server-unreachable 192.0.2.25:25: 12 times in 4m57s, last 3s ago: connection refused",
			"  " + imsg.FindingTable[imsg.FindingServer].Remedy,
			"and 39 more",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := lockdAt(t, func(r link.Request) {
				family.Answer(r, &imsg.StatusReport{Now: now.UnixNano(), Health: test.health, Found: test.found, Findings: test.list})
			})
			want := strings.Join(test.says, "\n") + "\n"
			code, out, errs := gatectl("status", "--check", "--socket", socket)
			if code != test.status || out != want || errs != "" {
				t.Errorf("--check exits with %d, want %d, and says\n%s%s, want\n%s", code, test.status, out, errs, want)
			}
			code, out, errs = gatectl("status", "--socket", socket)
			if code != exitOK || !strings.HasPrefix(out, want+"\n") || errs != "" {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
			code, out, _ = gatectl("status", "--json", "--check", "--socket", socket)
			var told struct {
				Verdict  string
				Findings []struct {
					ID, Object, Text, Remedy string
					Since                    time.Time
					Count                    uint64
				}
			}
			if err := json.Unmarshal([]byte(out), &told); err != nil || code != test.status {
				t.Fatalf("exit %d, %v: %s", code, err, out)
			}
			if told.Verdict != test.health.String() || len(told.Findings) != len(test.list) || told.Findings == nil {
				t.Fatalf("JSON has %+v", told)
			}
			for i, f := range told.Findings {
				w := test.list[i]
				if f.ID != w.Finding.String() || f.Object != w.Object || f.Count != w.Count || f.Text != w.Text || f.Since.UnixNano() != w.Since || f.Remedy == "" {
					t.Errorf("JSON has %+v of %+v", f, w)
				}
			}
		})
	}
}

// TestStatusCheckWithoutDaemon: that is neither well nor ill.
func TestStatusCheckWithoutDaemon(t *testing.T) {
	code, out, errs := gatectl("status", "--check", "--socket", t.TempDir()+"/none")
	if code != exitFailed || out != "" || errs == "" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestSpelled: what the daemon's tables and its refusals name is named as its file does.
func TestSpelled(t *testing.T) {
	for toml, names := range map[bool][2]string{
		false: {"spool_path", "lock_duration is 0"},
		true:  {"spool.path", "lock.duration is 0"},
	} {
		records := []imsg.HistoryRecord{}
		for r := imsg.NoRule + 1; r < imsg.PolicyRules; r++ {
			records = append(records, imsg.HistoryRecord{Count: 1, Event: imsg.Event{Kind: imsg.EventRefuse, Rule: r}})
		}
		socket := lockdAt(t, func(r link.Request) {
			switch m := r.Message.(type) {
			case *imsg.Status:
				report := imsg.StatusReport{Family: imsg.Family{TOML: toml}}
				for f := imsg.FindingID(1); f < imsg.FindingIDs; f++ {
					report.Findings = append(report.Findings, imsg.StatusFinding{Finding: f})
				}
				report.Found = len(report.Findings)
				family.Answer(r, &report)
			case *imsg.Explain:
				rest := records[min(m.Skip, len(records)):]
				page := rest[:min(len(rest), 4)]
				family.Answer(r, &imsg.Explanation{Records: page, More: len(page) < len(rest)})
			case *imsg.Lock:
				family.Answer(r, &imsg.Done{Errno: imsg.Invalid, Detail: "{lock_duration} is 0: nothing is locked"})
			}
		})
		_, status, _ := gatectl("status", "--socket", socket)
		_, explained, _ := gatectl("explain", "192.0.2.7", "--socket", socket)
		_, _, refused := gatectl("lock", "add", "192.0.2.7", "--socket", socket)
		for said, want := range map[string]string{status: names[0], explained: names[0], refused: names[1]} {
			if !strings.Contains(said, want) || strings.ContainsAny(said, "{}") {
				t.Errorf("TOML is %t, and what is said has no %s, or marks:\n%s", toml, want, said)
			}
		}
	}
}
