package lockd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// fill makes a store with records of so many clients.
func fill(t *testing.T, path string, clients int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	store := rates.NewFileStore(slog.New(slog.DiscardHandler))
	store.Open(f)
	l := rates.New(store, time.Now, slog.New(slog.DiscardHandler))
	c := limited(map[imsg.Rate]uint64{imsg.RateMessages: 10})
	l.Configure(&c)
	for i := range clients {
		if o := l.Judge(&rates.Use{Client: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Counter: imsg.RateMessages, Amount: 1}); !o.Taken {
			t.Fatalf("%+v", o)
		}
	}
	end := make(chan struct{})
	close(end)
	store.Run(end)
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

func TestDamagedRecord(t *testing.T) {
	c, path := limited(map[imsg.Rate]uint64{imsg.RateConnections: 10}), storePath(t)
	fill(t, path, 0)
	file, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = file.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("rates")).Put([]byte("192.0.2.7"), []byte("what?")) })
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
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
	fill(t, sound, 2000)
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
			h.server.records.Flush()
			h.server.rates.Sweep()
			w.enter("192.0.2.1")
			a := w.enter("192.0.2.1")
			if a.Refusal == imsg.Admitted {
				t.Errorf("%+v", a)
			}
			if !strings.Contains(h.log.String(), "level=ERROR") && h.server.records.Flush() != nil {
				t.Error("nothing was said")
			}
		})
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
