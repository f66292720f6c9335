package lockd

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// exempts hands the file of exemptions over.
func (h *house) exempts(path string) {
	h.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Tell(&imsg.ExemptFile{}, f)
	f.Close()
}

func set(all ...imsg.Exempt) (from imsg.ExemptSet) {
	for _, e := range all {
		from = from.With(e)
	}
	return from
}

// spare exempts somebody.
func spare(t testing.TB, operator *link.Conn, who string, lasting time.Duration, from ...imsg.Exempt) {
	t.Helper()
	if d := ask(t, operator, &imsg.ExemptAdd{Who: who, From: set(from...), For: lasting}); d.Errno != 0 || d.Detail != "" {
		t.Fatalf("%s: %v %s", who, d.Errno, d.Detail)
	}
}

// sparing is a house with exemptions that are kept.
func sparing(t testing.TB, p plan) (*house, *testWorker, *link.Conn) {
	h := open(t, p)
	h.exempts(filepath.Join(t.TempDir(), "exempt"))
	w, operator := h.worker(0), h.operators()()
	imsgtest.Until(t, "the file is open", func() bool { return h.server.exempt.Keep() == nil && w.enter("198.51.100.1").Refusal == imsg.Admitted })
	return h, w, operator
}

// TestExemptFromLocks: who is exempt is not locked by what it does, and a lock that there
// is counts as soon as it is exempt no more.
func TestExemptFromLocks(t *testing.T) {
	h, w, operator := sparing(t, plan{config: usual()})
	runs := h.script()
	live := w.enter("192.0.2.7")
	spare(t, operator, "192.0.2.0/29", time.Minute, imsg.ExemptLock)
	a := w.enter("192.0.2.7")
	if a.Exempt != set(imsg.ExemptLock) {
		t.Errorf("%+v", a)
	}
	for _, s := range []*imsg.Admission{a, live} { // locks are looked at as of now
		if k := w.offend(imsg.Offence{Number: s.Number, Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("192.0.2.7") != "" {
			t.Errorf("%v, and its lock is %q", k, h.read("192.0.2.7"))
		}
	}
	silent(t, runs)
	h.write("192.0.2.7", "VIRUS\n")
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	h.log.HasNot(t, "LOCK:LOCKED")
	h.clock.move(time.Minute)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedLocked || a.Exempt != 0 {
		t.Errorf("it is exempt no more: %+v", a)
	}
	imsgtest.Until(t, "that is told", func() bool { return h.log.Count("EXEMPT:EXPIRED who=192.0.2.0/29 from=lock") == 1 })

	// A client that is not exempt itself is locked, and those of its network that are not.
	spare(t, operator, "2001:db8::7", 0, imsg.ExemptLock)
	exempt, other, caught := w.enter("2001:db8::7"), w.enter("2001:db8::8"), w.enter("2001:db8::9")
	if k := w.offend(imsg.Offence{Number: caught.Number, Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("2001:db8::") == "" {
		t.Errorf("%v", k)
	}
	if n := receive(t, w.locked); n != other.Number {
		t.Errorf("%d is told to be locked, of %d and %d", n, exempt.Number, other.Number)
	}
	silent(t, w.locked)
	if a := w.enter("2001:db8::7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	if a := w.enter("2001:db8::8"); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
}

// TestExemptFromLimits: max_per_host and max_per_ident do not refuse, and lock nobody;
// max_connections and max_load do.
func TestExemptFromLimits(t *testing.T) {
	c := usual()
	c.Mode, c.MaxPerHost, c.MaxPerIdent, c.MaxConnections, c.MaxLoad = imsg.ModeRemote, 3, 1, 8, 2
	h, w, operator := sparing(t, plan{config: c})
	spare(t, operator, "192.0.2.7", 0, imsg.ExemptLimit)
	spare(t, operator, "server=192.0.2.25", 0, imsg.ExemptLimit)
	for range 5 {
		a := w.enter("192.0.2.7")
		if b := w.identify(a.Number, "joe", "192.0.2.26"); a.Refusal != imsg.Admitted || b.Refusal != imsg.Admitted {
			t.Errorf("%+v, %+v", a, b)
		}
	}
	// By the server, as soon as that is known.
	for range 2 {
		a := w.enter("192.0.2.8")
		if b := w.identify(a.Number, "joe", "192.0.2.25"); b.Refusal != imsg.Admitted || a.Exempt != set() && len(b.Exempt.Names()) != 1 {
			t.Errorf("%+v, %+v", a, b)
		}
	}
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedConnections {
		t.Errorf("%+v", a)
	}
	c.MaxConnections = 100
	h.reload(c)
	a := w.enter("192.0.2.8")
	if b := w.identify(a.Number, "joe", "192.0.2.26"); b.Refusal != imsg.RefusedIdent {
		t.Errorf("%+v", b)
	}
	h.Tell(&imsg.Load{Average: 3})
	imsgtest.Until(t, "the load counts", func() bool { return w.enter("192.0.2.7").Refusal == imsg.RefusedLoad })
}

// TestExemptFromLockAlone: a client that its limit refuses is not locked for that.
func TestExemptFromLockAlone(t *testing.T) {
	c := usual()
	c.MaxPerHost = 1
	h, w, operator := sparing(t, plan{config: c})
	spare(t, operator, "server=192.0.2.25", 0, imsg.ExemptLock)
	w.enter("192.0.2.7")
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedHost {
		t.Errorf("%+v", a)
	}
	spare(t, operator, "server=192.0.2.25", 0, imsg.ExemptRate)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedHost {
		t.Errorf("%+v", a)
	}
	eventually(t, "a lock", func() bool { return h.log.Count("LOCK:CREATED") > 0 }) // of the second: the first made none before
	if h.log.Count("LOCK:CREATED") != 1 {
		t.Error("it was locked while it was exempt")
	}
}

// TestExemptFromRates: quotas neither count nor refuse.
func TestExemptFromRates(t *testing.T) {
	h, w, operator := sparing(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateConnections: 2, imsg.RateMessages: 5}), rates: storePath(t)})
	spare(t, operator, "192.0.2.7", 0, imsg.ExemptRate)
	before := h.recordCount()
	for range 4 {
		if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted || a.Uses != 0 {
			t.Errorf("%+v", a)
		}
	}
	if h.recordCount() != before {
		t.Error("it was counted")
	}
	if a := w.enter("192.0.2.8"); a.Uses == 0 {
		t.Errorf("another: %+v", a)
	}
	if d := ask(t, operator, &imsg.ExemptRemove{Who: "192.0.2.7"}); d.Errno != 0 {
		t.Errorf("%+v", d)
	}
	if a := w.enter("192.0.2.7"); a.Uses == 0 {
		t.Errorf("no more: %+v", a)
	}
}

// TestExemptOfServerLater: where the packet filter knows the server, a lock is looked at
// when that is known, if it may matter.
func TestExemptOfServerLater(t *testing.T) {
	c := usual()
	c.Mode = imsg.ModePf
	dir, counterFile := t.TempDir(), imsgtest.TempFile(t)
	h, w, operator := sparing(t, plan{config: c, dir: dir, counterFile: counterFile})
	h.write("192.0.2.7", "VIRUS\n")
	enter := func() *imsg.Admission {
		m := entering("192.0.2.7")
		m.Target = netip.AddrPort{}
		return ask(t, w.Conn, m)
	}
	if a := enter(); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
	spare(t, operator, "server=192.0.2.25", 0, imsg.ExemptLock)
	for server, want := range map[string]imsg.Refusal{"192.0.2.25": imsg.Admitted, "192.0.2.26": imsg.RefusedLocked} {
		a := enter()
		if b := w.identify(a.Number, "", server); a.Refusal != imsg.Admitted || b.Refusal != want {
			t.Errorf("%s: %+v, %+v", server, a, b)
		}
	}

	// So it is for a session that another lockd has let in, and that is announced.
	number := enter().Number
	h.close()
	next := open(t, plan{config: c, dir: dir, counterFile: counterFile})
	heir := next.hire(0)
	heir.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: number, Client: at("192.0.2.7")}}, Last: true})
	if b := heir.identify(number, "", "192.0.2.26"); b.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", b)
	}
}

// TestExemptionsAreKept: another lockd knows of them before it admits anybody, and a
// session of the first is spared what it was.
func TestExemptionsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exempt")
	c := usual()
	for life := range 2 {
		h := open(t, plan{config: c, waiting: true})
		h.exempts(path)
		h.Tell(&imsg.Start{})
		w, operator := h.worker(0), h.operators()()
		a := w.enter("192.0.2.7")
		list := ask(t, operator, &imsg.Exemptions{})
		if life == 0 {
			if a.Exempt != 0 || len(list.Exemptions) != 0 {
				t.Errorf("%+v, %+v", a, list)
			}
			spare(t, operator, "192.0.2.7", 0, imsg.ExemptSpam)
			h.reload(c)
			h.exempts(path)
			imsgtest.Until(t, "the same file is gone on with", func() bool { return w.enter("192.0.2.7").Exempt == set(imsg.ExemptSpam) })
		} else if a.Exempt != set(imsg.ExemptSpam) || len(list.Exemptions) != 1 {
			t.Errorf("%+v, %+v", a, list)
		}
		if n := ask(t, operator, &imsg.Status{}).Exempt; n != 1 {
			t.Errorf("status: %d", n)
		}
		h.close()
	}
}

// TestExplainExempt: who asks about a client hears what it is exempt from.
func TestExplainExempt(t *testing.T) {
	_, w, operator := sparing(t, plan{config: usual()})
	spare(t, operator, "2001:db8::7", 0, imsg.ExemptSpam)
	spare(t, operator, "2001:db8::/32", time.Hour, imsg.ExemptSPF)
	spare(t, operator, "server=192.0.2.25", 0, imsg.ExemptLimit)
	e := ask(t, operator, &imsg.Explain{About: "2001:db8::7"})
	if len(e.Exempt) != 2 || e.Exempt[0].Who != "2001:db8::7" || e.Exempt[1].Until == 0 {
		t.Errorf("%+v", e.Exempt)
	}
	a := w.enter("2001:db8::8")
	w.say(&imsg.Events{Events: []imsg.Event{{Kind: imsg.EventReject, ID: "1.7", Client: at("2001:db8::8"), Target: at("192.0.2.25"), Rule: imsg.RuleVirus}}})
	w.say(&imsg.Leave{Number: a.Number})
	w.enter("2001:db8::8") // behind them
	if e := ask(t, operator, &imsg.Explain{About: "1.7"}); len(e.Exempt) != 2 || e.Exempt[0].Who != "2001:db8::/32" || e.Exempt[1].Who != "server=192.0.2.25" {
		t.Errorf("%+v", e.Exempt)
	}
}

// TestExemptServers: where a session may come from one server to the next, what is said of
// one of them alone is for nobody, and what is said of each is for all.
func TestExemptServers(t *testing.T) {
	c := usual()
	c.Mode = imsg.ModeFixed
	for _, a := range []string{"198.51.100.25:25", "198.51.100.26:25"} {
		c.Servers = append(c.Servers, netip.MustParseAddrPort(a))
	}
	_, w, operator := sparing(t, plan{config: c})
	spared := func(client string) imsg.ExemptSet {
		a, err := link.Ask(w, &imsg.Enter{Client: netip.MustParseAddrPort(client + ":1"), Target: c.Servers[0]}, patience)
		if err != nil {
			t.Fatal(err)
		}
		return a.Exempt
	}
	spare(t, operator, "192.0.2.7", 0, imsg.ExemptSPF)
	spare(t, operator, "server=198.51.100.25", 0, imsg.ExemptLock, imsg.ExemptSpam)
	if a, b := spared("192.0.2.7"), spared("192.0.2.8"); a != set(imsg.ExemptSPF) || b != 0 {
		t.Errorf("%v, %v", a, b)
	}
	spare(t, operator, "server=198.51.100.26", 0, imsg.ExemptSpam)
	if a, b := spared("192.0.2.7"), spared("192.0.2.8"); a != set(imsg.ExemptSPF, imsg.ExemptSpam) || b != set(imsg.ExemptSpam) {
		t.Errorf("%v, %v", a, b)
	}
}
