package lockd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// login tells that a server has taken a log-in.
func (w *testWorker) login(number uint64, login string) *imsg.LoginResult {
	w.t.Helper()
	return ask(w.t, w.Conn, &imsg.LoginTaken{Number: number, Login: login})
}

// member enters from an address and logs in.
func (w *testWorker) member(client, login string) uint64 {
	w.t.Helper()
	a := w.enter(client)
	if a.Refusal != imsg.Admitted {
		w.t.Fatalf("%s: %+v", client, a)
	}
	if r := w.login(a.Number, login); r.Refusal != imsg.Admitted {
		w.t.Fatalf("%s: %+v", login, r)
	}
	return a.Number
}

// by is the usual configuration with one of lock.by's words.
func by(what imsg.By) imsg.LockdConfig {
	c := usual()
	c.LockBy = what
	return c
}

// logins is how many sessions are among those of a login, in all.
func (h *house) logins() (n int) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	for _, sessions := range h.server.live.logins {
		n += len(sessions)
	}
	return n + 1000*len(h.server.live.logins)
}

var lockBys = map[string]imsg.By{"address": imsg.ByAddress, "login": imsg.ByLogin, "both": imsg.ByBoth}

// TestLockBy: whose lock an offence makes, whose sessions hear of it while they run, and
// who is kept out from then on.
func TestLockBy(t *testing.T) {
	for _, row := range []struct {
		by, login string
		files     []string
		told      []string // of the live sessions below
	}{
		{"address", "", []string{"192.0.2.7"}, []string{"none@7", "bob@7", "eve@7"}},
		{"address", "bob", []string{"192.0.2.7"}, []string{"none@7", "bob@7", "eve@7"}},
		{"login", "", []string{"192.0.2.7"}, []string{"none@7", "bob@7", "eve@7"}},
		{"login", "bob", []string{"login=bob"}, []string{"bob@7", "bob@8"}},
		{"both", "", []string{"192.0.2.7"}, []string{"none@7", "bob@7", "eve@7"}},
		{"both", "bob", []string{"192.0.2.7", "login=bob"}, []string{"none@7", "bob@7", "eve@7", "bob@8"}},
	} {
		t.Run(row.by+" "+row.login, func(t *testing.T) {
			h := open(t, plan{config: by(lockBys[row.by])})
			runs := h.script()
			w, other := h.worker(0), h.worker(1)
			live := map[string]uint64{
				"none@7": w.enter("192.0.2.7").Number, "none@8": other.enter("192.0.2.8").Number,
				"bob@7": w.member("192.0.2.7", "bob"), "bob@8": other.member("192.0.2.8", "bob"),
				"eve@7": other.member("192.0.2.7", "eve"), "eve@8": w.member("192.0.2.8", "eve"),
			}
			caught := w.enter("192.0.2.7").Number
			if row.login != "" {
				w.login(caught, row.login)
			}
			if k := w.offend(imsg.Offence{Number: caught, Transaction: 1, Found: imsg.FoundVirus, Virus: "Eicar"}); k != 0 {
				t.Fatal(k)
			}
			if files := slices.Sorted(maps.Keys(h.files())); !slices.Equal(files, row.files) {
				t.Errorf("locks %q, want %q", files, row.files)
			}
			heard := make(map[uint64]bool)
			want := make(map[uint64]bool)
			for _, name := range row.told {
				want[live[name]] = true
			}
			eventually(t, fmt.Sprintf("%q are told", row.told), func() bool {
				for _, from := range []*testWorker{w, other} {
					for len(from.locked) > 0 {
						heard[<-from.locked] = true
					}
				}
				return maps.Equal(heard, want)
			})
			r := receive(t, runs)
			if r.Login != row.login || r.LockFile != "/locks/"+row.files[len(row.files)-1] {
				t.Errorf("the script is told of %q and %q", r.Login, r.LockFile)
			}
			silent(t, runs)
			h.log.Has(t, "LOCK:CREATED (/locks/"+row.files[0]+"): Eicar")

			// From then on.
			addressLocked := slices.Contains(row.files, "192.0.2.7")
			if a := w.enter("192.0.2.7"); (a.Refusal == imsg.RefusedLocked) != addressLocked {
				t.Errorf("the address: %+v", a)
			}
			for login, locked := range map[string]bool{"bob": slices.Contains(row.files, "login=bob"), "eve": false, "": false} {
				if a := w.login(w.enter("192.0.2.9").Number, login); (a.Refusal == imsg.RefusedLocked) != locked {
					t.Errorf("login %q: %+v", login, a)
				}
			}
		})
	}
}

// files are the lock files there are.
func (h *house) files() map[string]string {
	h.t.Helper()
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, e := range entries {
		all[e.Name()] = h.read(e.Name())
	}
	return all
}

// TestLoginLockByHand: an operator locks logins where they are locked at all, in whatever
// form he says them, and unlocks them anywhere.
func TestLoginLockByHand(t *testing.T) {
	for word, what := range lockBys {
		t.Run(word, func(t *testing.T) {
			h := open(t, plan{config: by(what)})
			w, operator := h.worker(0), h.operators()()
			live := w.member("192.0.2.7", "bob%20b")
			w.member("192.0.2.7", "eve")
			d := ask(t, operator, &imsg.Lock{Name: "login=Bob B"})
			if what == imsg.ByAddress {
				if d.Errno != imsg.Invalid || len(h.files()) > 0 {
					t.Errorf("%+v, %v", d, h.files())
				}
				h.write("login=bob%20b", "BY_HAND\n") // as it may be left of another configuration
			} else if d.Errno != 0 {
				t.Fatalf("%+v", d)
			} else if n := receive(t, w.locked); n != live {
				t.Errorf("%d is told, not %d", n, live)
			}
			silent(t, w.locked)
			if a := w.login(w.enter("192.0.2.8").Number, "bob%20b"); (a.Refusal == imsg.RefusedLocked) != (what != imsg.ByAddress) {
				t.Errorf("%+v", a)
			}
			if l := ask(t, operator, &imsg.Locks{}); len(l.Locks) != 1 || l.Locks[0].Name != "login=bob%20b" || l.Locks[0].Bits != 0 || (l.Locks[0].Refusals == 1) != (what != imsg.ByAddress) {
				t.Errorf("%+v", l)
			}
			if d := ask(t, operator, &imsg.Unlock{Name: "login=BOB b"}); d.Errno != 0 || len(h.files()) > 0 {
				t.Errorf("%+v, %v", d, h.files())
			}
			w.member("192.0.2.8", "bob%20b")
		})
	}
}

// TestLoginMark: a file of user 0 marks a login that is never locked.
func TestLoginMark(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of uid 0")
	}
	for word, what := range lockBys {
		t.Run(word, func(t *testing.T) {
			h := open(t, plan{config: by(what), uid: 65534})
			runs := h.script()
			h.write("login=bob", "")
			w := h.worker(0)
			n := w.member("192.0.2.7", "bob")
			if k := w.offend(imsg.Offence{Number: n, Transaction: 1, Found: imsg.FoundVirus}); k != 0 {
				t.Fatal(k)
			}
			want := map[string]string{"login=bob": ""}
			if what != imsg.ByLogin { // what it says is said of the login alone
				want["192.0.2.7"] = "VIRUS\n"
				receive(t, runs)
			}
			silent(t, runs)
			if got := h.files(); !maps.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			w.member("192.0.2.8", "bob")
		})
	}
}

// TestExemptLogin: what an exemption says of a login holds from the 235 on, and while it is
// there; locks, limits and quotas are looked at as of now.
func TestExemptLogin(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateMessages: 1})
	c.LockBy, c.RateBy, c.MaxPerLogin = imsg.ByLogin, imsg.ByLogin, 2
	h, w, operator := sparing(t, plan{config: c, rates: storePath(t)})
	bob := func() *imsg.LoginResult { return w.login(w.enter("192.0.2.7").Number, "bob") }

	h.write("login=bob", "VIRUS\n")
	if r := bob(); r.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", r)
	}
	spare(t, operator, "login=BOB", 0, imsg.ExemptLock)
	if r := bob(); r.Refusal != imsg.Admitted || r.Exempt != set(imsg.ExemptLock) || !r.Uses.Has(imsg.RateMessages) {
		t.Errorf("%+v", r)
	}
	bob()
	if r := bob(); r.Refusal != imsg.RefusedLogin {
		t.Errorf("the third: %+v", r)
	}
	spare(t, operator, "login=bob", 0, imsg.ExemptLock, imsg.ExemptLimit, imsg.ExemptRate)
	r := bob()
	if r.Refusal != imsg.Admitted || r.Uses.Has(imsg.RateMessages) {
		t.Errorf("%+v", r)
	}
	if r := w.login(w.enter("192.0.2.7").Number, "eve"); r.Exempt != 0 {
		t.Errorf("another: %+v", r)
	}

	// A live session is locked again when it is exempt no more, and not before.
	if err := os.Remove(filepath.Join(h.dir, "login=bob")); err != nil {
		t.Fatal(err)
	}
	live := w.enter("192.0.2.7").Number
	w.login(live, "bob")
	offends := func(transaction int) bool {
		w.offend(imsg.Offence{Number: live, Transaction: transaction, Found: imsg.FoundVirus})
		return h.read("login=bob") != ""
	}
	if offends(1) {
		t.Error("it is locked")
	}
	if d := ask(t, operator, &imsg.ExemptRemove{Who: "login=bob"}); d.Errno != 0 {
		t.Fatal(d)
	}
	if !offends(2) {
		t.Error("it is not locked")
	}
	if l := ask(t, operator, &imsg.Exemptions{}); len(l.Exemptions) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestMaxPerLogin: however many log in at once, so many may send as the limit says; the
// place of one that has left is free, and none of one that was turned away is counted.
func TestMaxPerLogin(t *testing.T) {
	c := usual()
	c.MaxPerLogin = 5
	h := open(t, plan{config: c})
	workers := []*testWorker{h.worker(0), h.worker(1)}
	var mu sync.Mutex
	var in, out []uint64
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			w := workers[i%2]
			n := w.enter(fmt.Sprintf("192.0.2.%d", i)).Number
			r, err := link.Ask(w, &imsg.LoginTaken{Number: n, Login: "bob"}, patience)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if r.Refusal == imsg.Admitted {
				in = append(in, n)
			} else if r.Refusal == imsg.RefusedLogin {
				out = append(out, n)
			}
		})
	}
	wait.Wait()
	if len(in) != 5 || len(out) != 45 {
		t.Fatalf("%d of 50 may send, %d may not", len(in), len(out))
	}
	w := workers[0]
	w.member("192.0.2.7", "eve")
	leave := func(n uint64) {
		for _, w := range workers { // it is one's
			w.say(&imsg.Leave{Number: n})
		}
	}
	before := h.liveCount()
	leave(out[0])
	leave(in[0])
	eventually(t, "they have left", func() bool { return h.liveCount() == before-2 })
	w.member("192.0.2.7", "bob")
	if r := w.login(w.enter("192.0.2.7").Number, "bob"); r.Refusal != imsg.RefusedLogin {
		t.Errorf("%+v", r)
	}
	// Who logs in as somebody else leaves its place.
	n := w.member("192.0.2.7", "joe")
	for range 4 {
		w.member("192.0.2.7", "joe")
	}
	if r := w.login(n, "eve"); r.Refusal != imsg.Admitted {
		t.Errorf("%+v", r)
	}
	w.member("192.0.2.7", "joe")
	if r := w.login(n, ""); r.Refusal != imsg.Admitted {
		t.Errorf("%+v", r)
	}
	for _, w := range workers {
		w.Close()
	}
	eventually(t, "all have left", func() bool { return h.liveCount() == 0 })
	if n := h.logins(); n != 0 {
		t.Errorf("%d sessions and logins are left behind", n)
	}
}

// TestRateBy: what a client uses that has logged in is its login's or its address's, and
// what comes before a log-in, or may be somebody else's, always its address's.
func TestRateBy(t *testing.T) {
	for _, what := range []imsg.By{imsg.ByAddress, imsg.ByLogin} {
		c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 100, imsg.RateMessages: 2, imsg.RateRecipients: 5, imsg.RateAuthRejects: 3})
		c.RateBy = what
		h := open(t, plan{config: c, rates: storePath(t)})
		operator := h.operators()()
		w := h.worker(0)
		w.enter("198.51.100.1")
		stranger := w.enter("192.0.2.7").Number
		w.use(stranger, imsg.RateMessages, 1) // before its log-in
		r := w.login(stranger, "bob")
		if !r.Uses.Has(imsg.RateMessages) || !r.Uses.Has(imsg.RateAuthRejects) {
			t.Errorf("%+v", r)
		}
		w.say(&imsg.QuotaUnused{QuotaUse: imsg.QuotaUse{Number: stranger, Counter: imsg.RateMessages, Amount: 1}})
		one, two := w.member("192.0.2.7", "bob"), w.member("192.0.2.8", "bob")
		w.use(one, imsg.RateMessages, 1)
		w.use(one, imsg.RateAuthRejects, 1)
		w.use(two, imsg.RateMessages, 1)
		w.use(two, imsg.RateRecipients, 1)
		used := func(client string) string {
			var s []string
			e := ask(t, operator, &imsg.RateShow{Client: client}).Entry
			for _, c := range []imsg.Rate{imsg.RateConnections, imsg.RateMessages, imsg.RateRecipients, imsg.RateAuthRejects} {
				n := uint64(0)
				if int(c) < len(e.Used) {
					n = e.Used[c]
				}
				s = append(s, fmt.Sprint(n))
			}
			return strings.Join(s, " ")
		}
		want := map[string]string{"192.0.2.7": "2 1 0 1", "192.0.2.8": "1 1 1 0"}
		if what == imsg.ByLogin { // what was used before the log-in is not given back to it
			want = map[string]string{"192.0.2.7": "2 1 0 1", "192.0.2.8": "1 0 0 0", "login=bob": "0 2 1 0"}
		}
		for client, is := range want {
			if got := used(client); got != is {
				t.Errorf("by %d, %s: %s, want %s", what, client, got, is)
			}
		}
		if refused := w.use(one, imsg.RateMessages, 1) == imsg.RefusedRate; refused != (what == imsg.ByLogin) {
			t.Errorf("by %d: the third message is refused: %v", what, refused)
		}
		if d := ask(t, operator, &imsg.RateSetQuota{Client: "login=eve", Quotas: []imsg.RateQuota{{Counter: imsg.RateMessages, Quota: 9}}}); (d.Errno == imsg.Invalid) != (what == imsg.ByAddress) {
			t.Errorf("by %d: %+v", what, d)
		}
	}
}

// TestLoginMonitored: rules that policy.monitor names are looked for, and nothing follows.
func TestLoginMonitored(t *testing.T) {
	c := by(imsg.ByLogin)
	c.MaxPerLogin = 1
	c.Monitored = imsg.PolicyRuleSet(0).With(imsg.RuleLocked).With(imsg.RuleMaxLogin)
	h := open(t, plan{config: c})
	w := h.worker(0)
	if r := w.login(w.enter("192.0.2.7").Number, "bob"); r.Would != 0 {
		t.Errorf("%+v", r)
	}
	h.write("login=bob", "VIRUS\n")
	if r := w.login(w.enter("192.0.2.7").Number, "bob"); r.Refusal != imsg.Admitted || r.Would != c.Monitored {
		t.Errorf("%+v", r)
	}
}

// TestLoginCrash: the lockd after one that died knows whom sessions are logged in as, which
// of them may not send, and asks nobody in before it has heard of all.
func TestLoginCrash(t *testing.T) {
	c := by(imsg.ByLogin)
	c.MaxPerLogin = 2
	counterFile, dir := imsgtest.TempFile(t), t.TempDir()
	h := open(t, plan{config: c, counterFile: counterFile, dir: dir})
	w, other := h.worker(0), h.worker(1)
	one, two := w.member("192.0.2.7", "bob"), other.member("192.0.2.8", "bob")
	barred := w.enter("192.0.2.9").Number
	if r := w.login(barred, "bob"); r.Refusal != imsg.RefusedLogin {
		t.Fatalf("%+v", r)
	}
	fresh := w.enter("192.0.2.10").Number
	h.close()

	h = open(t, plan{config: c, counterFile: counterFile, dir: dir, waiting: true})
	w, other = h.hire(0), h.hire(1)
	said := func(n uint64, client, login string, barred bool) imsg.LiveSession {
		return imsg.LiveSession{Number: n, Client: at(client), Target: at("192.0.2.25"), Login: login, Barred: barred}
	}
	w.say(&imsg.Announce{Sessions: []imsg.LiveSession{
		said(one, "192.0.2.7", "bob", false), said(barred, "192.0.2.9", "bob", true), said(fresh, "192.0.2.10", "", false),
	}, Last: true})
	h.Tell(&imsg.Start{})
	asked := make(chan *imsg.LoginResult, 1)
	var failed atomic.Value
	go func() {
		r, err := link.Ask(w, &imsg.LoginTaken{Number: fresh, Login: "bob"}, patience)
		if err != nil {
			failed.Store(err)
		}
		asked <- r
	}()
	eventually(t, "it waits for the other worker", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		return len(h.server.barrier.held) == 1
	})
	other.say(&imsg.Announce{Sessions: []imsg.LiveSession{said(two, "192.0.2.8", "bob", false)}, Last: true})
	if r := receive(t, asked); r == nil || r.Refusal != imsg.RefusedLogin {
		t.Errorf("with two there, and one that may not send: %+v, %v", r, failed.Load())
	}
	other.say(&imsg.Leave{Number: two})
	w.member("192.0.2.11", "bob")
	if k := w.offend(imsg.Offence{Number: one, Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("login=bob") == "" || len(h.files()) != 1 {
		t.Errorf("%v, %v", k, h.files())
	}
}

// TestLoginSevered: a lock that is made while a worker has no link reaches its sessions of
// the login, wherever they come from.
func TestLoginSevered(t *testing.T) {
	h := open(t, plan{config: by(imsg.ByLogin)})
	w, other := h.worker(3), h.worker(4)
	away, eve := w.member("192.0.2.8", "bob"), w.member("192.0.2.7", "eve")
	caught := other.member("192.0.2.7", "bob")
	w.Close()
	imsgtest.Until(t, "its sessions are away", func() bool { return h.liveCount() == 1 })
	if n := h.logins(); n != 1001 {
		t.Errorf("%d", n)
	}
	if k := other.offend(imsg.Offence{Number: caught, Transaction: 1, Found: imsg.FoundVirus}); k != 0 {
		t.Fatal(k)
	}
	again := h.hire(3)
	again.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: away, Client: at("192.0.2.8")}, {Number: eve, Client: at("192.0.2.7")}}, Last: true})
	imsgtest.Until(t, "its sessions are back", func() bool { return h.liveCount() == 3 })
	if n := receive(t, again.locked); n != away {
		t.Errorf("%d is told, not %d", n, away)
	}
	silent(t, again.locked)
	if n := h.logins(); n != 2003 {
		t.Errorf("%d", n)
	}
}

// TestLoginLockReload: lock.by may change while sessions and locks are there.
func TestLoginLockReload(t *testing.T) {
	h := open(t, plan{config: by(imsg.ByAddress)})
	w := h.worker(0)
	bob := w.member("192.0.2.7", "bob") // before logins counted
	h.reload(by(imsg.ByLogin))
	other := w.member("192.0.2.8", "bob")
	if k := w.offend(imsg.Offence{Number: bob, Transaction: 1, Found: imsg.FoundVirus}); k != 0 || h.read("login=bob") == "" || h.read("192.0.2.7") != "" {
		t.Errorf("%v, %v", k, h.files())
	}
	if n := receive(t, w.locked); n != other {
		t.Errorf("%d is told, not %d", n, other)
	}
	h.reload(by(imsg.ByAddress))
	w.member("192.0.2.9", "bob")
	h.reload(by(imsg.ByBoth))
	if r := w.login(w.enter("192.0.2.9").Number, "bob"); r.Refusal != imsg.RefusedLocked {
		t.Errorf("%+v", r)
	}
}

// TestLocksOfBothInTheirTurns: of two locks each is made in the turn of its own name, behind
// whoever looks at that one.
func TestLocksOfBothInTheirTurns(t *testing.T) {
	h := open(t, plan{config: by(imsg.ByBoth)})
	runs := h.script()
	w := h.worker(0)
	bob := w.member("192.0.2.7", "bob")
	hold, held := make(chan struct{}), make(chan struct{})
	h.server.fileCalls.begin("192.0.2.7", func() { close(held); <-hold })
	receive(t, held)
	done := make(chan imsg.Errno, 1)
	go func() { done <- w.offend(imsg.Offence{Number: bob, Transaction: 1, Found: imsg.FoundVirus}) }()
	eventually(t, "the login is locked", func() bool { return h.read("login=bob") != "" })
	eventually(t, "the other waits", func() bool { return h.server.fileCalls.waiting("192.0.2.7") == 1 })
	if h.read("192.0.2.7") != "" {
		t.Error("it did not wait for its turn")
	}
	silent(t, done)
	silent(t, runs)
	close(hold)
	if k := receive(t, done); k != 0 || h.read("192.0.2.7") == "" {
		t.Errorf("%v, %v", k, h.files())
	}
	receive(t, runs)
}

// TestLoginsShareNothing: whatever two names are, but for the case of ASCII, the lock of the
// one is not the other's, nor is the record of rates.
func TestLoginsShareNothing(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateMessages: 1})
	c.LockBy, c.LockDuration, c.RateBy = imsg.ByLogin, -1, imsg.ByLogin
	h := open(t, plan{config: c, rates: storePath(t)})
	w := h.worker(0)
	eventually(t, "the store is open", func() bool { return w.enter("198.51.100.1").Refusal == imsg.Admitted })
	long := strings.Repeat("x", imsg.MaxLogin-1)
	octets := rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 6), func(b []byte) string { return string(b) })
	names := rapid.OneOf(rapid.StringMatching(`[a-cA-C%=./@ _-]{1,4}`), octets, rapid.Map(octets, func(s string) string { return long + s }))
	rapid.Check(t, func(rt *rapid.T) {
		one := names.Draw(rt, "one")
		other := rapid.OneOf(names, rapid.Just(strings.ToUpper(one)), rapid.Just(imsg.Login([]byte(one))), rapid.Just(one+" "), rapid.Just("login="+one)).Draw(rt, "other")
		same := lower(one) == lower(other)
		for name := range h.files() {
			os.Remove(filepath.Join(h.dir, name))
		}
		h.clock.move(2 * c.RateExpiration)

		a, b, later := w.enter("192.0.2.7").Number, w.enter("192.0.2.7").Number, w.enter("192.0.2.7").Number
		w.login(a, imsg.Login([]byte(one)))
		w.login(b, imsg.Login([]byte(other)))
		w.use(a, imsg.RateMessages, 1)
		if refused := w.use(b, imsg.RateMessages, 1) == imsg.RefusedRate; refused != same {
			rt.Errorf("%q and %q share a record of rates: %v", one, other, refused)
		}
		w.offend(imsg.Offence{Number: a, Transaction: 1, Found: imsg.FoundVirus})
		if locked := w.login(later, imsg.Login([]byte(other))).Refusal == imsg.RefusedLocked; locked != same {
			rt.Errorf("%q and %q share a lock: %v", one, other, locked)
		}
		for _, n := range []uint64{a, b, later} {
			w.say(&imsg.Leave{Number: n})
		}
		for len(w.locked) > 0 {
			<-w.locked
		}
	})
}

// lower has ASCII in lower case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
