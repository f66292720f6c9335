package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
)

// TestExempt: what an operator adds is kept, listed, and removed; what makes no sense is
// told.
func TestExempt(t *testing.T) {
	h := open(t, usual(), func(d *desk) {
		f, err := os.OpenFile(filepath.Join(d.t.TempDir(), "exempt"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			d.t.Fatal(err)
		}
		d.Exempt.Open(f)
	})
	c := h.connect()
	for _, row := range []struct {
		q     imsg.Question[imsg.Done]
		errno imsg.Errno
		says  string
	}{
		{&imsg.ExemptAdd{Who: "192.0.2.7/24", From: imsg.UsualExempts, For: time.Hour, Reason: "a partner"}, 0, ""},
		{&imsg.ExemptAdd{Who: "server=::ffff:192.0.2.25", From: imsg.UsualExempts}, 0, ""},
		{&imsg.ExemptAdd{Who: "joe", From: imsg.UsualExempts}, imsg.Invalid, `"joe" is neither an address`},
		{&imsg.ExemptAdd{Who: "192.0.2.7"}, imsg.Invalid, "no check"},
		{&imsg.ExemptAdd{Who: "10.0.0.0/7", From: imsg.UsualExempts}, imsg.Invalid, "say --yes"},
		{&imsg.ExemptAdd{Who: "2000::/18", From: imsg.UsualExempts}, imsg.Invalid, "say --yes"},
		{&imsg.ExemptAdd{Who: "::/0", From: imsg.UsualExempts, Wide: true}, 0, ""},
		{&imsg.ExemptRemove{Who: "::/0"}, 0, ""},
		{&imsg.ExemptRemove{Who: "::/0"}, imsg.NotFound, "no exemption for ::/0"},
		{&imsg.ExemptRemove{Who: "joe"}, imsg.Invalid, "neither an address"},
	} {
		if d := ask(t, c, row.q); d.Errno != row.errno || !strings.Contains(d.Detail, row.says) || row.says == "" && d.Detail != "" {
			t.Errorf("%+v: %+v", row.q, d)
		}
	}
	list := ask(t, c, &imsg.Exemptions{})
	if len(list.Exemptions) != 2 || list.Exemptions[0].Who != "192.0.2.0/24" || list.Exemptions[0].Reason != "a partner" || list.Exemptions[1].Who != "server=192.0.2.25" {
		t.Errorf("%+v", list)
	}
	h.log.Has(t, `order="exempt add --from lock,limit,rate,dnsbl,earlytalk --for 1h0m0s" client=192.0.2.7/24`)
	h.log.Has(t, `order="exempt remove" client=::/0`)
	if n := ask(t, c, &imsg.Status{}).Exempt; n != 2 {
		t.Errorf("status: %d", n)
	}
	h.ahead.Store(int64(time.Hour))
	if list := ask(t, c, &imsg.Exemptions{}); len(list.Exemptions) != 1 {
		t.Errorf("%+v", list)
	}
	for i := 1; i < exemptions.Max; i++ {
		if d := ask(t, c, &imsg.ExemptAdd{Who: fmt.Sprintf("198.51.%d.%d", i/250, i%250), From: 1}); d.Errno != 0 {
			t.Fatalf("%d: %+v", i, d)
		}
	}
	if d := ask(t, c, &imsg.ExemptAdd{Who: "192.0.2.7", From: 1}); d.Errno != imsg.Busy || !strings.Contains(d.Detail, "may be no more") {
		t.Errorf("one more: %+v", d)
	}
}

// TestExemptUnkept: one that cannot be kept is in force, and its operator is told.
func TestExemptUnkept(t *testing.T) {
	h := open(t, usual())
	c := h.connect()
	if d := ask(t, c, &imsg.ExemptAdd{Who: "192.0.2.7", From: 1}); d.Errno != 0 || !strings.Contains(d.Detail, "will be forgotten") {
		t.Errorf("%+v", d)
	}
	if d := ask(t, c, &imsg.ExemptRemove{Who: "192.0.2.7"}); d.Errno != 0 || !strings.Contains(d.Detail, "may be there again") {
		t.Errorf("%+v", d)
	}
}
