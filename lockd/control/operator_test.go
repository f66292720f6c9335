package control

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// Operators that wait for an answer keep their place, and one too many hears so.
func TestOperatorsAreBounded(t *testing.T) {
	h := open(t, usual())
	h.deaf.Store(true)
	connect := func() *link.Conn { return h.connectAs(imsg.Control, 1000) }
	var all []*link.Conn
	for range seating[imsg.Control].all {
		c := connect()
		go link.Ask(c, &imsg.ReloadNow{}, patience)
		receive(t, h.asked)
		all = append(all, c)
	}
	extra := connect()
	if _, err := link.Ask(extra, &imsg.Status{}, patience); err != imsg.Gone {
		t.Errorf("one too many: %v", err)
	}
	// Whoever may connect could fill the log with these.
	for range 5 {
		link.Ask(connect(), &imsg.Status{}, patience)
	}
	h.ahead.Add(int64(time.Minute))
	link.Ask(connect(), &imsg.Status{}, patience)
	h.log.Has(t, "too many at once\" count=1")
	h.log.Has(t, "too many at once\" count=6")
	if n := strings.Count(h.log.String(), "too many at once"); n != 2 {
		t.Errorf("it was told %d times", n)
	}
	all[0].Close()
	imsgtest.Until(t, "a free seat", func() bool {
		_, err := link.Ask(connect(), &imsg.Status{}, patience)
		return err == nil
	})
}

// One that asks nothing makes way: the one that is silent for the longest time.
func TestIdleOperatorsMakeWay(t *testing.T) {
	h := open(t, usual())
	connect := h.connect
	var all []*link.Conn
	for range seating[imsg.Control].all {
		c := connect()
		ask(t, c, &imsg.Status{})
		all = append(all, c)
	}
	ask(t, all[0], &imsg.Status{})
	for range 3 {
		ask(t, connect(), &imsg.Status{})
	}
	for i, c := range all {
		if i >= 1 && i <= 3 {
			receive(t, c.Done())
		} else {
			ask(t, c, &imsg.Status{})
		}
	}
	h.log.HasNot(t, "too many at once")
}

func TestOrdersAreLogged(t *testing.T) {
	h := open(t, usual())
	c := h.connect()
	ask(t, c, &imsg.Status{})
	ask(t, c, &imsg.Locks{})
	for _, m := range []order{
		&imsg.Lock{Name: "192.0.2.7", For: 90 * time.Minute}, &imsg.Unlock{Name: "192.0.2.7"}, &imsg.Unlock{Name: "rubbish"},
		&imsg.RateSetQuota{Client: "192.0.2.8", Quotas: []imsg.RateQuota{{Counter: imsg.RateMessages, Quota: 9}}},
		&imsg.RateReset{Client: "192.0.2.8"}, &imsg.RateReset{Client: "192.0.2.8", Forget: true},
		&imsg.ReloadNow{}, &imsg.StopNow{}, &imsg.StopNow{Now: true}, &imsg.EndSession{Number: 7},
	} {
		link.Ask(c, m, patience)
	}
	link.Ask(c, &imsg.Trace{Client: netip.MustParseAddr("192.0.2.0"), Bits: 24, Sessions: 2, For: time.Minute}, patience, imsgtest.TempFile(t))
	uid := fmt.Sprintf("msg=\"operator's order\" uid=%d order=", os.Getuid())
	for _, order := range []string{
		`"lock add --for 1h30m0s" client=192.0.2.7`, `"lock remove" client=192.0.2.7`, `"lock remove" client=rubbish`, `"rate set messages=9" client=192.0.2.8`,
		`"rate reset" client=192.0.2.8`, `"rate reset --keep-quotas" client=192.0.2.8`, "reload\n", "stop\n", `"stop --now"`, `"kill 7"`,
		`"trace --sessions 2 --for 1m0s" client=192.0.2.0/24`,
	} {
		h.log.Has(t, uid+order)
	}
	if n := strings.Count(h.log.String(), "operator's order"); n != 11 {
		t.Errorf("%d orders were logged:\n%s", n, h.log)
	}
	for i := range imsg.Table {
		e := &imsg.Table[i]
		_, silent := e.New().(*imsg.ScanNow) // it changes nothing, and there may be thousands
		if order, _ := orderOf(e.New()); (e.Order() && !silent) != (order != "") {
			t.Errorf("%s is logged as %q", e.Name, order)
		}
	}
}
