package lockd

import (
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
)

// TestCondition: what workers and the parent have seen is told to the log once at each
// end, to the operator, and to the parent when the worst changes.
func TestCondition(t *testing.T) {
	c := usual()
	c.Depends.SpoolPath = "/spool"
	h := open(t, plan{config: c})
	w := h.worker(1)
	see := func(o imsg.Observation) { w.Send(&imsg.Observed{Observations: []imsg.Observation{o}}) }
	status := func() (imsg.Health, []imsg.StatusFinding) {
		o := view{h.server}.Overview()
		return o.Health, o.Findings
	}
	condition := func(want imsg.Condition) {
		t.Helper()
		if got, ok := h.next().(*imsg.Condition); !ok || *got != want {
			t.Fatalf("the parent hears %+v, want %+v", got, want)
		}
	}

	// Nobody but the room itself may tell of locks, and of no spool that is not there.
	see(imsg.Observation{Finding: imsg.FindingLock, Object: imsg.ObjectLook, Bad: 1, Row: 1})
	see(imsg.Observation{Finding: imsg.FindingSpool, Object: "/elsewhere", Bad: 1, Row: 1})
	see(imsg.Observation{Finding: imsg.FindingDNS, Object: "anything", Bad: 1, Row: 1})
	see(imsg.Observation{Finding: imsg.FindingSpool, Object: "/spool", Bad: 2, Row: 2, Failed: h.clock.now().UnixNano(), Text: "no space"})
	condition(imsg.Condition{Health: imsg.Down, Worst: "spool-trouble /spool"})
	if health, all := status(); health != imsg.Down || len(all) != 1 || all[0].Count != 2 || all[0].Text != "no space" {
		t.Fatalf("%v, %+v", health, all)
	}
	h.clock.move(time.Millisecond) // no two things happen at once
	see(imsg.Observation{Finding: imsg.FindingSpool, Object: "/spool", Good: 1, Went: h.clock.now().UnixNano()})
	condition(imsg.Condition{Health: imsg.Degraded, Worst: "spool-trouble /spool"})

	now := h.clock.now()
	h.Tell(&imsg.Family{Troubles: []imsg.Trouble{{
		Finding: imsg.FindingReload, Since: now.UnixNano(), Last: now.UnixNano(), Count: 1, Text: "line 3",
	}}})
	eventually(t, "two findings", func() bool { _, all := status(); return len(all) == 2 })
	h.clock.move(findings.Quiet)
	condition(imsg.Condition{Health: imsg.Degraded, Worst: "reload-failed"})
	h.Tell(&imsg.Family{Troubles: []imsg.Trouble{{
		Finding: imsg.FindingReload, Since: now.UnixNano(), Last: now.UnixNano(), Count: 1, Text: "line 3", Good: true,
	}}})
	condition(imsg.Condition{})
	if health, all := status(); health != imsg.Well || len(all) != 0 {
		t.Errorf("%v, %+v", health, all)
	}
	for _, what := range []string{
		"level=ERROR+996 msg=\"FINDING:BEGIN spool-trouble\"", "level=ERROR+994 msg=\"FINDING:END spool-trouble\"",
		"FINDING:BEGIN reload-failed", "FINDING:END reload-failed",
	} {
		if n := strings.Count(h.log.String(), what); n != 1 {
			t.Errorf("the log has %s %d times:\n%s", what, n, h.log)
		}
	}
}

// TestLimitReached: a full house is a finding, which ends a minute after there is room.
func TestLimitReached(t *testing.T) {
	c := usual()
	c.MaxConnections = 1
	h := open(t, plan{config: c})
	w := h.worker(1)
	first := w.enter("192.0.2.1")
	w.enter("192.0.2.2")
	limit := imsg.Condition{Health: imsg.Degraded, Worst: "limit-reached connections"}
	if got, ok := h.next().(*imsg.Condition); !ok || *got != limit {
		t.Fatalf("the parent hears %+v", got)
	}
	h.clock.move(time.Hour)
	if all := (view{h.server}).Overview().Findings; len(all) != 1 {
		t.Errorf("still full, and it is %+v", all)
	}
	w.Send(&imsg.Leave{Number: first.Number})
	if got, ok := h.next().(*imsg.Condition); !ok || got.Health != imsg.Well {
		t.Errorf("the parent hears %+v", got)
	}
}
