package lockd

import (
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
)

// TestCertificates: one that ends soon, has ended, or is not renewed is a finding until it
// is well, or until the configuration in force has it no more, whose room may be there yet.
// What the room has told is true until its replacement tells.
func TestCertificates(t *testing.T) {
	config := usual()
	config.Certificates = 1
	h := open(t, plan{config: config})
	now := h.clock.now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	old, keys := h.Join(imsg.Keys, 1, nil), h.Join(imsg.Keys, 2, nil)
	tell := func(generation int, all ...imsg.CertificateStatus) {
		t.Helper()
		h.clock.move(time.Millisecond) // no two things happen at once
		conn := keys
		if generation < 2 {
			conn = old
		}
		if err := conn.Send(&imsg.Certificates{Generation: generation, List: all}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want ...string) {
		t.Helper()
		var got []string
		eventually(t, "findings: "+strings.Join(want, ", "), func() bool {
			got = nil
			for _, f := range (view{h.server}).Overview().Findings {
				if f.Finding == imsg.FindingCertificate && !f.Good {
					got = append(got, f.Object+": "+f.Text)
				}
			}
			if len(got) != len(want) {
				return false
			}
			for i := range got {
				if !strings.HasPrefix(got[i], want[i]) {
					return false
				}
			}
			return true
		})
	}
	const long = 90 * 24 * time.Hour
	tell(1, imsg.CertificateStatus{Name: "old", End: in(time.Hour)})
	is("old: it ends at ")
	config.Certificates = 2
	h.Configure(&config)
	is("old: it ends at ")
	tell(
		2, imsg.CertificateStatus{Name: "good", End: in(long)}, imsg.CertificateStatus{Name: "soon", End: in(imsg.EndsSoon - time.Hour)},
		imsg.CertificateStatus{Name: "both", End: in(long)}, imsg.CertificateStatus{Name: "both", End: in(-time.Hour)},
		imsg.CertificateStatus{Name: "stale", End: in(long), Problem: "no such file"},
	)
	tell(1, imsg.CertificateStatus{Name: "old", End: in(time.Hour)})
	is("both: it has ended at ", "soon: it ends at ", "stale: the one on disk is not taken: no such file")
	if all := (view{h.server}).Overview().Certificates; len(all) != 5 {
		t.Errorf("%+v", all)
	}
	tell(2, imsg.CertificateStatus{Name: "good", End: in(long)}, imsg.CertificateStatus{Name: "soon", End: in(long)},
		imsg.CertificateStatus{Name: "early", Begin: in(time.Hour), End: in(long)})
	is("early: it is not valid before ")
	tell(2, imsg.CertificateStatus{Name: "good", End: in(long)}, imsg.CertificateStatus{Name: "soon", End: in(long)})
	is()
	h.clock.move(findings.Quiet)
	eventually(t, "no finding", func() bool { return len((view{h.server}).Overview().Findings) == 0 })
	h.clock.move(long)
	is("good: it has ended", "soon: it has ended")
	keys.Close()
	is("good: it has ended", "soon: it has ended")
	keys = h.Join(imsg.Keys, 3, nil)
	tell(2, imsg.CertificateStatus{Name: "soon", End: in(-time.Hour)})
	is("soon: it has ended")
	config.Certificates = 0
	h.Configure(&config)
	is()
	eventually(t, "no finding, and no certificate", func() bool {
		o := (view{h.server}).Overview()
		return len(o.Findings) == 0 && len(o.Certificates) == 0
	})
}
