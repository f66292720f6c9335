package rates

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

// openFile returns a store in the file at path, or in memory only, and what it logs.
func openFile(t testing.TB, path string) (*FileStore, *imsgtest.Journal) {
	t.Helper()
	log := new(imsgtest.Journal)
	s := NewFileStore(slog.New(slog.NewTextHandler(log, nil)))
	if path != "" {
		s.Open(create(t, path))
		t.Cleanup(s.close)
	}
	return s, log
}

// create opens a file for reading and writing.
func create(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func storePath(t testing.TB) string { return filepath.Join(t.TempDir(), "rates") }

// limits holds uses against what s remembers, by a quota for a minute, 0 for none.
func limits(s Store, counter imsg.Rate, quota uint64) *Limiter {
	l := New(s, time.Now, slog.New(slog.DiscardHandler))
	c := imsg.LockdConfig{RateExpiration: time.Minute, RateGeneration: 1, RateQuotas: make([]uint64, imsg.RateCounters)}
	c.RateQuotas[counter] = quota
	l.Configure(&c)
	return l
}

// mustPut has r remembered, or nothing.
func (t *FileStore) mustPut(tb testing.TB, client string, r *Record) {
	tb.Helper()
	if err := t.Change(client, func(*Record) *Record { return r }); err != nil {
		tb.Fatal(err)
	}
}

func (t *FileStore) mustGet(tb testing.TB, client string) *Record {
	tb.Helper()
	r, err := t.Look(client)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func messages(n uint64) *Record {
	return &Record{generation: 1, cleared: time.Now().UnixNano(), used: quotas{imsg.RateMessages: n}}
}

// TestKeepUsing is no test: TestRatesSurviveAKill starts and kills it.
func TestKeepUsing(t *testing.T) {
	path := os.Getenv("LOCKD_TEST_STORE")
	if path == "" {
		t.Skip("part of TestRatesSurviveAKill")
	}
	s, _ := openFile(t, path)
	for n := uint64(1); ; n++ {
		s.mustPut(t, "192.0.2.7", messages(n))
		for i := range 50 {
			s.mustPut(t, fmt.Sprintf("198.51.%d.%d", rand.IntN(256), i), messages(n))
		}
		s.write()
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
		s, log := openFile(t, path)
		if r := s.mustGet(t, "192.0.2.7"); r == nil || r.used[imsg.RateMessages] < wrote {
			t.Errorf("%+v, %d were written", r, wrote)
		}
		log.HasNot(t, "msg=")
		err = s.file.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		s.close()
	}
}

func TestStoreIsCutUnderUs(t *testing.T) {
	path := storePath(t)
	s, log := openFile(t, path)
	for i := range 2000 {
		s.mustPut(t, fmt.Sprintf("10.0.%d.%d", i/256, i%256), messages(1))
	}
	s.write()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Look("10.0.1.1"); err != errFault {
		t.Errorf("%v", err)
	}
	s.mustPut(t, "10.0.1.1", messages(7))
	s.write()
	if r := s.mustGet(t, "10.0.1.1"); r == nil || r.used[imsg.RateMessages] != 7 {
		t.Errorf("%+v, log %s", r, log)
	}
}

func TestWriteFails(t *testing.T) {
	path := storePath(t)
	s, log := openFile(t, "")
	f := create(t, path)
	s.Open(f)
	s.mustPut(t, "192.0.2.7", messages(1))
	f.Close() // under bbolt: reads go on, for they need no descriptor
	for range 3 {
		s.write()
		s.mustPut(t, "192.0.2.8", messages(2))
	}
	for name, n := range map[string]uint64{"192.0.2.7": 1, "192.0.2.8": 2} {
		if r := s.mustGet(t, name); r == nil || r.used[imsg.RateMessages] != n {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if n := strings.Count(log.String(), "rates would not survive a crash"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	// Memory is bounded meanwhile.
	s.mu.Lock()
	var err error
	for i := range maxDirty {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		err = s.put(a.String(), messages(1))
	}
	if err != errFull || s.put("192.0.2.7", messages(2)) != nil {
		t.Errorf("%v", err)
	}
	s.mu.Unlock()
	// Another store takes what could not be written.
	better := storePath(t)
	s.Open(create(t, better))
	s.close()
	s, _ = openFile(t, better)
	if r := s.mustGet(t, "192.0.2.7"); r == nil || r.used[imsg.RateMessages] != 2 {
		t.Errorf("%+v", r)
	}
}

// A daemon that is on its way out has the store still: what is counted meanwhile
// lies in memory, and what the store knows of a client is not lost by it.
func TestStoreIsSomebodyElses(t *testing.T) {
	path := storePath(t)
	before, _ := openFile(t, path)
	own := messages(3)
	own.generation = 9
	before.mustPut(t, "192.0.2.9", own)
	before.mustPut(t, "192.0.2.10", messages(3))

	s, log := openFile(t, path)
	log.Has(t, "rates are kept in memory until another daemon closes their store")
	newer := messages(2)
	newer.generation = 10
	for name, r := range map[string]*Record{"192.0.2.7": messages(1), "192.0.2.9": messages(1), "192.0.2.10": newer} {
		s.mustPut(t, name, r)
	}
	s.openPending()
	if r := s.mustGet(t, "192.0.2.9"); r.generation == 9 {
		t.Error("opened, though it is another's")
	}
	before.close()
	s.openPending()
	log.Has(t, "store of rates opened")
	s.write()
	for name, want := range map[string]*Record{"192.0.2.7": messages(1), "192.0.2.9": own, "192.0.2.10": newer} {
		if r := s.mustGet(t, name); r == nil || r.generation != want.generation || r.used != want.used {
			t.Errorf("%s: %+v, want %+v", name, r, want)
		}
	}
	s.close()
	if s, _ = openFile(t, path); s.mustGet(t, "192.0.2.7") == nil {
		t.Error("not written")
	}
}

func TestPagesOfRates(t *testing.T) {
	for _, path := range []string{"", storePath(t)} {
		s, _ := openFile(t, path)
		const many = 1000
		name := func(i int) string { return fmt.Sprintf("10.0.%03d.0", i) }
		for i := range many {
			s.mustPut(t, name(i), messages(1))
			if i == many/2 {
				s.write()
			}
		}
		// In the file and changed since, or forgotten since.
		s.mustPut(t, name(3), messages(7))
		for i := 100; i < 400; i += 2 {
			s.mustPut(t, name(i), nil)
		}
		var seen []string
		for after, more := "", true; more; {
			var page []Named
			var err error
			if page, more, err = s.Page(after, 64); err != nil || len(page) > 64 {
				t.Fatal(len(page), err)
			}
			for _, n := range page {
				if want := map[bool]uint64{true: 7, false: 1}[n.Client == name(3)]; n.Client <= after || n.used[imsg.RateMessages] != want {
					t.Fatalf("%s behind %s: %+v", n.Client, after, n.Record)
				}
				after = n.Client
				seen = append(seen, n.Client)
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
		s, log := openFile(t, path)
		defer func() { s.close() }()
		model := make(map[string]uint64)
		name := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "192.0.2.2-", "192.0.2.2-joe", "2001:db8::"})
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				who, v := name.Draw(rt, "client"), rapid.Uint64().Draw(rt, "value")
				s.mustPut(t, who, messages(v))
				model[who] = v
			},
			"change": func(rt *rapid.T) {
				who := name.Draw(rt, "client")
				if r := s.mustGet(t, who); r != nil {
					r.used[imsg.RateMessages]++
					s.mustPut(t, who, r)
					model[who]++
				}
			},
			"forget": func(rt *rapid.T) {
				who := name.Draw(rt, "client")
				s.mustPut(t, who, nil)
				delete(model, who)
			},
			"write": func(*rapid.T) { s.write() },
			"restart": func(*rapid.T) {
				s.close()
				s, log = openFile(t, path)
			},
			"": func(rt *rapid.T) {
				page, more, err := s.Page("", 100)
				if err != nil || more || len(page) != len(model) {
					rt.Fatalf("%d records listed, want %d: %v", len(page), len(model), err)
				}
				for _, p := range page {
					if v, ok := model[p.Client]; !ok || p.used[imsg.RateMessages] != v || s.mustGet(t, p.Client).used != p.used {
						rt.Fatalf("%s: %+v, want %d", p.Client, p.Record, v)
					}
				}
			},
		})
		log.HasNot(t, "msg=")
	})
}

func TestRatesAtTheSameTime(t *testing.T) {
	s, log := openFile(t, storePath(t))
	l := limits(s, imsg.RateMessages, 1<<60)
	const clients, uses = 20, 2000
	end := make(chan struct{})
	var workers, others sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for n := range uses {
				u := Use{Client: fmt.Sprintf("192.0.2.%d", n%clients), Counter: imsg.RateMessages, Amount: 1}
				if o := l.Judge(&u); !o.Taken {
					t.Errorf("refused: %+v", o)
				}
			}
		})
	}
	for _, chore := range []func(){s.write, l.Sweep, func() { s.Page("", 5) }} {
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
	s.write()
	for i := range clients {
		if r := s.mustGet(t, fmt.Sprintf("192.0.2.%d", i)); r == nil || r.used[imsg.RateMessages] != 4*uses/clients {
			t.Errorf("%+v", r)
		}
	}
	log.HasNot(t, "level=ERROR")
}

func TestOldRecordsAreSwept(t *testing.T) {
	for _, path := range []string{"", storePath(t)} {
		s, _ := openFile(t, path)
		now := time.Now()
		l := limits(s, imsg.RateMessages, 0)
		l.now = func() time.Time { return now }
		s.mustPut(t, "idle", messages(3))
		own := messages(3)
		own.generation = 2
		s.mustPut(t, "own quotas", own)
		lower := messages(3)
		lower.quotas[imsg.RateMessages] = 9
		s.mustPut(t, "quotas of before", lower)
		older := messages(3)
		older.generation, older.quotas = 0, lower.quotas
		s.mustPut(t, "older generation", older)
		s.write()
		now = now.Add(2 * time.Minute)
		young := messages(3)
		young.cleared = now.UnixNano()
		s.mustPut(t, "young", young)
		far := messages(3)
		far.targets = []imsg.RateTarget{{Address: netip.MustParseAddr("192.0.2.1"), Last: now.UnixNano()}}
		s.mustPut(t, "targets", far)
		l.Configure(&imsg.LockdConfig{RateExpiration: time.Minute, RateGeneration: 1, RateDstExpiration: time.Hour})
		l.Sweep()
		l.Sweep()
		s.write()
		for name, stays := range map[string]bool{"idle": false, "older generation": false, "own quotas": true, "quotas of before": true, "young": true, "targets": true} {
			if r := s.mustGet(t, name); (r != nil) != stays {
				t.Errorf("store %q: %s: %+v", path, name, r)
			}
		}
		if path == "" && len(s.dirty) != 4 {
			t.Errorf("%d in memory", len(s.dirty))
		}
	}
}
