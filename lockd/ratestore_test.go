package lockd

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// cellar is a keeper with nothing but a store of rates.
func cellar(t testing.TB, path string) (*keeper, *imsgtest.Journal) {
	t.Helper()
	log := new(imsgtest.Journal)
	k := &keeper{
		log: slog.New(slog.NewTextHandler(log, nil)), machine: machine{now: time.Now}, rates: newRateStore(),
		rules: newRules(&imsg.LockdConfig{RateExpiration: time.Minute, RateGeneration: 1}),
	}
	if path != "" {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		k.openRates(f)
		t.Cleanup(k.closeRates)
	}
	return k, log
}

func (k *keeper) mustPut(t testing.TB, name string, r *record) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.rates.put(name, r); err != nil {
		t.Fatal(err)
	}
}

func (k *keeper) get(name string) (r *record, err error) {
	k.remember(name, func(c memory) { r, err = c.record, c.err })
	return r, err
}

// useOnce judges a use of one.
func (k *keeper) useOnce(s *session, c imsg.Rate) (a imsg.Refusal) {
	k.remember(k.clientName(s), func(m memory) { a = k.use(s, k.renewed(s, m), c, 1) })
	return a
}

func (k *keeper) mustGet(t testing.TB, name string) *record {
	t.Helper()
	r, err := k.get(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func messages(n uint64) *record {
	return &record{generation: 1, cleared: time.Now().UnixNano(), used: quotas{imsg.RateMessages: n}}
}

func TestRatesSurviveARestart(t *testing.T) {
	c, path := limited(map[imsg.Rate]uint64{imsg.RateConnections: 2}), storePath(t)
	for i := range 3 {
		h := open(t, plan{config: c, rates: path})
		if a := h.worker(0).enter("192.0.2.7"); (a.Refusal == imsg.RefusedRate) != (i == 2) {
			t.Errorf("start %d: %+v", i, a)
		}
		h.close()
	}
}

// TestKeepUsing is no test: TestRatesSurviveAKill starts and kills it.
func TestKeepUsing(t *testing.T) {
	path := os.Getenv("LOCKD_TEST_STORE")
	if path == "" {
		t.Skip("part of TestRatesSurviveAKill")
	}
	k, _ := cellar(t, path)
	for n := uint64(1); ; n++ {
		k.mustPut(t, "192.0.2.7", messages(n))
		for i := range 50 {
			k.mustPut(t, fmt.Sprintf("198.51.%d.%d", rand.IntN(256), i), messages(n))
		}
		k.writeRates()
		fmt.Printf("wrote %d\n", n)
	}
}

func TestRatesSurviveAKill(t *testing.T) {
	path := storePath(t)
	for range 3 {
		run := exec.Command(os.Args[0], "-test.run=^TestKeepUsing$", "-test.count=1")
		run.Env = append(os.Environ(), "LOCKD_TEST_STORE="+path)
		out, err := run.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		wrote := uint64(0)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "wrote "); ok {
				wrote, _ = strconv.ParseUint(n, 10, 64)
				if wrote == 20 {
					run.Process.Kill() // in the midst of the next write
				}
			}
		}
		run.Wait()
		if wrote < 20 {
			t.Fatalf("ended after %d", wrote)
		}
		k, log := cellar(t, path)
		if r := k.mustGet(t, "192.0.2.7"); r == nil || r.used[imsg.RateMessages] < wrote {
			t.Errorf("%+v, %d were written", r, wrote)
		}
		log.HasNot(t, "msg=")
		err = k.rates.file.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		k.closeRates()
	}
}

func TestDamagedRecord(t *testing.T) {
	c, path := limited(map[imsg.Rate]uint64{imsg.RateConnections: 10}), storePath(t)
	k, _ := cellar(t, path)
	k.rates.file.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketName).Put([]byte("192.0.2.7"), []byte("what?")) })
	k.closeRates()
	h := open(t, plan{config: c, rates: path})
	w := h.worker(0)
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedRateError {
		t.Errorf("%+v", a)
	}
	h.log.Has(t, "client cannot be limited, and is refused")
	if a := w.enter("192.0.2.8"); a.Refusal != imsg.Admitted {
		t.Errorf("another client: %+v", a)
	}
	o := h.operators()()
	if r := ask(t, o, &imsg.RateShow{Client: "192.0.2.7"}); !r.Entry.Damaged {
		t.Errorf("%+v", r)
	}
	if l := ask(t, o, &imsg.Rates{}); len(l.Records) != 2 || !l.Records[0].Damaged || l.Records[1].Damaged {
		t.Errorf("%+v", l)
	}
	if d := ask(t, o, &imsg.RateSetQuota{Client: "192.0.2.7"}); d.Errno != imsg.Internal {
		t.Errorf("%+v", d)
	}
	if d := ask(t, o, &imsg.RateReset{Client: "192.0.2.7"}); d.Errno != 0 {
		t.Errorf("%+v", d)
	}
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("after the reset: %+v", a)
	}
}

func TestDamagedStore(t *testing.T) {
	sound := storePath(t)
	k, _ := cellar(t, sound)
	for i := range 2000 {
		k.mustPut(t, fmt.Sprintf("10.0.%d.%d", i/256, i%256), messages(1))
	}
	k.closeRates()
	good, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, 20000)
	for i := range garbage {
		garbage[i] = byte(i * 7)
	}
	files := map[string][]byte{"text": []byte("hello\n"), "garbage": garbage, "zeros": make([]byte, 1<<16)}
	for _, n := range []int{1, 4096, 8192, 12288, 20000, len(good) / 4, len(good) / 2} {
		files[fmt.Sprintf("cut to %d", n)] = good[:n]
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) {
			path := storePath(t)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			h := open(t, plan{config: limited(map[imsg.Rate]uint64{imsg.RateConnections: 1}), rates: path})
			w := h.worker(0)
			// Limits hold in memory, or from what is left of the file; it is
			// nobody's end.
			for i := range 50 {
				w.enter(fmt.Sprintf("10.0.%d.200", i))
			}
			h.keeper.writeRates()
			h.keeper.sweepRates()
			w.enter("192.0.2.1")
			a := w.enter("192.0.2.1")
			if a.Refusal == imsg.Admitted {
				t.Errorf("%+v", a)
			}
			if !strings.Contains(h.log.String(), "level=ERROR") && h.keeper.rates.file == nil {
				t.Error("nothing was said")
			}
		})
	}
}

func TestStoreIsCutUnderUs(t *testing.T) {
	path := storePath(t)
	k, log := cellar(t, path)
	for i := range 2000 {
		k.mustPut(t, fmt.Sprintf("10.0.%d.%d", i/256, i%256), messages(1))
	}
	k.writeRates()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.get("10.0.1.1"); err != errFault {
		t.Errorf("%v", err)
	}
	k.mustPut(t, "10.0.1.1", messages(7))
	k.writeRates()
	if r := k.mustGet(t, "10.0.1.1"); r == nil || r.used[imsg.RateMessages] != 7 {
		t.Errorf("%+v, log %s", r, log)
	}
}

func TestWriteFails(t *testing.T) {
	path := storePath(t)
	k, log := cellar(t, "")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	k.openRates(f)
	k.mustPut(t, "192.0.2.7", messages(1))
	f.Close() // under bbolt: reads go on, for they need no descriptor
	for range 3 {
		k.writeRates()
		k.mustPut(t, "192.0.2.8", messages(2))
	}
	for name, n := range map[string]uint64{"192.0.2.7": 1, "192.0.2.8": 2} {
		if r := k.mustGet(t, name); r == nil || r.used[imsg.RateMessages] != n {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if n := strings.Count(log.String(), "rates would not survive a crash"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	// Memory is bounded meanwhile.
	k.mu.Lock()
	for i := range maxFresh {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		err = k.rates.put(a.String(), messages(1))
	}
	if err != errFull || k.rates.put("192.0.2.7", messages(2)) != nil {
		t.Errorf("%v", err)
	}
	k.mu.Unlock()
	// Another store takes what could not be written.
	better := storePath(t)
	if f, err = os.OpenFile(better, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		t.Fatal(err)
	}
	k.openRates(f)
	k.closeRates()
	k, _ = cellar(t, better)
	if r := k.mustGet(t, "192.0.2.7"); r == nil || r.used[imsg.RateMessages] != 2 {
		t.Errorf("%+v", r)
	}
}

// A daemon that is on its way out has the store still: what is counted meanwhile
// lies in memory, and what the store knows of a client is not lost by it.
func TestStoreIsSomebodyElses(t *testing.T) {
	path := storePath(t)
	before, _ := cellar(t, path)
	own := messages(3)
	own.generation = 9
	before.mustPut(t, "192.0.2.9", own)
	before.mustPut(t, "192.0.2.10", messages(3))

	k, log := cellar(t, path)
	log.Has(t, "rates are kept in memory until another daemon closes their store")
	newer := messages(2)
	newer.generation = 10
	for name, r := range map[string]*record{"192.0.2.7": messages(1), "192.0.2.9": messages(1), "192.0.2.10": newer} {
		k.mustPut(t, name, r)
	}
	k.openAwaited()
	if r := k.mustGet(t, "192.0.2.9"); r.generation == 9 {
		t.Error("opened, though it is another's")
	}
	before.closeRates()
	k.openAwaited()
	log.Has(t, "store of rates opened")
	k.writeRates()
	for name, want := range map[string]*record{"192.0.2.7": messages(1), "192.0.2.9": own, "192.0.2.10": newer} {
		if r := k.mustGet(t, name); r == nil || r.generation != want.generation || r.used != want.used {
			t.Errorf("%s: %+v, want %+v", name, r, want)
		}
	}
	k.closeRates()
	if k, _ = cellar(t, path); k.mustGet(t, "192.0.2.7") == nil {
		t.Error("not written")
	}
}

func TestStoreIsChanged(t *testing.T) {
	c, old, other := limited(map[imsg.Rate]uint64{imsg.RateConnections: 1}), storePath(t), storePath(t)
	h := open(t, plan{config: c, rates: old})
	w := h.worker(0)
	w.enter("192.0.2.7")
	h.store(other)
	h.reload(c) // behind it
	if a := w.enter("192.0.2.7"); a.Refusal != imsg.Admitted {
		t.Errorf("%+v", a)
	}
	for range 2 { // the second time it is the one we have
		h.store(old)
		h.reload(c)
		if a := w.enter("192.0.2.7"); a.Refusal != imsg.RefusedRate {
			t.Errorf("%+v", a)
		}
	}
	h.log.HasNot(t, "level=ERROR")
}

func TestPagesOfRates(t *testing.T) {
	for _, path := range []string{"", storePath(t)} {
		k, _ := cellar(t, path)
		const many = 1000
		name := func(i int) string { return fmt.Sprintf("10.0.%03d.0", i) }
		for i := range many {
			k.mustPut(t, name(i), messages(1))
			if i == many/2 {
				k.writeRates()
			}
		}
		// In the file and changed since, or forgotten since.
		k.mustPut(t, name(3), messages(7))
		for i := 100; i < 400; i += 2 {
			k.mustPut(t, name(i), nil)
		}
		var seen []string
		for after, more := "", true; more; {
			var page []named
			var err error
			if page, more, err = k.page(after, 64); err != nil || len(page) > 64 {
				t.Fatal(len(page), err)
			}
			for _, n := range page {
				if want := map[bool]uint64{true: 7, false: 1}[n.name == name(3)]; n.name <= after || n.used[imsg.RateMessages] != want {
					t.Fatalf("%s behind %s: %+v", n.name, after, n.record)
				}
				after = n.name
				seen = append(seen, n.name)
			}
		}
		if len(seen) != many-150 {
			t.Errorf("store %q: %d records", path, len(seen))
		}
	}
}

// TestStoreAgainstMap holds the store, whatever is where, against a plain map.
func TestStoreAgainstMap(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		k, log := cellar(t, path)
		defer func() { k.closeRates() }()
		model := make(map[string]uint64)
		name := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "192.0.2.2-", "192.0.2.2-joe", "2001:db8::"})
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				who, v := name.Draw(rt, "client"), rapid.Uint64().Draw(rt, "value")
				k.mustPut(t, who, messages(v))
				model[who] = v
			},
			"change": func(rt *rapid.T) {
				who := name.Draw(rt, "client")
				if r := k.mustGet(t, who); r != nil {
					r.used[imsg.RateMessages]++
					k.mustPut(t, who, r)
					model[who]++
				}
			},
			"forget": func(rt *rapid.T) {
				who := name.Draw(rt, "client")
				k.mustPut(t, who, nil)
				delete(model, who)
			},
			"write": func(*rapid.T) { k.writeRates() },
			"restart": func(*rapid.T) {
				k.closeRates()
				k, log = cellar(t, path)
			},
			"": func(rt *rapid.T) {
				page, more, err := k.page("", 100)
				if err != nil || more || len(page) != len(model) {
					rt.Fatalf("%d records listed, want %d: %v", len(page), len(model), err)
				}
				for _, p := range page {
					if v, ok := model[p.name]; !ok || p.used[imsg.RateMessages] != v || k.mustGet(t, p.name).used != p.used {
						rt.Fatalf("%s: %+v, want %d", p.name, p.record, v)
					}
				}
			},
		})
		log.HasNot(t, "msg=")
	})
}

func TestRatesAtTheSameTime(t *testing.T) {
	k, log := cellar(t, storePath(t))
	k.config.Mode = imsg.ModeFixed
	k.rules.quotas[imsg.RateMessages] = 1 << 60
	const clients, uses = 20, 2000
	end := make(chan struct{})
	var workers, others sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			for n := range uses {
				s := &session{client: at(fmt.Sprintf("192.0.2.%d", n%clients)), number: uint64(i)}
				if r := k.useOnce(s, imsg.RateMessages); r != imsg.Admitted {
					t.Errorf("refused: %d", r)
				}
			}
		})
	}
	for _, chore := range []func(){k.writeRates, k.sweepRates, func() { k.page("", 5) }} {
		others.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					chore()
				}
			}
		})
	}
	workers.Wait()
	close(end)
	others.Wait()
	k.writeRates()
	for i := range clients {
		if r := k.mustGet(t, fmt.Sprintf("192.0.2.%d", i)); r == nil || r.used[imsg.RateMessages] != 4*uses/clients {
			t.Errorf("%+v", r)
		}
	}
	log.HasNot(t, "level=ERROR")
}

func TestOldRecordsAreSwept(t *testing.T) {
	for _, path := range []string{"", storePath(t)} {
		k, _ := cellar(t, path)
		now := time.Now()
		k.machine.now = func() time.Time { return now }
		k.mustPut(t, "idle", messages(3))
		own := messages(3)
		own.generation = 2
		k.mustPut(t, "own quotas", own)
		lower := messages(3)
		lower.quotas[imsg.RateMessages] = 9
		k.mustPut(t, "quotas of before", lower)
		older := messages(3)
		older.generation, older.quotas = 0, lower.quotas
		k.mustPut(t, "older generation", older)
		k.writeRates()
		now = now.Add(2 * time.Minute)
		young := messages(3)
		young.cleared = now.UnixNano()
		k.mustPut(t, "young", young)
		far := messages(3)
		far.targets = []imsg.RateTarget{{Address: netip.MustParseAddr("192.0.2.1"), Last: now.UnixNano()}}
		k.mustPut(t, "targets", far)
		k.rules.targetPeriod = time.Hour
		k.sweepRates()
		k.sweepRates()
		k.writeRates()
		for name, stays := range map[string]bool{"idle": false, "older generation": false, "own quotas": true, "quotas of before": true, "young": true, "targets": true} {
			if r := k.mustGet(t, name); (r != nil) != stays {
				t.Errorf("store %q: %s: %+v", path, name, r)
			}
		}
		if path == "" && len(k.rates.fresh) != 4 {
			t.Errorf("%d in memory", len(k.rates.fresh))
		}
	}
}
