//go:build linux

package parent

import (
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestTrouble: what goes wrong is counted from its first time on, and anew when it was
// well for long; lockd hears of each change.
func TestTrouble(t *testing.T) {
	const what, room = imsg.FindingRestarted, "scand"
	var f family
	told := func() bool { news := f.dirty; f.dirty = false; return news }
	f.success(what, room)
	if told() || len(f.report.Troubles) > 0 {
		t.Error("nothing was wrong, and lockd hears that it is not")
	}
	f.trouble(what, room, "killed\n")
	f.trouble(what, room, "killed again")
	f.trouble(imsg.FindingHung, room, "it did not answer")
	if got := *f.troubled(what, room); !told() || len(f.report.Troubles) != 2 || got.Count != 2 || got.Since == 0 || got.Last < got.Since || got.Good || got.Text != "killed again" {
		t.Errorf("%+v", got)
	}
	f.success(what, room)
	if got := *f.troubled(what, room); !told() || !got.Good || got.Count != 2 {
		t.Errorf("after a success %+v", got)
	}
	f.success(what, room)
	if told() {
		t.Error("a second success is no news")
	}
	f.trouble(what, room, "soon after")
	if got := f.troubled(what, room); got.Count != 3 || got.Good {
		t.Errorf("soon after %+v", got)
	} else {
		got.Good = true
		got.Since -= int64(2 * forgetAfter)
		got.Last = got.Since
	}
	f.trouble(what, room, "long after")
	if got := *f.troubled(what, room); got.Count != 1 || got.Since != got.Last {
		t.Errorf("long after %+v", got)
	}
}

// TestLostLines: lines lost are a trouble until none were.
func TestLostLines(t *testing.T) {
	var f family
	var before uint64
	for i, ever := range []uint64{0, 3, 7, 7} {
		f.lostLines(imsg.Session, &before, ever)
		got := f.troubled(imsg.FindingLogLost, "session")
		if i == 0 && got != nil || i > 0 && (got == nil || got.Good != (i == 3)) {
			t.Errorf("with %d lost: %+v", ever, got)
		}
	}
}

// TestServingReads: the service's status has the worst of all findings.
func TestServingReads(t *testing.T) {
	c := condition{serving: "serving"}
	if got := c.String(); got != "serving" {
		t.Errorf("%q", got)
	}
	c.Condition = imsg.Condition{Health: imsg.Down, Worst: "server-unreachable 192.0.2.1:25"}
	if got := c.String(); got != "serving; down: server-unreachable 192.0.2.1:25" {
		t.Errorf("%q", got)
	}
}
