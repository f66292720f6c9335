package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var update = flag.Bool("update", false, "write what is expected anew: screens, and the list of doctor in the manual page")

// topSnapshot is a family with so many sessions.
func topSnapshot(sessions int) *snapshot {
	now := time.Date(2026, 5, 4, 13, 2, 1, 0, time.Local)
	s := &snapshot{status: status{
		Version: "2.0", Verdict: "well", Now: now, Started: now.Add(-26 * time.Hour), Sessions: sessions, Limit: 800, Load: 0.25, Locks: 3,
		Counters: map[string]uint64{
			imsg.CountClean.String(): 1200, imsg.CountViruses.String(): 3, imsg.CountSpams.String(): 40, imsg.CountUncleared.String(): 5,
			imsg.CountRejectHost.String(): 6, imsg.CountRejectLock.String(): 7,
		},
		Rooms: []room{
			{Name: "parent", State: "running"},
			{Name: "lockd", State: "running"},
			{Name: "session", State: "draining"},
			{Name: "session", State: "running"},
			{Name: "session", State: "running"},
			{Name: "scand", State: "starting"},
		},
	}}
	s.perSecond.sessions, s.perSecond.messages, s.perSecond.octets = 12.34, 1234.5, 3<<20
	for i := range sessions {
		one := session{
			Number: uint64(i + 1), State: "data", Started: now.Add(-time.Duration(sessions-i) * 50 * time.Second),
			Client: fmt.Sprintf("192.0.2.%d:%d", 200-i%100, 4000+i), Target: "198.51.100.25:25",
			Transactions: i % 7, ClientBytes: int64(i*i) * 1000, ServerBytes: 512,
		}
		switch i % 5 {
		case 1:
			one.State, one.Target = "connect", ""
		case 2:
			one.Client, one.Ident = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "joe"
		}
		s.sessions = append(s.sessions, one)
	}
	return s
}

// marks are what stands for an ink in a golden file.
var marks = [...]string{plainInk: " |", boldInk: "*|", reverseInk: "#|"}

func TestTopScreens(t *testing.T) {
	troubled := topSnapshot(40)
	troubled.Verdict, troubled.found, troubled.Crashes, troubled.silent = "degraded", 4, 2, 1
	for _, object := range []string{"clamd", "spamd", "\x1b[2J\u202e漢字"} {
		troubled.Findings = append(troubled.Findings, finding{
			ID: "engine-down", Object: object, Since: troubled.Now.Add(-time.Hour), Last: troubled.Now, Count: 9, Text: strings.Repeat("connection refused ", 8),
		})
	}
	odd := topSnapshot(1)
	odd.sessions[0] = session{Number: 1 << 62, State: "\x1b]0;x\a", Client: "漢字\t\n", Target: "\u202e", Ident: "\xff", Started: odd.Now, ClientBytes: 1 << 62, Transactions: 1 << 30}
	for name, c := range map[string]struct {
		s             *snapshot
		state         topState
		waits         topWait
		width, height int
	}{
		"asking":    {nil, topState{}, topWait{word: "asking the daemon"}, 80, 24},
		"idle":      {topSnapshot(0), topState{}, topWait{}, 80, 24},
		"few":       {topSnapshot(4), topState{selected: 2, chosen: true}, topWait{}, 80, 24},
		"many":      {topSnapshot(40), topState{selected: 20, chosen: true, sort: 2}, topWait{}, 80, 24},
		"wide":      {topSnapshot(40), topState{selected: 3, chosen: true}, topWait{}, 160, 30},
		"troubled":  {troubled, topState{}, topWait{}, 80, 24},
		"waits":     {troubled, topState{}, topWait{"waiting for the daemon", "smtp-gated is not running: nobody listens at /run/smtp-gated/control"}, 80, 40},
		"filtering": {topSnapshot(40), topState{mode: filtering, filter: "joe"}, topWait{}, 80, 24},
		"filtered":  {topSnapshot(40), topState{filter: "CONNECT", sort: 3}, topWait{}, 80, 24},
		"nobody":    {topSnapshot(4), topState{filter: "nobody"}, topWait{}, 80, 24},
		"kill":      {topSnapshot(4), topState{mode: asking, ask: doKill, target: topSnapshot(4).sessions[1]}, topWait{}, 80, 24},
		"lock":      {topSnapshot(4), topState{mode: asking, ask: doLock, target: topSnapshot(4).sessions[2]}, topWait{}, 80, 24},
		"help":      {topSnapshot(4), topState{mode: helping}, topWait{}, 80, 24},
		"read-only": {topSnapshot(4), topState{readOnly: true, message: "this top only looks: k and l are off"}, topWait{}, 80, 24},
		"odd":       {odd, topState{}, topWait{}, 80, 24},
		"small":     {topSnapshot(4), topState{}, topWait{}, 60, 20},
		"tiny":      {topSnapshot(4), topState{}, topWait{}, 5, 2},
	} {
		c.state.settle(c.state.rows(c.s), pageOf(c.s, c.width, c.height))
		var b strings.Builder
		for _, l := range drawTop(c.s, &c.state, c.waits, c.width, c.height) {
			b.WriteString(marks[l.ink] + l.text + "\n")
		}
		checkScreen(t, name, drawTop(c.s, &c.state, c.waits, c.width, c.height), c.width, c.height)
		file := filepath.Join("testdata", "top", name)
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s is\n%swant\n%s", name, b.String(), want)
		}
	}
}

// checkScreen holds what is drawn to its size, and to what takes one column each.
func checkScreen(t *testing.T, name string, lines []topLine, width, height int) {
	t.Helper()
	if len(lines) > height || width >= topWidth && height >= topHeight && len(lines) != height {
		t.Errorf("%s: %d lines for %d", name, len(lines), height)
	}
	for _, l := range lines {
		if len(l.text) > width || strings.IndexFunc(l.text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%s: %q in %d columns", name, l.text, width)
		}
	}
}

// FuzzTopScreen: whatever the daemon says, and however large the terminal is, each line is
// printable ASCII and no longer than it may be.
func FuzzTopScreen(f *testing.F) {
	f.Add("joe", "192.0.2.7:25", "data", uint64(7), int64(1)<<40, 80, 24, "j")
	f.Add("\x1b[2J", "漢字", "\xff", uint64(0), int64(-1), 200, 50, "\x1b")
	f.Add("", "", "", uint64(1)<<63, int64(-1)<<63, 79, 24, "")
	f.Fuzz(func(t *testing.T, ident, client, state string, number uint64, bytes int64, width, height int, filter string) {
		width, height = min(max(width, 0), 1000), min(max(height, 0), 1000)
		s := topSnapshot(3)
		s.Version, s.Verdict, s.found = ident, client, 2
		s.Findings = []finding{{ID: state, Object: ident, Text: client}}
		s.Rooms = append(s.Rooms, room{Name: ident, State: state})
		s.sessions = append(s.sessions, session{Number: number, Ident: ident, Client: client, Target: client, State: state, ClientBytes: bytes, Transactions: int(bytes)})
		for mode := browsing; mode <= helping; mode++ {
			st := topState{mode: mode, message: client, target: s.sessions[3]}
			if mode == browsing {
				st.filter = filter
			}
			st.settle(st.rows(s), pageOf(s, width, height))
			checkScreen(t, "fuzzed", drawTop(s, &st, topWait{state, ident}, width, height), width, height)
		}
	})
}

func TestTopRates(t *testing.T) {
	var r topRates
	start := time.Now()
	at := func(seconds int, sessions, messages, closed uint64, live int64, began time.Time) *snapshot {
		s := &snapshot{status: status{Now: start.Add(time.Duration(seconds) * time.Second), Started: began, Counters: map[string]uint64{
			imsg.CountTotal.String(): sessions, imsg.CountMessages.String(): messages, imsg.CountClientBytes.String(): closed,
		}}}
		s.sessions = []session{{ClientBytes: live, ServerBytes: 0}}
		r.add(s)
		return s
	}
	for i, c := range []struct {
		s                          *snapshot
		sessions, messages, octets float64
	}{
		{at(0, 100, 10, 5000, 0, start), 0, 0, 0},
		{at(2, 110, 12, 5000, 1000, start), 5, 1, 500},
		{at(4, 120, 30, 5000, 4000, start), 5, 5, 1000},
		{at(20, 120, 30, 9000, 0, start), 0, 0, 0},             // what was before is too old
		{at(21, 120, 30, 8000, 0, start), 0, 0, 0},             // one has ended, and is not counted yet
		{at(22, 3, 1, 10, 0, start.Add(time.Second)), 0, 0, 0}, // another daemon
		{at(23, 4, 3, 10, 10, start.Add(time.Second)), 1, 2, 10},
	} {
		if p := c.s.perSecond; p.sessions != c.sessions || p.messages != c.messages || p.octets != c.octets {
			t.Errorf("look %d: %+v", i, p)
		}
	}
}
