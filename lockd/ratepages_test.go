package lockd

import (
	"math"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

func TestRateByHand(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 2, imsg.RateBytes: 7})
	c.RateDstExpiration = time.Hour
	h := open(t, plan{config: c, rates: storePath(t)})
	w := h.worker(0)
	o := h.operators()()
	kind := func(m order) imsg.Errno {
		t.Helper()
		d := ask(t, o, m)
		if (d.Errno == 0) != (d.Detail == "") {
			t.Errorf("%+v", d)
		}
		return d.Errno
	}
	show := func(client string) *imsg.RateRecord {
		t.Helper()
		return ask(t, o, &imsg.RateShow{Client: client})
	}
	for range 3 {
		if a := w.enter("192.0.2.7"); a.Refusal == imsg.Admitted {
			w.use(a.Number, imsg.RateTargets, 1)
		}
		h.clock.move(time.Second)
	}
	r := show("::ffff:192.0.2.7")
	e := r.Entry
	if e.Client != "192.0.2.7" || e.Damaged || e.Generation != 1 || e.Quotas[imsg.RateBytes] != 7 || e.Used[imsg.RateConnections] != 2 ||
		e.Tries[imsg.RateConnections] != 3 || e.Own || e.Expires-e.Cleared != int64(time.Minute) || e.Targets != 1 || len(r.Targets) != 1 || r.Targets[0].Address.String() != "192.0.2.25" {
		t.Errorf("%+v", r)
	}

	// Quotas of its own, above the configuration's and kept when that changes.
	if k := kind(&imsg.RateSetQuota{Client: "192.0.2.7", Quotas: []imsg.RateQuota{{Counter: imsg.RateConnections, Quota: 4}}}); k != 0 {
		t.Error(k)
	}
	c.RateGeneration, c.RateQuotas[imsg.RateConnections] = 99, 1
	h.reload(c)
	for i, want := range []imsg.Refusal{imsg.Admitted, imsg.Admitted, imsg.RefusedRate} {
		if a := w.enter("192.0.2.7"); a.Refusal != want {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if e := show("192.0.2.7").Entry; e.Generation != math.MaxUint64 || !e.Own || e.Quotas[imsg.RateConnections] != 4 || e.Quotas[imsg.RateBytes] != 7 {
		t.Errorf("%+v", e)
	}
	// One nobody has seen yet, in the network's name.
	if k := kind(&imsg.RateSetQuota{Client: "2001:db8::25", Generation: 100, Quotas: []imsg.RateQuota{{Counter: imsg.RateConnections, Quota: 0}}}); k != 0 {
		t.Error(k)
	}
	for range 3 {
		if a := w.enter("2001:db8::26"); a.Refusal != imsg.Admitted || a.Uses.Has(imsg.RateConnections) {
			t.Errorf("%+v", a)
		}
	}
	// By the name that is shown, too; not by another network's.
	if e := show("2001:db8::/64").Entry; e.Client != "2001:db8::" || e.Bits != 64 || e.Generation != 100 {
		t.Errorf("%+v", e)
	}
	for _, other := range []string{"2001:db8::/48", "2001:db8::1/64", "192.0.2.7/24", "2001:db8::/", "joe"} {
		if r := show(other); r.NoClient == "" || r.Entry.Client != "" {
			t.Errorf("%s: %+v", other, r)
		}
	}
	if _, err := link.Ask(o, &imsg.RateShow{Client: "2001:db8::/64-joe"}, patience); err != imsg.NotFound {
		t.Error(err)
	}
	// What is shown is what the next use would find.
	h.clock.move(time.Hour)
	if e := show("192.0.2.7").Entry; e.Used[imsg.RateConnections] != 0 || e.Cleared != h.clock.now().UnixNano() {
		t.Errorf("%+v", e)
	}
	for range 5 {
		w.enter("192.0.2.7")
	}
	if k := kind(&imsg.RateReset{Client: "192.0.2.7"}); k != 0 {
		t.Error(k)
	}
	if r := show("192.0.2.7"); r.Entry.Used[imsg.RateConnections] != 0 || r.Entry.Quotas[imsg.RateConnections] != 4 || len(r.Targets) != 0 {
		t.Errorf("%+v", r)
	}
	h.server.records.Flush()
	if k := kind(&imsg.RateReset{Client: "192.0.2.7", Forget: true}); k != 0 {
		t.Error(k)
	}
	if _, err := link.Ask(o, &imsg.RateShow{Client: "192.0.2.7"}, patience); err != imsg.NotFound {
		t.Error(err)
	}
	h.server.records.Flush()
	if _, err := link.Ask(o, &imsg.RateShow{Client: "192.0.2.7"}, patience); err != imsg.NotFound {
		t.Error(err)
	}
	w.enter("192.0.2.7")
	if e := show("192.0.2.7").Entry; e.Quotas[imsg.RateConnections] != 1 || e.Generation != 99 {
		t.Errorf("%+v", e)
	}
	if l := ask(t, o, &imsg.Rates{}); len(l.Records) != 2 || l.Records[1].Client != "2001:db8::" || l.More || l.Period != int64(time.Minute) || l.Records[0].Bits != 32 {
		t.Errorf("%+v", l)
	}

	for _, row := range []struct {
		m    order
		want imsg.Errno
	}{
		{&imsg.RateSetQuota{Client: "../x"}, imsg.Invalid},
		{&imsg.RateSetQuota{Client: "192.0.2.7-joe"}, imsg.Invalid},
		{&imsg.RateSetQuota{Client: "192.0.2.7", Generation: 99}, imsg.Invalid},
		{&imsg.RateSetQuota{Client: "192.0.2.7", Quotas: []imsg.RateQuota{{Counter: imsg.RateCounters}}}, imsg.Invalid},
		{&imsg.RateSetQuota{Client: "2001:db8::1/128"}, imsg.Invalid},
		{&imsg.RateReset{Client: "joe"}, imsg.Invalid},
		{&imsg.RateReset{Client: "192.0.2.99"}, imsg.NotFound},
	} {
		if got := kind(row.m); got != row.want {
			t.Errorf("%+v: %v, want %v", row.m, got, row.want)
		}
	}
	if e := show("192.0.2.7").Entry; e.Generation != 99 {
		t.Errorf("what was refused has changed something: %+v", e)
	}
	c.RateExpiration = 0
	h.reload(c)
	if k := kind(&imsg.RateSetQuota{Client: "192.0.2.7"}); k != imsg.Invalid {
		t.Error(k)
	}
	if e := show("192.0.2.7").Entry; e.Used[imsg.RateConnections] != 1 || e.Expires != 0 {
		t.Errorf("the limiter is off, the record stays: %+v", e)
	}
	if _, err := link.Ask(o, &imsg.RateShow{Client: "192.0.2.99"}, patience); err != imsg.Off {
		t.Error(err)
	}
	if l := ask(t, o, &imsg.Rates{}); l.Period != 0 {
		t.Errorf("%+v", l)
	}
}
