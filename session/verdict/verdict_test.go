package verdict

import (
	"reflect"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// usual scans for both, refuses spam from 5 on, and keeps nothing.
func usual() *imsg.SessionConfig {
	return &imsg.SessionConfig{Antivirus: true, Antispam: true, ScanMaxSize: 1000, SpamMaxSize: 100, SpamThreshold: 5, SpamRefuse: true}
}

const both = imsg.RoleVirus | imsg.RoleSpam

func TestPlan(t *testing.T) {
	virusOnly := func(r Reason, load float64) Plan {
		return Plan{imsg.RoleVirus, []Skip{{imsg.RoleSpam, r, load}}}
	}
	for name, row := range map[string]struct {
		change func(*imsg.SessionConfig)
		size   int64
		by     Spared
		want   Plan
	}{
		"both":                     {nil, 100, Spared{}, Plan{Roles: both}},
		"too large for spam":       {nil, 101, Spared{}, virusOnly(Size, 0)},
		"too large for either":     {nil, 1001, Spared{}, Plan{0, []Skip{{imsg.RoleVirus, Size, 0}, {imsg.RoleSpam, Size, 0}}}},
		"no size at all":           {func(c *imsg.SessionConfig) { c.ScanMaxSize, c.SpamMaxSize = 0, 0 }, 0, Spared{}, Plan{0, []Skip{{imsg.RoleVirus, Size, 0}, {imsg.RoleSpam, Size, 0}}}},
		"off":                      {func(c *imsg.SessionConfig) { c.Antivirus, c.Antispam = false, false }, 0, Spared{}, Plan{}},
		"spared spam":              {nil, 0, Spared{LoggedIn: imsg.SkipAntispam}, virusOnly(LoggedIn, 0)},
		"exempt from spam":         {nil, 0, Spared{Exempt: 1 << imsg.ExemptSpam}, virusOnly(Exempt, 0)},
		"exempt from all there is": {nil, 0, Spared{Exempt: 1<<imsg.Exempts - 1}, virusOnly(Exempt, 0)},
		"spared both, and large":   {nil, 5000, Spared{LoggedIn: imsg.SkipAntispam | imsg.SkipAntivirus}, Plan{0, []Skip{{imsg.RoleVirus, LoggedIn, 0}, {imsg.RoleSpam, LoggedIn, 0}}}},
		"spared something else":    {nil, 0, Spared{LoggedIn: imsg.SkipRegex | imsg.SkipDNSBL}, Plan{Roles: both}},
		"busy":                     {func(c *imsg.SessionConfig) { c.SpamMaxLoad = 2.5 }, 0, Spared{}, virusOnly(Load, 3)},
		"just not busy":            {func(c *imsg.SessionConfig) { c.SpamMaxLoad = 3 }, 0, Spared{}, Plan{Roles: both}},
	} {
		c := usual()
		if row.change != nil {
			row.change(c)
		}
		asked := 0
		got := New(c, row.size, row.by, func() float64 { asked++; return 3 })
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
		if asked > 0 != (c.SpamMaxLoad > 0) {
			t.Errorf("%s: the load was asked for %d times", name, asked)
		}
		if needs := NeedsSpool(c, row.size, row.by); needs != (got.Roles != 0) && c.SpamMaxLoad == 0 {
			t.Errorf("%s: spool %v", name, needs)
		}
		c.SpoolLeaveOn = imsg.LeaveAlways
		if !NeedsSpool(c, row.size, row.by) {
			t.Errorf("%s: nothing to keep", name)
		}
	}
	c := usual()
	if n := testing.AllocsPerRun(100, func() { NeedsSpool(c, 5000, Spared{}) }); n > 0 {
		t.Errorf("asking whether a spool is needed allocates %v times", n)
	}
}

// TestDecide goes through what may become of a message.
func TestDecide(t *testing.T) {
	clean := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Clean}
	caught := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Caught, Name: "V"}
	failed := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Failed}
	late := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.TimedOut}
	ham := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.Clean, Score: 4.9}
	spam := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.Clean, Score: 5}
	spamFailed := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.Failed}
	ignore := func(c *imsg.SessionConfig) { c.IgnoreErrors = true }
	gently := func(c *imsg.SessionConfig) { c.SpamRefuse = false }
	for name, row := range map[string]struct {
		change   func(*imsg.SessionConfig)
		asked    imsg.Roles
		findings []imsg.Finding
		action   Action
		text     imsg.Text
		found    imsg.Found
		points   int
		keptOn   imsg.LeaveOn // what besides always keeps the file
		counts   []imsg.Counter
	}{
		"nobody asked":         {nil, 0, nil, Pass, 0, 0, 0, 0, nil},
		"clean":                {nil, both, []imsg.Finding{clean, ham}, Pass, 0, 0, 2, 0, nil},
		"virus":                {nil, both, []imsg.Finding{caught, ham}, Refuse, imsg.MsgVirusFound, imsg.FoundVirus, 1, imsg.LeaveVirus, []imsg.Counter{imsg.CountViruses}},
		"virus and spam":       {nil, both, []imsg.Finding{caught, spam}, Refuse, imsg.MsgVirusFound, imsg.FoundVirus, 1, imsg.LeaveVirus, []imsg.Counter{imsg.CountViruses}},
		"virus, errors pass":   {ignore, both, []imsg.Finding{failed, caught, ham}, Refuse, imsg.MsgVirusFound, imsg.FoundVirus, 1, imsg.LeaveVirus, []imsg.Counter{imsg.CountViruses}},
		"no verdict":           {nil, both, []imsg.Finding{failed, ham}, Fail, imsg.MsgScannerFailed, 0, 1, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed}},
		"too late":             {nil, both, []imsg.Finding{late, spam}, Fail, imsg.MsgScannerFailed, 0, 1, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed}},
		"no finding":           {nil, both, nil, Fail, imsg.MsgScannerFailed, 0, 1, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed}},
		"no verdict, passes":   {ignore, both, []imsg.Finding{failed, ham}, Pass, 0, 0, 2, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed, imsg.CountUnscanned}},
		"no verdict, yet spam": {ignore, both, []imsg.Finding{failed, spam}, Refuse, imsg.MsgSpamFound, imsg.FoundSpam, 2, imsg.LeaveError | imsg.LeaveSpam, []imsg.Counter{imsg.CountScanFailed, imsg.CountUnscanned, imsg.CountSpams}},
		"spam":                 {nil, both, []imsg.Finding{clean, spam}, Refuse, imsg.MsgSpamFound, imsg.FoundSpam, 2, imsg.LeaveSpam, []imsg.Counter{imsg.CountSpams}},
		"spam alone":           {nil, imsg.RoleSpam, []imsg.Finding{spam}, Refuse, imsg.MsgSpamFound, imsg.FoundSpam, 1, imsg.LeaveSpam, []imsg.Counter{imsg.CountSpams}},
		"spam that passes":     {gently, both, []imsg.Finding{clean, spam}, Pass, 0, 0, 2, imsg.LeaveSpam, []imsg.Counter{imsg.CountSpams}},
		"spam scan failed":     {nil, both, []imsg.Finding{clean, spamFailed}, Pass, 0, 0, 2, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed}},
		"both failed":          {ignore, both, []imsg.Finding{failed, spamFailed}, Pass, 0, 0, 2, imsg.LeaveError, []imsg.Counter{imsg.CountScanFailed, imsg.CountUnscanned, imsg.CountScanFailed}},
	} {
		for _, leave := range []imsg.LeaveOn{0, imsg.LeaveAlways, imsg.LeaveVirus, imsg.LeaveSpam, imsg.LeaveError} {
			c := usual()
			c.SpoolLeaveOn = leave
			if row.change != nil {
				row.change(c)
			}
			text := Text{Session: 7, Transaction: 2, Octets: 100}
			d := (&Plan{Roles: row.asked}).Decide(c, text, row.findings)
			if d.Release.Of(text) != (row.action == Pass) || d.Release.Of(Text{7, 2, 101}) || d.Release.Of(Text{7, 1, 100}) || d.Release.Of(Text{8, 2, 100}) {
				t.Errorf("%s: %+v is released", name, d.Release)
			}
			if d.Action != row.action || d.Text != row.text || d.Found != row.found || len(d.Points) != row.points || !reflect.DeepEqual(d.Counts, row.counts) {
				t.Errorf("%s: %+v", name, d)
			}
			if keep := leave&(row.keptOn|imsg.LeaveAlways) != 0; d.Keep != keep {
				t.Errorf("%s: kept on %v: %v", name, leave, d.Keep)
			}
		}
	}
}

func TestLost(t *testing.T) {
	c, text := usual(), Text{Session: 7}
	if d := Lost(c, text); d.Action != Fail || d.Release.Of(text) || d.Text != imsg.MsgSpoolProblem || d.Counts != nil {
		t.Errorf("%+v", d)
	}
	c.IgnoreErrors = true
	if d := Lost(c, text); d.Action != Pass || !d.Release.Of(text) || !reflect.DeepEqual(d.Counts, []imsg.Counter{imsg.CountUnscanned}) {
		t.Errorf("%+v", d)
	}
}
