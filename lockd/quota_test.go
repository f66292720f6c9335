package lockd

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// limited is the usual configuration with quotas for a minute.
func limited(q map[imsg.Rate]uint64) imsg.LockdConfig {
	c := usual()
	c.RateExpiration, c.RateDstExpiration, c.RateGeneration = time.Minute, -1, 1
	c.RateQuotas = make([]uint64, imsg.RateCounters)
	for r, n := range q {
		c.RateQuotas[r] = n
	}
	return c
}

func (h *house) reload(c imsg.LockdConfig) {
	h.t.Helper()
	h.Configure(&c)
}

func (w *testWorker) use(number uint64, c imsg.Rate, n uint64) imsg.Refusal {
	w.t.Helper()
	m, err := link.Ask(w, &imsg.QuotaUse{Number: number, Counter: c, Amount: n}, patience)
	if err != nil {
		w.t.Fatal(err)
	}
	return m.Refusal
}

func (w *testWorker) identify(number uint64, ident, target string) *imsg.Admission {
	w.t.Helper()
	m := &imsg.Ident{Number: number, Ident: ident}
	if target != "" {
		m.Target = at(target)
	}
	return ask(w.t, w.Conn, m)
}

func storePath(t testing.TB) string { return filepath.Join(t.TempDir(), "rates") }

// recordCount is how many clients something is remembered of.
func (h *house) recordCount() int {
	h.t.Helper()
	list, err := h.server.rates.List("", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(list.Records)
}

func TestConnectionsAreLimited(t *testing.T) {
	h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateConnections: 2, imsg.RateBytes: 5}), rates: storePath(t)})
	w := h.worker(0)
	for range 2 {
		a := w.enter("192.0.2.7")
		if a.Refusal != imsg.Admitted || a.Uses != 1<<imsg.RateConnections|1<<imsg.RateBytes {
			t.Errorf("%+v", a)
		}
		w.say(&imsg.Leave{Number: a.Number})
	}
	h.log.Has(t, "msg=RATELIMIT:PASS session=2 src=192.0.2.7 ident=\"\" counter=connections used=2 quota=2 tries=2")
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedRate || a.Number != 3 || h.liveCount() != 0 {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "msg=RATELIMIT:REJECT session=3 src=192.0.2.7 ident=\"\" counter=connections used=2 quota=2 tries=3")
	if a := w.enter("192.0.2.8"); a.Refusal != imsg.Admitted {
		t.Errorf("another client: %+v", a)
	}
	h.clock.move(time.Minute)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedRate {
		t.Errorf("at the end of the period: %+v", a)
	}
	h.clock.move(1)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("in a new period: %+v", a)
	}
}

func TestNetworksAreLimited(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 2})
	c.ClientPrefixIPv6 = 56
	h := open(t, plan{config: c})
	w := h.worker(0)
	w.enter("2001:db8:0:100::1")
	w.enter("2001:db8:0:1ff::2")
	if a := w.enter("2001:db8:0:180::3"); a.Refusal != imsg.RefusedRate || a.Same != 3 {
		t.Errorf("%+v", a)
	}
	if a := w.enter("2001:db8:0:200::1"); a.Refusal != imsg.Admitted || a.Same != 1 {
		t.Errorf("%+v", a)
	}
	// The sessions that are live are counted by the new length, too.
	c.ClientPrefixIPv6 = 128
	h.reload(c)
	if a := w.enter("2001:db8:0:100::1"); a.Same != 2 {
		t.Errorf("%+v", a)
	}
	for n := range uint64(7) {
		w.say(&imsg.Leave{Number: n})
	}
	if a := w.enter("2001:db8::9"); a.Sessions != 1 {
		t.Errorf("%+v", a)
	}
}

func TestUses(t *testing.T) {
	h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateRecipients: 3, imsg.RateBytes: 1000}), rates: storePath(t)})
	one, two := h.worker(0), h.worker(1)
	a, b := one.enter("192.0.2.7"), two.enter("192.0.2.7")
	for range 3 {
		if r := one.use(a.Number, imsg.RateRecipients, 1); r != imsg.Admitted {
			t.Error(r)
		}
	}
	// One client, whichever worker has the session.
	if r := two.use(b.Number, imsg.RateRecipients, 1); r != imsg.RefusedRate {
		t.Error(r)
	}
	if r := two.use(b.Number, imsg.RateBytes, 1001); r != imsg.RefusedRate {
		t.Error(r)
	}
	if r := two.use(b.Number, imsg.RateBytes, 1000); r != imsg.Admitted {
		t.Error(r)
	}
	if r := two.use(b.Number, imsg.RateAuthRejects, 1); r != imsg.Admitted {
		t.Errorf("a counter that is off refuses: %d", r)
	}
	for _, row := range []struct {
		w    *testWorker
		m    imsg.QuotaUse
		want imsg.Errno
	}{
		{one, imsg.QuotaUse{Number: b.Number, Counter: imsg.RateBytes, Amount: 1}, imsg.NotFound},
		{one, imsg.QuotaUse{Number: 99, Counter: imsg.RateBytes, Amount: 1}, imsg.NotFound},
	} {
		if _, err := link.Ask(row.w, &row.m, patience); err != row.want {
			t.Errorf("%+v: %v, want %v", row.m, err, row.want)
		}
	}
}

// TestTLSIsLimited: a server counts once, octets when they have passed, and those that are
// told of with Leave, too.
func TestTLSIsLimited(t *testing.T) {
	h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateTLSServers: 2, imsg.RateTLSBytes: 100, imsg.RateTLSSessions: 9}), rates: storePath(t)})
	w := h.worker(0)
	enter := func(target string) uint64 {
		e := entering("192.0.2.7")
		e.Target = at(target)
		a, err := link.Ask(w, e, patience)
		if err != nil || a.Refusal != imsg.Admitted {
			t.Fatalf("%+v, %v", a, err)
		}
		if want := imsg.RateSet(1<<imsg.RateTLSServers | 1<<imsg.RateTLSBytes | 1<<imsg.RateTLSSessions); a.Uses != want {
			t.Errorf("it asks for %b, want %b", a.Uses, want)
		}
		return a.Number
	}
	for i, row := range []struct {
		server string
		want   imsg.Refusal
	}{
		{"198.51.100.1", imsg.Admitted},
		{"198.51.100.2", imsg.Admitted},
		{"198.51.100.1", imsg.Admitted},
		{"198.51.100.3", imsg.RefusedRate},
		{"2001:db8::3", imsg.RefusedRate},
		{"198.51.100.2", imsg.Admitted},
	} {
		if r := w.use(enter(row.server), imsg.RateTLSServers, 1); r != row.want {
			t.Errorf("%d: %s: %d, want %d", i, row.server, r, row.want)
		}
	}
	one, two := enter("198.51.100.1"), enter("198.51.100.1")
	if r := w.use(one, imsg.RateTLSBytes, 40); r != imsg.Admitted {
		t.Error(r)
	}
	w.say(&imsg.Leave{Number: one, Passed: 1000})
	imsgtest.Until(t, "the octets are counted", func() bool {
		r, err := h.server.rates.Show("192.0.2.7")
		return err == nil && r.Entry.Used[imsg.RateTLSBytes] == 100 && r.Entry.Tries[imsg.RateTLSBytes] == 1040
	})
	if r := w.use(two, imsg.RateTLSBytes, 1); r != imsg.RefusedRate {
		t.Error(r)
	}
	if r := w.use(two, imsg.RateTLSSessions, 1); r != imsg.Admitted {
		t.Errorf("another quota is held against it: %d", r)
	}
}

func TestWithoutLimiter(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1, imsg.RateBytes: 1})
	c.RateExpiration = 0
	h := open(t, plan{config: c})
	w := h.worker(0)
	w.enter("192.0.2.7")
	a := w.enter("192.0.2.7")
	if a.Refusal != imsg.Admitted || a.Uses != 0 {
		t.Errorf("%+v", a)
	}
	if r := w.use(a.Number, imsg.RateBytes, 1000); r != imsg.Admitted {
		t.Error(r)
	}
	if n := h.recordCount(); n != 0 {
		t.Errorf("%d records were made", n)
	}
}

func TestGenerations(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateMessages: 5})
	h := open(t, plan{config: c, rates: storePath(t)})
	w := h.worker(0)
	a := w.enter("192.0.2.7")
	for range 3 {
		w.use(a.Number, imsg.RateMessages, 1)
	}
	c.RateQuotas[imsg.RateMessages] = 2
	h.reload(c)
	if r := w.use(a.Number, imsg.RateMessages, 1); r != imsg.Admitted {
		t.Errorf("new quotas without a new generation: %d", r)
	}
	c.RateGeneration++
	h.reload(c)
	if r := w.use(a.Number, imsg.RateMessages, 1); r != imsg.RefusedRate {
		t.Errorf("old quotas under a new generation: %d", r)
	}
	// A counter that stands above its quota refuses everything.
	if r := w.enter("192.0.2.7"); r.Refusal != imsg.RefusedRate {
		t.Errorf("%+v", r)
	}
}

func TestTargetsAreLimited(t *testing.T) {
	c := limited(nil)
	c.RateDstExpiration = time.Hour
	h := open(t, plan{config: c, rates: storePath(t)})
	w := h.worker(0)
	visit := func(i int) imsg.Refusal {
		m := entering("192.0.2.7")
		m.Target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 25)
		a := ask(t, w.Conn, m)
		if a.Refusal != imsg.Admitted || !a.Uses.Has(imsg.RateTargets) {
			t.Fatalf("%d: %+v", i, a)
		}
		return w.use(a.Number, imsg.RateTargets, 1)
	}
	for i := range rates.MaxTargets {
		h.clock.move(1)
		if r := visit(i); r != imsg.Admitted {
			t.Fatalf("%d: %d", i, r)
		}
	}
	if r := visit(100); r != imsg.RefusedTargets {
		t.Errorf("one more than fit: %d", r)
	}
	h.log.Has(t, "counter=targets dst=198.51.100.100:25")
	if r := visit(5); r != imsg.Admitted {
		t.Errorf("a known target: %d", r)
	}
	h.clock.move(time.Hour)
	if r := visit(100); r != imsg.Admitted {
		t.Errorf("an hour later: %d", r)
	}
}

func TestOrderOfRates(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1})
	c.RateDstExpiration = time.Hour
	h := open(t, plan{config: c})
	w := h.worker(0)
	h.write("192.0.2.7", "VIRUS\n")
	for range 3 {
		if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedLocked {
			t.Errorf("the lock goes first: %+v", a)
		}
	}
	h.server.locks.Files.Remove("192.0.2.7")
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("a locked connection was counted: %+v", a)
	}
	for i := range rates.MaxTargets {
		h.server.rates.Judge(&rates.Use{
			Client: "192.0.2.7", Counter: imsg.RateTargets, Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 25),
		})
	}
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedRate {
		t.Errorf("connections go before targets: %+v", a)
	}
}

func remote() imsg.LockdConfig {
	c := usual()
	c.Mode = imsg.ModeRemote
	c.LockOn |= imsg.LockMaxIdent
	return c
}

func TestIdent(t *testing.T) {
	c := remote()
	c.MaxPerIdent = 2
	h := open(t, plan{config: c})
	runs := h.script()
	w := h.worker(0)
	h.write("192.0.2.7", "VIRUS\n") // counts for nobody here
	var all []uint64
	for i := range 2 {
		a := w.enter("192.0.2.7")
		if a = w.identify(a.Number, "joe", "192.0.2.25"); a.Refusal != imsg.Admitted || a.Same != i+1 {
			t.Fatalf("%+v", a)
		}
		all = append(all, a.Number)
	}
	other := w.enter("192.0.2.7")
	if a := w.identify(other.Number, "", "192.0.2.25"); a.Refusal != imsg.Admitted || a.Same != 1 {
		t.Errorf("no ident: %+v", a)
	}
	pending := w.enter("192.0.2.7")
	a := w.enter("192.0.2.7")
	if a = w.identify(a.Number, "joe", "192.0.2.26"); a.Refusal != imsg.RefusedIdent || a.Same != 3 || h.liveCount() != 4 {
		t.Errorf("%+v, %d live", a, h.liveCount())
	}
	r := receive(t, runs)
	if r.Found != imsg.FoundMaxIdent || r.Ident != "joe" || r.IdentCount != 3 || r.LockFile != "/locks/192.0.2.7-joe" ||
		r.Target != at("192.0.2.26") || r.Number != a.Number || r.Local.Addr().IsUnspecified() {
		t.Errorf("%+v", r)
	}
	if h.read("192.0.2.7-joe") != "MAX_IDENT\n" {
		t.Error("not locked")
	}
	told := []uint64{receive(t, w.locked), receive(t, w.locked)}
	if slices.Sort(told); !slices.Equal(told, all) {
		t.Errorf("told %v, want %v", told, all)
	}
	// One whose ident is not known yet was not told; it is caught now.
	silent(t, w.locked)
	w.say(&imsg.Leave{Number: all[0]})
	w.say(&imsg.Leave{Number: all[1]})
	if a := w.identify(pending.Number, "joe", "192.0.2.25"); a.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", a)
	}
	if _, err := link.Ask(w, &imsg.Ident{Number: pending.Number, Ident: "x"}, patience); err != imsg.NotFound {
		t.Errorf("a refused session is still live: %v", err)
	}
	h.log.Has(t, "msg=LOCK:LOCKED session=4 src=192.0.2.7 ident=joe")
	if _, err := link.Ask(h.worker(1), &imsg.Ident{Number: other.Number, Ident: "x"}, patience); err != imsg.NotFound {
		t.Errorf("another worker's session: %v", err)
	}
}

func TestNoIdentIsAName(t *testing.T) {
	h := open(t, plan{config: remote()})
	w := h.worker(0)
	h.write("192.0.2.7-", "VIRUS\n")
	h.write("192.0.2.7-a_b", "VIRUS\n")
	for ident, want := range map[string]imsg.Refusal{"": imsg.RefusedLocked, "a/b": imsg.RefusedLocked, "joe": imsg.Admitted} {
		a := w.enter("192.0.2.7")
		if a = w.identify(a.Number, ident, ""); a.Refusal != want {
			t.Errorf("%q: %+v", ident, a)
		}
	}
}

func TestIdentIsLimited(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1})
	c.Mode, c.RateDstExpiration = imsg.ModeRemoteUDP, time.Hour
	h := open(t, plan{config: c})
	w := h.worker(0)
	next := func(ident string) *imsg.Admission {
		a := w.enter("192.0.2.7")
		if a.Refusal != imsg.Admitted || a.Uses != 0 {
			t.Errorf("%+v", a)
		}
		return w.identify(a.Number, ident, "192.0.2.25")
	}
	if a := next("joe"); a.Refusal != imsg.Admitted || a.Uses != 1<<imsg.RateConnections|1<<imsg.RateTargets {
		t.Errorf("%+v", a)
	}
	if a := next("jim"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	a := next("joe")
	if a.Refusal != imsg.RefusedRate {
		t.Errorf("%+v", a)
	}
	// Said twice, an ident changes nothing: no other's quota, no other's lock.
	b := next("ann")
	w.identify(b.Number, "joe", "")
	n := h.recordCount()
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	if s := h.server.live.sessions.Of(b.Number); s.ident != "ann" || n != 3 {
		t.Errorf("%+v, %d records", s, n)
	}
}

// A connection counts once its target is found: one that is not costs nothing.
func TestTargetThatIsFoundLater(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1})
	c.Mode, c.RateDstExpiration = imsg.ModePf, time.Hour
	h := open(t, plan{config: c})
	w := h.worker(0)
	enter := func() *imsg.Admission {
		m := entering("192.0.2.7")
		m.Target = netip.AddrPort{}
		return ask(t, w.Conn, m)
	}
	for range 3 {
		if a := enter(); a.Refusal != imsg.Admitted || a.Uses != 0 {
			t.Errorf("%+v", a)
		}
	}
	a := w.identify(enter().Number, "nobody", "198.51.100.1")
	if a.Refusal != imsg.Admitted || a.Uses != 1<<imsg.RateConnections|1<<imsg.RateTargets || w.use(a.Number, imsg.RateTargets, 1) != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	if a := w.identify(enter().Number, "nobody", "198.51.100.1"); a.Refusal != imsg.RefusedRate {
		t.Errorf("%+v", a)
	}
	if r, err := h.server.rates.Show("192.0.2.7"); err != nil || r.Entry.Used[imsg.RateConnections] != 1 || len(r.Targets) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIdentAfterACrash(t *testing.T) {
	c := remote()
	c.MaxPerIdent = 1
	counterFile := imsgtest.TempFile(t)
	h := open(t, plan{config: c, counterFile: counterFile})
	w := h.worker(0)
	a, b := w.enter("192.0.2.7"), w.enter("192.0.2.7")
	h.close()
	h = open(t, plan{config: c, counterFile: counterFile})
	w = h.hire(0)
	w.say(&imsg.Announce{Sessions: []imsg.LiveSession{
		{Number: a.Number, Client: at("192.0.2.7"), State: imsg.StateData, Ident: "joe"},
		{Number: b.Number, Client: at("192.0.2.7"), State: imsg.StateIdent},
	}, Last: true})
	if a := w.identify(b.Number, "joe", "192.0.2.25"); a.Refusal != imsg.RefusedIdent || a.Same != 2 {
		t.Errorf("%+v", a)
	}
}

func BenchmarkQuotaUse(b *testing.B) {
	h := open(b, plan{config: limited(map[imsg.Rate]uint64{imsg.RateRecipients: 1 << 60}), rates: storePath(b)})
	w := h.worker(0)
	a := w.enter("10.0.1.1")
	b.ReportAllocs()
	for b.Loop() {
		w.use(a.Number, imsg.RateRecipients, 1)
	}
}

// TestGiveBackIsOnesOwn: a worker gives back no more than its own session has used, so
// that none frees a client of what it used in others' sessions.
func TestGiveBackIsOnesOwn(t *testing.T) {
	h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateMessages: 10})})
	one, two := h.worker(0), h.worker(1)
	a, b := one.enter("192.0.2.7"), two.enter("192.0.2.7")
	one.use(a.Number, imsg.RateMessages, 6)
	two.use(b.Number, imsg.RateMessages, 1)
	for range 3 {
		two.say(&imsg.QuotaUnused{QuotaUse: imsg.QuotaUse{Number: b.Number, Counter: imsg.RateMessages, Amount: 6}})
	}
	two.say(&imsg.QuotaUnused{QuotaUse: imsg.QuotaUse{Number: a.Number, Counter: imsg.RateMessages, Amount: 6}})
	if r := two.use(b.Number, imsg.RateMessages, 5); r != imsg.RefusedRate {
		t.Errorf("what another session has used was given back: %v", r)
	}
	if r := two.use(b.Number, imsg.RateMessages, 4); r != imsg.Admitted {
		t.Errorf("what its own has used was not: %v", r)
	}
}
