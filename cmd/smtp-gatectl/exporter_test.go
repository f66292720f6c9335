package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// said is what may be written by one goroutine and read by another.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// exporterFor serves the metrics of the daemon at a socket, and returns where.
func exporterFor(t *testing.T, socket string, limit time.Duration, errs io.Writer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serveMetrics(ctx, l, newExporter((&tool{socket: socket}).look, limit, errs))
	}()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

// fetch asks for a page and returns its status and text.
func fetch(t *testing.T, method, url string) (code int, header http.Header, text string) {
	t.Helper()
	q, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := (&http.Client{Timeout: imsgtest.Patience}).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, a.Header, string(b)
}

// richStatus has something of everything.
func richStatus() *imsg.StatusReport {
	slots := make([]uint64, imsg.Slots)
	slots[imsg.CountIPv4] = 12
	slots[imsg.CountViruses] = 3
	slots[imsg.CountEngine(imsg.EngineClamd, imsg.TimedOut)] = 2
	for _, d := range []time.Duration{time.Millisecond, 3 * time.Millisecond, time.Hour} {
		count, sum := imsg.TimeScan(imsg.EngineClamd).Slots(d)
		slots[count]++
		slots[sum] += uint64(d / time.Microsecond)
	}
	restarts := make([]uint64, imsg.AllRooms)
	restarts[imsg.Scand] = 4
	states := make([]uint64, imsg.States)
	states[imsg.StateScan] = 2
	start := time.Unix(1_700_000_000, 0).UnixNano()
	return &imsg.StatusReport{
		Family: imsg.Family{
			Version: "2.0", Started: start, Reloaded: start + int64(time.Minute), Crashes: 4, Restarts: restarts, LinesLost: 5,
			Rooms:    []imsg.Member{{Room: imsg.Session, State: imsg.Running}, {Room: imsg.Session, State: imsg.Running}, {Room: imsg.Session, State: imsg.Draining}},
			Troubles: []imsg.Trouble{{Finding: imsg.FindingReload}},
		},
		Health: imsg.Degraded, Found: 2, Findings: []imsg.StatusFinding{
			{Finding: imsg.FindingEngineDown, Object: "clamd"},
			{Finding: imsg.FindingEngineDown, Object: "clamd"}, // a lockd that lies
		},
		Lists:        []imsg.ListCount{{Zone: "bl.example", Answered: 8, Silent: 9}, {Zone: "bl.example"}, {Zone: "spf"}},
		Certificates: []imsg.CertificateStatus{{Name: "mail.example.net", End: 1_900_000_000}, {Name: "mail.example.net", End: 1_800_000_000}, {Name: "/etc/lost.pem", Problem: "gone"}},
		Now:          start, Sessions: 3, Limit: 64, Load: 0.25, Locks: 7, Exempt: 4, States: states, Counters: slots,
	}
}

// TestExporter: each part of a status is served under its name, to who asks for it.
func TestExporter(t *testing.T) {
	url := exporterFor(t, lockdAt(t, func(r link.Request) { family.Answer(r, richStatus()) }), time.Minute, io.Discard)
	code, header, text := fetch(t, "GET", url+"/metrics")
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d, %v: %s", code, header, text)
	}
	for _, want := range []string{
		"smtp_gated_up 1",
		"smtp_gated_exemptions 4",
		`smtp_gated_build_info{version="2.0"} 1`,
		`smtp_gated_verdict{verdict="degraded"} 1`,
		`smtp_gated_verdict{verdict="well"} 0`,
		`smtp_gated_finding{id="engine-down",object="clamd"} 1`,
		"smtp_gated_config_last_reload_successful 0",
		"smtp_gated_config_last_reload_success_timestamp_seconds 1.70000006e+09",
		`smtp_gated_rooms{room="session",state="running"} 2`,
		`smtp_gated_rooms{room="session",state="draining"} 1`,
		`smtp_gated_rooms{room="scand",state="running"} 0`,
		`smtp_gated_room_restarts_total{room="scand"} 4`,
		`smtp_gated_room_restarts_total{room="lockd"} 0`,
		"smtp_gated_log_lines_lost_total 5",
		`smtp_gated_sessions{state="scan"} 2`,
		`smtp_gated_sessions{state="unknown"} 1`,
		"smtp_gated_sessions_max 64",
		`smtp_gated_sessions_total{family="ipv4"} 12`,
		`smtp_gated_messages_total{verdict="virus"} 3`,
		`smtp_gated_messages_total{verdict="unscanned"} 0`,
		`smtp_gated_scan_errors_total{engine="clamd",kind="timeout"} 2`,
		`smtp_gated_scan_duration_seconds_bucket{engine="clamd",le="0.001"} 1`,
		`smtp_gated_scan_duration_seconds_bucket{engine="clamd",le="0.002"} 1`,
		`smtp_gated_scan_duration_seconds_bucket{engine="clamd",le="0.004"} 2`,
		`smtp_gated_scan_duration_seconds_bucket{engine="clamd",le="60"} 2`,
		`smtp_gated_scan_duration_seconds_bucket{engine="clamd",le="+Inf"} 3`,
		`smtp_gated_scan_duration_seconds_sum{engine="clamd"} 3600.004`,
		`smtp_gated_locks{origin="local"} 7`,
		`smtp_gated_dns_queries_total{result="answered",zone="bl.example"} 8`,
		`smtp_gated_dns_queries_total{result="silent",zone="bl.example"} 9`,
		`smtp_gated_certificate_not_after_seconds{name="mail.example.net"} 1.8e+09`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for m := imsg.NoMetric + 1; m < imsg.Metrics; m++ {
		if row := imsg.MetricTable[m]; !strings.Contains(text, fmt.Sprintf("# HELP %s %s\n# TYPE %[1]s %[3]s\n", row.Name, row.Help, row.Kind)) {
			t.Errorf("%s is not served", row.Name)
		}
	}
	for _, other := range []string{"process_", "go_", "promhttp_"} {
		if strings.Contains(text, "\n"+other) {
			t.Errorf("the exporter tells of itself: %s", other)
		}
	}
	for _, q := range []struct {
		method, path string
		code         int
	}{
		{"HEAD", "/metrics", 200},
		{"POST", "/metrics", 405},
		{"DELETE", "/metrics", 405},
		{"GET", "/", 404},
		{"POST", "/", 404},
		{"GET", "/metrics/", 404},
		{"GET", "/debug/pprof/", 404},
	} {
		code, header, text := fetch(t, q.method, url+q.path)
		if code != q.code || code == 405 && header.Get("Allow") != "GET, HEAD" || q.method == "HEAD" && text != "" {
			t.Errorf("%s %s: %d, %v, %q", q.method, q.path, code, header, text)
		}
	}
}

// TestExporterAway: a daemon that is away, or does not answer in time, is told of in time,
// and alone; and said in the log once, before anybody asks.
func TestExporterAway(t *testing.T) {
	silent := lockdAt(t, func(link.Request) {})
	for name, socket := range map[string]string{"away": t.TempDir() + "/none", "silent": silent} {
		t.Run(name, func(t *testing.T) {
			errs := new(said)
			url := exporterFor(t, socket, 100*time.Millisecond, errs)
			imsgtest.Until(t, "it is said before anybody asks", func() bool { return strings.Contains(errs.String(), "does not answer") })
			for range 3 {
				code, _, text := fetch(t, "GET", url+"/metrics")
				if code != 200 || strings.Count(text, "\n") != 3 || !strings.HasSuffix(text, "\nsmtp_gated_up 0\n") {
					t.Errorf("%d: %s", code, text)
				}
			}
			if n := strings.Count(errs.String(), "does not answer"); n != 1 {
				t.Errorf("said %d times: %s", n, errs)
			}
		})
	}
}

// TestExporterTurns: however many scrape, one at a time talks to the daemon.
func TestExporterTurns(t *testing.T) {
	var asking, most atomic.Int32
	var exporter atomic.Value // where it is
	exporter.Store("")        // it asks once before anybody knows
	url := exporterFor(t, lockdAt(t, func(r link.Request) {
		n := asking.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		go func() {
			if a, err := http.Get(exporter.Load().(string)); err == nil { // others would come meanwhile
				a.Body.Close()
			}
			asking.Add(-1)
			family.Answer(r, richStatus())
		}()
	}), time.Minute, io.Discard)
	exporter.Store(url)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if code, _, text := fetch(t, "GET", url+"/metrics"); code != 200 || !strings.Contains(text, "smtp_gated_up 1\n") {
				t.Errorf("%d: %s", code, text)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d at a time", n)
	}
}

// TestExporterLiar: whatever a lockd may say, metrics are served.
func TestExporterLiar(t *testing.T) {
	for name, change := range map[string]func(*imsg.StatusReport){
		"too much": func(r *imsg.StatusReport) { fill(r.Counters, math.MaxUint64); fill(r.Family.Restarts, math.MaxUint64) },
		"nothing":  func(r *imsg.StatusReport) { *r = imsg.StatusReport{} },
		"few": func(r *imsg.StatusReport) {
			r.Counters, r.States, r.Family.Restarts = r.Counters[:1], r.States[:1], r.Family.Restarts[:1]
		},
		"odd version": func(r *imsg.StatusReport) { r.Family.Version = "\xff\n\"} 1\n# x{" },
		"odd object":  func(r *imsg.StatusReport) { r.Findings[0].Object = `"} 1` },
		"odd room":    func(r *imsg.StatusReport) { r.Family.Rooms[0].Room = imsg.Control },
		"odd times":   func(r *imsg.StatusReport) { r.Family.Started, r.Load = math.MaxInt64, 1e6 },
	} {
		t.Run(name, func(t *testing.T) {
			url := exporterFor(t, lockdAt(t, func(r link.Request) {
				report := richStatus()
				change(report)
				family.Answer(r, report)
			}), time.Minute, io.Discard)
			if code, _, text := fetch(t, "GET", url+"/metrics"); code != 200 || !strings.Contains(text, "\nsmtp_gated_up 1\n") {
				t.Errorf("%d: %s", code, text)
			}
		})
	}
}

func fill(list []uint64, n uint64) {
	for i := range list {
		list[i] = n
	}
}
