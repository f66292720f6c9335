package findings

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func all(imsg.FindingID, string) bool { return true }

// saw is an observation as a worker would have made it.
func saw(f imsg.FindingID, object string, good, bad, row uint64) *imsg.Observation {
	return &imsg.Observation{Finding: f, Object: object, Good: good, Bad: bad, Row: row, Text: "broken"}
}

// note has a board take what was seen just before now, the last of it last.
func note(b *Board, o *imsg.Observation, now time.Time) []Change {
	first, last := now.Add(-time.Millisecond).UnixNano(), now.UnixNano()
	switch {
	case o.Good > 0 && o.Bad > 0 && o.Row == 0:
		o.Failed, o.Went = first, last
	case o.Good > 0 && o.Bad > 0:
		o.Went, o.Failed = first, last
	case o.Good > 0:
		o.Went = last
	default:
		o.Failed = last
	}
	return b.Note(o, now)
}

// TestBoard: when a finding begins and ends.
func TestBoard(t *testing.T) {
	type step struct {
		after      time.Duration // the one before
		sees       *imsg.Observation
		begin, end bool
	}
	const server, spool = imsg.FindingServer, imsg.FindingSpool
	for name, story := range map[string][]step{
		"the first failure": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{0, saw(spool, "a", 0, 1, 1), false, false},
			{59 * time.Second, saw(spool, "a", 1, 0, 0), false, false},
			{time.Second, nil, false, true},
		},
		"quiet alone is no end": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{time.Hour, nil, false, false},
			{0, saw(spool, "a", 1, 0, 0), false, true},
		},
		"a failure begins the quiet anew": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{50 * time.Second, saw(spool, "a", 1, 0, 0), false, false},
			{5 * time.Second, saw(spool, "a", 0, 1, 1), false, false},
			{time.Hour, nil, false, false},
			{0, saw(spool, "a", 1, 0, 0), false, true},
		},
		"a success behind a failure of the same second": {
			{0, saw(spool, "a", 1, 1, 0), true, false},
			{60 * time.Second, nil, false, true},
		},
		"a failure behind a success of the same second": {
			{0, saw(spool, "a", 1, 1, 1), true, false},
			{60 * time.Second, nil, false, false},
		},
		"it begins again": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{60 * time.Second, saw(spool, "a", 1, 0, 0), false, true},
			{0, saw(spool, "a", 0, 1, 1), true, false},
		},
		"another object's success": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{60 * time.Second, saw(spool, "b", 1, 0, 0), false, false},
		},
		"a success of all objects": {
			{0, saw(spool, "a", 0, 1, 1), true, false},
			{60 * time.Second, saw(spool, "", 1, 0, 0), false, true},
		},
		"three in a row, one by one": {
			{0, saw(server, "a", 0, 1, 1), false, false},
			{time.Hour, saw(server, "a", 0, 1, 1), false, false},
			{time.Hour, saw(server, "a", 0, 1, 1), true, false},
		},
		"three in a row, of two workers": {
			{0, saw(server, "a", 0, 2, 2), false, false},
			{0, saw(server, "a", 0, 1, 1), true, false},
		},
		"two, and a success": {
			{0, saw(server, "a", 0, 2, 2), false, false},
			{0, saw(server, "a", 1, 0, 0), false, false},
			{0, saw(server, "a", 0, 2, 2), false, false},
		},
		"a success between three": {
			{0, saw(server, "a", 1, 3, 2), false, false},
			{0, saw(server, "a", 0, 1, 1), true, false},
		},
		"two, another's two": {
			{0, saw(server, "a", 0, 2, 2), false, false},
			{0, saw(server, "b", 0, 2, 2), false, false},
		},
		"nothing seen": {
			{0, saw(spool, "a", 0, 0, 0), false, false},
			{time.Hour, nil, false, false},
		},
		"no finding": {
			{0, saw(0, "a", 0, 5, 5), false, false},
			{0, saw(imsg.FindingIDs, "a", 0, 5, 5), false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, now := New(Quiet), noon
			for i, s := range story {
				now = now.Add(s.after + 2*time.Millisecond) // no two things happen at once
				var begun []Change
				if s.sees != nil {
					begun = note(b, s.sees, now)
				}
				ended := b.Sweep(now, all)
				if (len(begun) == 1 && !begun[0].Ended) != s.begin || (len(ended) == 1 && ended[0].Ended) != s.end {
					t.Fatalf("step %d: begun %v, ended %v", i+1, begun, ended)
				}
			}
		})
	}
}

// TestWhatIsToldOfAFinding: since its first failure, how often, and what was last.
func TestWhatIsToldOfAFinding(t *testing.T) {
	b := New(Quiet)
	note(b, &imsg.Observation{Finding: imsg.FindingServer, Object: "a", Bad: 2, Row: 2, Text: "refused"}, noon)
	if got := b.List(); len(got) != 0 {
		t.Errorf("two failures are %v", got)
	}
	note(b, &imsg.Observation{Finding: imsg.FindingServer, Object: "a", Bad: 4, Row: 4, Text: "timed out"}, noon.Add(time.Second))
	note(b, saw(imsg.FindingDNS, "spf", 0, 1, 1), noon.Add(2*time.Second))
	note(b, saw(imsg.FindingDNS, "dnsbl", 0, 1, 1), noon.Add(3*time.Second))
	got := b.List()
	want := imsg.StatusFinding{
		Finding: imsg.FindingServer, Object: "a", Since: noon.UnixNano(), Last: noon.Add(time.Second).UnixNano(), Count: 6, Text: "timed out",
	}
	if len(got) != 3 || got[0] != want || got[1].Object != "dnsbl" || got[2].Object != "spf" {
		t.Errorf("got %+v", got)
	}
	note(b, saw(imsg.FindingServer, "a", 1, 0, 0), noon.Add(time.Hour))
	if got := b.List(); !got[0].Good || got[0].Count != 6 {
		t.Errorf("after a success: %+v", got[0])
	}
}

// TestOrder: two workers tell of one second, and what came first may be told last.
func TestOrder(t *testing.T) {
	const f = imsg.FindingSpool
	before, behind := noon.Add(time.Millisecond).UnixNano(), noon.Add(2*time.Millisecond).UnixNano()
	later := noon.Add(time.Second)
	for _, all := range []string{"a", ""} {
		for _, test := range []struct {
			name         string
			went, failed int64
			good         bool
		}{
			{"the success came first", before, behind, false},
			{"the failure came first", behind, before, true},
		} {
			good := &imsg.Observation{Finding: f, Object: all, Good: 1, Went: test.went}
			bad := &imsg.Observation{Finding: f, Object: "a", Bad: 1, Row: 1, Failed: test.failed}
			for _, told := range [][]*imsg.Observation{{good, bad}, {bad, good}} {
				b := New(Quiet)
				for _, o := range told {
					b.Note(o, later)
					b.Sweep(later, func(imsg.FindingID, string) bool { return true })
				}
				if got := b.List(); len(got) != 1 || got[0].Good != test.good {
					t.Errorf("%s, of %q: %+v", test.name, all, got)
				}
			}
		}
	}
}

// TestClock: one that is set back, or a worker's that is not, keeps no finding.
func TestClock(t *testing.T) {
	b := New(Quiet)
	note(b, saw(imsg.FindingSpool, "a", 0, 1, 1), noon.Add(time.Hour))
	b.Sweep(noon, all)
	b.Note(&imsg.Observation{Finding: imsg.FindingSpool, Object: "a", Good: 1, Went: noon.Add(time.Hour).UnixNano()}, noon.Add(time.Second))
	if ended := b.Sweep(noon.Add(Quiet), all); len(ended) != 1 {
		t.Errorf("%+v", b.List())
	}
}

// TestTroubles: what the parent tells is told whole each time, and makes one finding.
func TestTroubles(t *testing.T) {
	b := New(Quiet)
	trouble := imsg.Trouble{Finding: imsg.FindingRestarted, Object: "scand", Since: noon.UnixNano(), Last: noon.Add(time.Second).UnixNano(), Count: 2, Text: "killed"}
	if got := b.Tell(&trouble, noon.Add(time.Hour)); len(got) != 1 || got[0].Count != 2 || got[0].Since != noon.UnixNano() {
		t.Errorf("a new lockd says %v", got)
	}
	if got := b.Tell(&trouble, noon.Add(time.Hour)); len(got) != 0 {
		t.Errorf("told again it says %v", got)
	}
	trouble.Good = true
	b.Tell(&trouble, noon.Add(time.Hour))
	if got := b.Sweep(noon.Add(time.Hour), all); len(got) != 1 || !got[0].Ended {
		t.Errorf("ended: %v", got)
	}
	if got := b.Tell(&trouble, noon.Add(time.Hour)); len(got) != 0 || len(b.List()) != 0 {
		t.Errorf("told of what is over it says %v", got)
	}
}

// TestObsolete: what the configuration does not know any more is no finding.
func TestObsolete(t *testing.T) {
	b := New(Quiet)
	note(b, saw(imsg.FindingSpool, "/a", 0, 1, 1), noon)
	note(b, saw(imsg.FindingSpool, "/b", 0, 1, 1), noon)
	note(b, saw(imsg.FindingServer, "x", 0, 1, 1), noon)
	ended := b.Sweep(noon, func(_ imsg.FindingID, object string) bool { return object == "/b" })
	if len(ended) != 1 || ended[0].Object != "/a" || len(b.states) != 1 {
		t.Errorf("ended %v, %d are left", ended, len(b.states))
	}
}

// TestManyObjects: one that makes up objects takes no more memory than is said.
func TestManyObjects(t *testing.T) {
	b := New(Quiet)
	for i := range 10 * maxObjects {
		note(b, saw(imsg.FindingSpool, strconv.Itoa(i), 0, 1, 1), noon)
		b.Tell(&imsg.Trouble{Finding: imsg.FindingHung, Object: strconv.Itoa(i), Count: 1, Last: noon.UnixNano()}, noon)
	}
	if len(b.states) != 2*maxObjects {
		t.Errorf("%d objects", len(b.states))
	}
}

// TestBoardAgreesWithItsHistory: whatever happens, a finding has begun when so many
// failures came in a row, none has ended before the quiet, begin and end take turns, and
// the list has what has begun and not ended.
func TestBoardAgreesWithItsHistory(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	type past struct {
		row     uint64
		good    bool
		last    time.Time
		present bool
	}
	for range 200 {
		b, now := New(Quiet), noon
		history := map[key]*past{}
		for range 100 {
			now = now.Add(time.Duration(random.IntN(40))*time.Second + 2*time.Millisecond)
			k := key{[]imsg.FindingID{imsg.FindingServer, imsg.FindingSpool, imsg.FindingDNS}[random.IntN(3)], []string{"a", "b"}[random.IntN(2)]}
			if history[k] == nil {
				history[k] = new(past)
			}
			p := history[k]
			o := saw(k.finding, k.object, 0, 0, 0)
			for range random.IntN(3) { // one after another, as in a worker
				if random.IntN(2) == 0 {
					o.Good++
					o.Row = 0
					p.row, p.good = 0, true
				} else {
					o.Bad++
					o.Row++
					p.row, p.good, p.last = p.row+1, false, now
				}
			}
			begun := note(b, o, now)
			if due := !p.present && o.Bad > 0 && (p.row >= imsg.FindingTable[k.finding].Row || imsg.FindingTable[k.finding].Row == 1); due != (len(begun) == 1) {
				t.Fatalf("seed %d: after %+v with %+v it begins: %v", seed, p, o, begun)
			} else if due {
				p.present = true
			}
			for _, c := range b.Sweep(now, all) {
				q := history[key{c.Finding, c.Object}]
				if !c.Ended || !q.present || !q.good || now.Sub(q.last) < Quiet {
					t.Fatalf("seed %d: %+v has ended: %+v", seed, c, q)
				}
				q.present = false
			}
			present := 0
			for k, q := range history {
				if q.present {
					present++
					if q.good && now.Sub(q.last) >= Quiet {
						t.Fatalf("seed %d: %v has not ended", seed, k)
					}
				}
			}
			if got := b.List(); len(got) != present {
				t.Fatalf("seed %d: %d are listed of %d: %v", seed, len(got), present, got)
			}
		}
	}
}
