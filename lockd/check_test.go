package lockd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestHealthChecks: those of a load balancer hold a place of all, and none of its address:
// no limit, lock, quota or event is theirs, nor when another lockd hears of them.
func TestHealthChecks(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 2})
	c.MaxPerHost, c.MaxConnections, c.MaxLoad, c.LockOn = 1, 6, 2, imsg.LockVirus|imsg.LockMaxHost
	dir, counterFile := t.TempDir(), imsgtest.TempFile(t)
	p := plan{config: c, dir: dir, counterFile: counterFile, rates: storePath(t)}
	h := open(t, p)
	w, operator := h.worker(0), h.operators()()
	check := func(w *testWorker) *imsg.Admission {
		t.Helper()
		m := entering("192.0.2.9")
		m.Check = true
		return ask(t, w.Conn, m)
	}
	h.write("192.0.2.9", "VIRUS\n")
	h.Tell(&imsg.Load{Average: 3})
	imsgtest.Until(t, "the load counts", func() bool { return w.enter("192.0.2.7").Refusal == imsg.RefusedLoad })
	var checks []uint64
	for range 5 {
		a := check(w)
		if a.Refusal != imsg.Admitted || a.Uses != 0 || a.Same != 1 || a.Exempt != imsg.AllExempts {
			t.Fatalf("%+v", a)
		}
		checks = append(checks, a.Number)
	}
	h.Tell(&imsg.Load{Average: 1})
	if err := os.Remove(filepath.Join(h.dir, "192.0.2.9")); err != nil {
		t.Fatal(err)
	}
	imsgtest.Until(t, "the load has gone", func() bool { return w.enter("192.0.2.9").Refusal == imsg.Admitted }) // the host's first
	if a := check(w); a.Refusal != imsg.RefusedConnections {
		t.Errorf("one more than there may be: %+v", a)
	}
	for _, number := range checks[:2] {
		if k := w.offend(imsg.Offence{Number: number, Transaction: 1, Found: imsg.FoundVirus, Virus: "Eicar"}); k != 0 || h.read("192.0.2.9") != "" {
			t.Errorf("%v, and a lock: %q", k, h.read("192.0.2.9"))
		}
		w.say(&imsg.Leave{Number: number})
	}
	list := ask(t, operator, &imsg.EventsAfter{Kinds: imsg.EventKindSet(0).With(imsg.EventSession).With(imsg.EventLock)})
	for _, e := range list.Events {
		if e.Client.Addr().String() == "192.0.2.9" && e.Detail == "close" || e.Kind == imsg.EventLock {
			t.Errorf("%+v", e)
		}
	}

	// The next lockd is told that they are such.
	h.close()
	h = open(t, p)
	w = h.hire(0)
	w.say(&imsg.Announce{Sessions: []imsg.LiveSession{
		{Number: checks[2], Client: at("192.0.2.9"), Check: true},
		{Number: checks[3], Client: at("192.0.2.9"), Check: true},
	}, Last: true})
	if a := w.enter("192.0.2.9"); a.Refusal != imsg.Admitted || a.Same != 1 || a.Sessions != 3 {
		t.Errorf("%+v", a)
	}
	if k := w.offend(imsg.Offence{Number: checks[3], Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("192.0.2.9") != "" {
		t.Errorf("%v, and a lock: %q", k, h.read("192.0.2.9"))
	}
	w.say(&imsg.Leave{Number: checks[2]})
	w.say(&imsg.Leave{Number: checks[3]})
	imsgtest.Until(t, "they have left", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		return h.server.live.sessions.Len() == 1
	})
}
