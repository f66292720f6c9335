package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
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

// liveSession is one with this number, which began so long ago.
func liveSession(number uint64, state imsg.State, client, target, ident string, age time.Duration) imsg.LiveSession {
	l := imsg.LiveSession{Number: number, State: state, Started: time.Now().Add(-age).UnixNano(), Client: netip.MustParseAddrPort(client), Ident: ident}
	if target != "" {
		l.Target = netip.MustParseAddrPort(target)
	}
	return l
}

func someSessions() *imsg.SessionList {
	return &imsg.SessionList{Sessions: []imsg.LiveSession{
		liveSession(1, imsg.StateHelo, "192.0.2.7:4001", "198.51.100.25:25", "", time.Hour),
		liveSession(2, imsg.StateData, "192.0.2.8:4002", "198.51.100.26:25", "joe", time.Minute),
		liveSession(3, imsg.StateConnect, "[2001:db8::7]:4003", "", "", 0),
		liveSession(4, imsg.StateScan, "[::ffff:192.0.2.7]:4004", "[2001:db8::25]:25", "joe", 2*time.Hour),
	}}
}

func TestSessionFilters(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) { family.Answer(r, someSessions()) })
	for args, want := range map[string]string{
		"":                                       "1 2 3 4",
		"--client 192.0.2.7":                     "1 4",
		"--client ::ffff:192.0.2.7":              "1 4",
		"--client 192.0.2.0/24":                  "1 2 4",
		"--client 2001:db8::/32":                 "3",
		"--server 198.51.100.25":                 "1",
		"--server 0.0.0.0/0":                     "1 2",
		"--server ::/0":                          "4",
		"--state data":                           "2",
		"--state data,scan":                      "2 4",
		"--state data --state scan":              "2 4",
		"--ident joe":                            "2 4",
		"--older 30m":                            "1 4",
		"--older 30m --ident joe --state scan":   "4",
		"--older 100h":                           "",
		"--client 192.0.2.0/24 --state connect":  "",
		"--client 192.0.2.8 --server 192.0.2.25": "",
	} {
		code, out, errs := gatectl(append(strings.Fields(args), "sessions", "--json", "--socket", socket)...)
		var list []session
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitOK {
			t.Fatalf("%s: exit %d: %s%s", args, code, out, errs)
		}
		var numbers []string
		for _, s := range list {
			numbers = append(numbers, fmt.Sprint(s.Number))
		}
		if got := strings.Join(numbers, " "); got != want {
			t.Errorf("%q shows %q, want %q", args, got, want)
		}
	}
	for args, want := range map[string]string{
		"--client example.org": "--client \"example.org\" is no address and no network",
		"--client=":            "is no address and no network",
		"--server 192.0.2.1/x": "--server \"192.0.2.1/x\" is no address and no network",
		"--state sleep":        "--state \"sleep\": there are start, helo, ",
		"--ident=":             "--ident is empty",
		"--older 0s":           "--older 0s is no age",
		"--older -1h":          "--older -1h0m0s is no age",
		"--older x":            "invalid duration",
	} {
		if code, _, errs := gatectl(append(strings.Fields(args), "sessions", "--socket", socket)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}
	if _, out, _ := gatectl("sessions", "--socket", socket, "--older", "100h"); out != "no live sessions\n" {
		t.Errorf("of none it says %q", out)
	}
}

func TestStateCompletion(t *testing.T) {
	if _, out, _ := gatectl("__complete", "sessions", "--state", ""); !strings.HasPrefix(out, "start\nhelo\n") || !strings.Contains(out, "\ntls\n") {
		t.Errorf("offered is %q", out)
	}
	if _, out, _ := gatectl("__complete", "sessions", "--state", "data,s"); !strings.Contains(out, "data,scan\n") || strings.Contains(out, "data,data") {
		t.Errorf("behind a comma %q", out)
	}
}

// changesOf words changes.
func changesOf(all []sessionChange) string {
	var words []string
	for _, c := range all {
		words = append(words, fmt.Sprintf("%s %d %s", c.Change, c.Number, strings.Trim(c.Before+">"+c.State, ">")))
	}
	return strings.Join(words, ", ")
}

func TestSessionWatch(t *testing.T) {
	start := time.Now()
	one := func(number uint64, state string, age time.Duration) session {
		return session{Number: number, State: state, Client: "192.0.2.7:4001", Started: start.Add(-age)}
	}
	type view struct {
		list            []session
		after           time.Duration
		patient, unsure bool
		want            string
	}
	for name, c := range map[string]struct {
		only  sessionFilter
		views []view
	}{
		"all": {sessionFilter{}, []view{
			{list: []session{one(1, "helo", 0)}, want: "live 1 helo"},
			{list: []session{one(1, "helo", 0), one(2, "start", 0)}, want: "new 2 start"},
			{list: []session{one(1, "data", 0), one(2, "helo", 0)}, want: "state 1 helo>data, state 2 start>helo"},
			{list: []session{one(2, "helo", 0)}, want: "gone 1 data"},
			{want: "gone 2 helo"},
			{},
		}},
		"states": {sessionFilter{states: []string{"data"}}, []view{
			{list: []session{one(1, "helo", 0)}},
			{list: []session{one(1, "data", 0), one(2, "data", 0)}, want: "state 1 helo>data, new 2 data"},
			{list: []session{one(1, "post", 0), one(2, "data", 0)}, want: "state 1 data>post"},
			{list: []session{one(2, "data", 0)}},
			{want: "gone 2 data"},
		}},
		"age": {sessionFilter{older: time.Minute}, []view{
			{list: []session{one(1, "helo", 0)}},
			{list: []session{one(1, "helo", 0)}, after: time.Hour, want: "new 1 helo"},
			{after: time.Hour, want: "gone 1 helo"},
		}},
		"a lockd that is new": {sessionFilter{}, []view{
			{list: []session{one(1, "helo", 0), one(2, "data", 0)}, want: "live 1 helo, live 2 data"},
			{patient: true},
			{list: []session{one(2, "data", time.Second)}, patient: true},
			{list: []session{one(2, "data", time.Second)}, want: "gone 1 helo"},
		}},
		"a daemon that is new": {sessionFilter{}, []view{
			{list: []session{one(1, "helo", 0)}, want: "live 1 helo"},
			{list: []session{one(1, "data", -time.Minute)}, want: "gone 1 helo, new 1 data"},
		}},
		"a silent worker": {sessionFilter{}, []view{
			{list: []session{one(1, "helo", 0)}, want: "live 1 helo"},
			{list: []session{one(1, "start", 0)}, unsure: true},
			{list: []session{one(1, "helo", 0)}},
		}},
	} {
		w := &sessionWatch{only: &c.only}
		for i, v := range c.views {
			if got := changesOf(w.look(v.list, start.Add(v.after), v.patient, v.unsure)); got != v.want {
				t.Errorf("%s: look %d tells %q, want %q", name, i, got, v.want)
			}
		}
	}
}

// TestSessionsFollow outlives a lockd that hangs up, and prints objects.
func TestSessionsFollow(t *testing.T) {
	var mu sync.Mutex
	list := new(imsg.SessionList)
	var asked atomic.Int32
	set := func(all ...imsg.LiveSession) {
		mu.Lock()
		defer mu.Unlock()
		list = &imsg.SessionList{Sessions: all}
	}
	socket := lockdAt(t, func(r link.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked.Add(1) == 3 { // another one comes in its place
			r.From().Close()
			return
		}
		family.Answer(r, list)
	})
	first := liveSession(1, imsg.StateHelo, "192.0.2.7:4001", "198.51.100.25:25", "joe", time.Minute)
	set(first)
	out, in := io.Pipe()
	t.Cleanup(func() { out.Close() }) // its next word is its last
	go run([]string{"sessions", "--follow", "--json", "--socket", socket}, strings.NewReader(""), in, io.Discard)
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var c sessionChange
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil || changesOf([]sessionChange{c}) != want || c.Time.IsZero() || c.Client == "" {
			t.Fatalf("it says %s, want %s", lines.Text(), want)
		}
	}
	next("live 1 helo")
	imsgtest.Until(t, "another connection", func() bool { return asked.Load() > 3 })
	data := first
	data.State = imsg.StateData
	set(data, liveSession(2, imsg.StateStart, "192.0.2.8:4002", "", "", 0))
	next("state 1 helo>data")
	next("new 2 start")
	set(first)
	next("state 1 data>helo")
	next("gone 2 start")
}

func TestSessionChangeLine(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local)
	c := sessionChange{Time: at, Change: "state", Before: "helo", session: session{
		Number: 7, State: "data", Client: "192.0.2.7:4001", Target: "198.51.100.25:25", Ident: "joe", Started: at.Add(-time.Minute), Transactions: 1, ClientBytes: 2000,
	}}
	want := "2026-05-04 03:02:01 state 7 data before=helo client=192.0.2.7:4001 target=198.51.100.25:25 ident=joe time=1m00s mails=1 from_client=2000 from_server=0"
	if got := c.String(); got != want {
		t.Errorf("it is\n%s, want\n%s", got, want)
	}
	if !slices.Contains(stateNames(), "data") {
		t.Error("no state is called data")
	}
}
