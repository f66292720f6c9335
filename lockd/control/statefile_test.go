package control

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func exampleState(forms imsg.StateFile) *state {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s := &state{
		now: now, resource: "8000/0/0/0", live: 2,
		config: imsg.LockdConfig{StateFile: forms, Version: "2.0-3+g1a2b", CompileDate: "2026-01-02"},
		family: imsg.Family{Started: now.Add(-90061 * time.Second).UnixNano(), Crashes: 1, LastCrash: now.Add(-time.Hour).UnixNano()},
	}
	s.counters.Peak = 9
	for i := range s.counters.Counts {
		s.counters.Counts[i] = uint64(100 + i)
	}
	if forms&imsg.StateSlots != 0 {
		s.sessions = []imsg.LiveSession{
			{
				Number: 17, State: imsg.StateData, Auth: imsg.AuthSupported | imsg.AuthAccepted, Started: now.Add(-75 * time.Second).UnixNano(),
				Client: netip.MustParseAddrPort("192.0.2.7:5"), Target: netip.MustParseAddrPort("192.0.2.25:25"), Transactions: 2,
				ClientBytes: 12800, ServerBytes: 300, Ident: "joe <x>\n",
			},
			{Number: 18, Auth: imsg.AuthSupported, Started: now.UnixNano(), Client: netip.MustParseAddrPort("[2001:db8::1]:5"), ClientBytes: 128},
		}
	}
	return s
}

const human = `Version:      2.0-3_g1a2b
Compile date: 2026-01-02
Dump time:    Wed Mar  4 05:06:07 2026
Start time:   Tue Mar  3 04:05:06 2026
Restart time: Thu Jan  1 00:00:00 1970
Last crash:   Wed Mar  4 04:06:07 2026
Last BUG:     Thu Jan  1 00:00:00 1970
Uptime:   1d 1h 1m 1s
Resource: 8000/0/0/0 (maxrss/ixrss/idrss/isrss)
Children: 2/9/1/119 (current/max/crashed/bugs)
Found:    103/104/105/106/107 (viruses/spam/no-auth/spf/regex/earlytalk)
Requests: 100/101/102 (total/direct/empty)
Rejects:  109/110/111/112/113/114/115 (host/ident/lock/dnsbl/rate/ratelimit/other)
Errors:   116 (pipeline)
Auth:     117/118 (accepted/rejected)

slot pid state flags time source target trns cli_rx srv_rx kbps ident
`

const humanSlots = `0 17 data A 01:15 192.0.2.7 192.0.2.25 2 12800 300 1.3 joe__x__
1 18 start a 00:00 2001:db8::1 0.0.0.0 0 128 0 1.0 
`

const flat = `version: 2.0-3_g1a2b
time.dump.unix: 1772600767
time.dump.string: Wed Mar  4 05:06:07 2026
time.start.unix: 1772510706
time.start.string: Tue Mar  3 04:05:06 2026
time.restart.unix: 0
time.restart.string: Thu Jan  1 00:00:00 1970
uptime.ticks: 90061
uptime.string: 1d 1h 1m 1s
Resource: 8000/0/0/0 (maxrss/ixrss/idrss/isrss)
children.current: 2
children.max: 9
children.crashes: 1
children.crash_last: 1772597167
children.bugs: 119
children.bug_last: 0
found.viruses: 103
found.spams: 104
found.noauths: 105
found.spf: 106
found.regex: 107
found.earlytalk: 108
requests.total: 100
requests.direct: 101
requests.empty: 102
rejects.host: 109
rejects.ident: 110
rejects.lock: 111
rejects.dnsbl: 112
rejects.rate: 113
rejects.ratelimit: 114
rejects.other: 115
errors.pipeline: 116
auth.accepts: 117
auth.rejects: 118
`

const flatSlots = `slot.0.pid: 17
slot.0.start.unix: 1772600692
slot.0.start.string: Wed Mar  4 05:04:52 2026
slot.0.state: data
slot.0.src.ip: 192.0.2.7
slot.0.flags: A
slot.1.pid: 18
slot.1.start.unix: 1772600767
slot.1.start.string: Wed Mar  4 05:06:07 2026
slot.1.state: start
slot.1.src.ip: 2001:db8::1
slot.1.flags: a
`

func TestStateFile(t *testing.T) {
	for _, row := range []struct {
		name  string
		forms imsg.StateFile
		want  string
	}{
		{"human", imsg.StateHuman, human},
		{"human, slots", imsg.StateHuman | imsg.StateSlots, human + humanSlots},
		{"flat", imsg.StateFlat, flat},
		{"flat beats human", imsg.StateFlat | imsg.StateHuman | imsg.StateSlots, flat + flatSlots},
		{"slots alone are human", imsg.StateSlots, human + humanSlots},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b strings.Builder
			if err := exampleState(row.forms).write(&b); err != nil {
				t.Fatal(err)
			}
			if b.String() != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", b.String(), row.want)
			}
		})
	}
}

// FuzzStateFile: whatever rooms and routers say, a state file has the lines of its form
// and no others, one for each session or six, of its small set of characters.
func FuzzStateFile(f *testing.F) {
	f.Add(uint8(imsg.StateHuman|imsg.StateSlots), "2.0", "joe <x>\n", int64(0), int64(1)<<62, uint64(17), uint8(1), uint8(2))
	f.Add(uint8(imsg.StateFlat|imsg.StateSlots), "\x1b\n", "\u00fc\u2028\xff", int64(-1)<<63, int64(-1), uint64(1)<<63, uint8(200), uint8(255))
	f.Add(uint8(0), "", "", int64(1)<<62, int64(1)<<62, uint64(0), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, forms uint8, version, ident string, at, octets int64, number uint64, state, auth uint8) {
		s := exampleState(imsg.StateFile(forms))
		written := func() string {
			var b strings.Builder
			if err := s.write(&b); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
		want := strings.Count(written(), "\n")
		s.config.Version, s.config.CompileDate, s.resource = strings.ReplaceAll(version, "\n", " "), "today", "0/0/0/0"
		s.family.Started, s.family.LastCrash, s.counters.LastBug, s.counters.Peak = at, at, at, octets
		for i := range s.counters.Counts {
			s.counters.Counts[i] = number
		}
		for i := range s.sessions {
			l := &s.sessions[i]
			l.Number, l.State, l.Auth, l.Started, l.Ident = number, imsg.State(state), imsg.AuthFlags(auth), at, ident
			l.ClientBytes, l.ServerBytes, l.Transactions = octets, octets, int(octets)
		}
		text := written()
		if got := strings.Count(text, "\n"); got != want {
			t.Errorf("%d lines, not %d:\n%s", got, want, text)
		}
		if strings.Map(tame, text) != text {
			t.Errorf("%q", text)
		}
	})
}
