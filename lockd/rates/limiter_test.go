package rates

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// What was taken can be given back, once; what was refused took nothing.
func TestGiveBack(t *testing.T) {
	s, _ := openFile(t, storePath(t))
	l := limits(s, imsg.RateMessages, 5)
	use := &Use{Client: "192.0.2.7", Counter: imsg.RateMessages, Amount: 3}
	used := func() uint64 { return s.mustGet(t, use.Client).used[imsg.RateMessages] }
	if o := l.Judge(use); !o.Taken || o.Refusal != imsg.Admitted || used() != 3 || !o.Uses.Has(imsg.RateMessages) {
		t.Errorf("%+v", o)
	}
	if o := l.Judge(use); o.Taken || o.Refusal != imsg.RefusedRate || used() != 3 {
		t.Errorf("%+v", o)
	}
	l.GiveBack(use)
	if o := l.Judge(use); !o.Taken || used() != 3 {
		t.Errorf("%+v", o)
	}
	for range 2 {
		l.GiveBack(use)
	}
	if used() != 0 {
		t.Errorf("%d used", used())
	}
	call := &Use{Client: use.Client, Counter: imsg.RateTargets, Amount: 1, Target: netip.MustParseAddrPort("192.0.2.25:25")}
	if o := l.Judge(call); o.Taken || o.Refusal != imsg.Admitted {
		t.Errorf("%+v", o)
	}
}

// What was taken in a period that is over is not given back in the next.
func TestGiveBackTooLate(t *testing.T) {
	s, _ := openFile(t, "")
	l := limits(s, imsg.RateMessages, 5)
	now := time.Now()
	l.now = func() time.Time { return now }
	old := &Use{Client: "192.0.2.7", Counter: imsg.RateMessages, Amount: 3}
	l.Judge(old)
	now = now.Add(time.Minute + 1)
	l.GiveBack(old)
	if r := s.mustGet(t, old.Client); r.used[imsg.RateMessages] != 0 || r.tries[imsg.RateMessages] != 0 {
		t.Errorf("%+v", r)
	}
}

// A client whose record could not be kept is refused, and has used nothing.
func TestFullStoreRefuses(t *testing.T) {
	s, _ := openFile(t, "")
	l := limits(s, imsg.RateMessages, 5)
	s.mu.Lock()
	for i := range maxDirty {
		s.dirty[netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()] = messages(1)
	}
	s.mu.Unlock()
	use := &Use{Client: "192.0.2.7", Counter: imsg.RateMessages, Amount: 1}
	if o := l.Judge(use); o.Taken || o.Refusal != imsg.RefusedRateError || s.mustGet(t, use.Client) != nil {
		t.Errorf("%+v", o)
	}
	use.Client = "10.0.0.1"
	if o := l.Judge(use); !o.Taken {
		t.Errorf("%+v", o)
	}
}

func BenchmarkUse(b *testing.B) {
	s, _ := openFile(b, storePath(b))
	l := limits(s, imsg.RateRecipients, 1<<60)
	client := func(i int) string {
		return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
	}
	use := func(i int) {
		u := &Use{Client: client(i), Counter: imsg.RateRecipients, Amount: 1}
		o := l.Judge(u)
		if l.Log(u, o); !o.Taken {
			b.Fatal("refused")
		}
	}
	const many = 100_000
	for i := range many {
		use(i)
		if i%10000 == 0 {
			s.write()
		}
	}
	s.write()
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { s.Run(end) })
	defer running.Wait()
	defer close(end)
	b.Run("decision", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			use(rand.IntN(many))
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 1000 {
				use(rand.IntN(many))
			}
			s.write()
		}
	})
}
