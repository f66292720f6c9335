// What goes wrong in the parent's sight. This file owns that list, of which lockd is told
// whole: one that is new knows it at once. What comes to a finding is lockd's to judge.

package parent

import (
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// forgetAfter is when what went well since begins anew when it goes wrong again.
const forgetAfter = time.Minute

// trouble notes that something went wrong.
func (f *family) trouble(finding imsg.FindingID, object, text string) {
	now := time.Now()
	t := f.troubled(finding, object)
	if t == nil {
		f.report.Troubles = append(f.report.Troubles, imsg.Trouble{Finding: finding, Object: object})
		t = &f.report.Troubles[len(f.report.Troubles)-1]
	}
	if t.Count == 0 || t.Good && now.Sub(time.Unix(0, t.Last)) >= forgetAfter {
		t.Since, t.Count = now.UnixNano(), 0
	}
	t.Last, t.Good, t.Text = now.UnixNano(), false, imsg.Printable(text, 200)
	t.Count++
	f.dirty = true
}

// judge notes how something went.
func (f *family) judge(finding imsg.FindingID, object string, err error) {
	if err != nil {
		f.trouble(finding, object, err.Error())
	} else {
		f.success(finding, object)
	}
}

// success notes that something went well.
func (f *family) success(finding imsg.FindingID, object string) {
	if t := f.troubled(finding, object); t != nil && !t.Good {
		t.Good, f.dirty = true, true
	}
}

// recovered notes that rooms of m's kind do their work.
func (f *family) recovered(m *child) {
	f.success(imsg.FindingRestarted, m.Name.String())
	f.success(imsg.FindingHung, m.Name.String())
}

func (f *family) troubled(finding imsg.FindingID, object string) *imsg.Trouble {
	i := slices.IndexFunc(f.report.Troubles, func(t imsg.Trouble) bool { return t.Finding == finding && t.Object == object })
	if i < 0 {
		return nil
	}
	return &f.report.Troubles[i]
}

// lostLines notes how many lines of a room's log were lost, ever.
func (f *family) lostLines(room imsg.Room, before *uint64, ever uint64) {
	if ever != *before {
		if ever > *before {
			f.report.LinesLost += ever - *before
		}
		*before = ever
		f.trouble(imsg.FindingLogLost, room.String(), "the log does not take them")
	} else {
		f.success(imsg.FindingLogLost, room.String())
	}
}
