package lockd

import (
	"log/slog"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

// slowStore is a store whose answer comes when the test says so.
type slowStore struct {
	rates.Store
	changed chan struct{} // a record was changed, and that is not told yet
	tell    chan struct{}
}

func (s *slowStore) Change(client string, change func(*rates.Record) *rates.Record) error {
	err := s.Store.Change(client, change)
	s.changed <- struct{}{}
	<-s.tell
	return err
}

// slowly puts one between lockd and its store. Nobody has entered yet.
func (h *house) slowly(c imsg.LockdConfig) *slowStore {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	s := &slowStore{h.server.records, make(chan struct{}), make(chan struct{})}
	h.server.rates = rates.New(s, h.clock.now, slog.New(slog.NewTextHandler(h.log, nil)))
	h.server.rates.Configure(&c)
	return s
}

// What was taken for an asker that has gone meanwhile is given back, and nothing is
// logged of it.
func TestTakenInVainIsGivenBack(t *testing.T) {
	c := limited(map[imsg.Rate]uint64{imsg.RateConnections: 3, imsg.RateMessages: 3})
	enter := func(w *testWorker, _ uint64, patience time.Duration) error {
		_, err := link.Ask(w, entering("192.0.2.7"), patience)
		return err
	}
	use := func(w *testWorker, number uint64, patience time.Duration) error {
		_, err := link.Ask(w, &imsg.QuotaUse{Number: number, Counter: imsg.RateMessages, Amount: 2}, patience)
		return err
	}
	for _, what := range []struct {
		name    string
		counter imsg.Rate
		amount  uint64
		ask     func(w *testWorker, number uint64, patience time.Duration) error
		session uint64 // that it is about
	}{
		{"a connection", imsg.RateConnections, 1, enter, 2},
		{"messages", imsg.RateMessages, 2, use, 1},
	} {
		for _, gone := range []struct {
			name     string
			patience time.Duration
			happens  func(h *house, w *testWorker, asked chan error)
		}{
			{"its session leaves", patience, func(h *house, w *testWorker, _ chan error) {
				live := h.liveCount()
				w.say(&imsg.Leave{Number: what.session})
				eventually(h.t, "it has left", func() bool { return h.liveCount() == live-1 })
			}},
			{"its time is up", 50 * time.Millisecond, func(h *house, _ *testWorker, asked chan error) {
				asked <- receive(h.t, asked)
			}},
			{"its worker ends", patience, func(h *house, w *testWorker, _ chan error) {
				w.Close()
				eventually(h.t, "nobody is live", func() bool { return h.liveCount() == 0 })
			}},
		} {
			t.Run(what.name+", "+gone.name, func(t *testing.T) {
				h := open(t, plan{config: c})
				store := h.slowly(c)
				w := h.worker(0)
				first := make(chan *imsg.Admission, 1)
				go func() { first <- w.enter("192.0.2.7") }()
				receive(t, store.changed)
				store.tell <- struct{}{}
				number := receive(t, first).Number
				used := func() uint64 {
					r, err := h.server.rates.Show("192.0.2.7")
					if err != nil {
						t.Fatal(err)
					}
					return r.Entry.Used[what.counter]
				}
				before := used()

				asked := make(chan error, 1)
				go func() { asked <- what.ask(w, number, gone.patience) }()
				receive(t, store.changed)
				if n := used(); n != before+what.amount {
					t.Errorf("%d used", n)
				}
				gone.happens(h, w, asked)
				store.tell <- struct{}{}
				receive(t, store.changed)
				store.tell <- struct{}{}
				if n := used(); n != before {
					t.Errorf("%d used, %d before", n, before)
				}
				w.Close() // what has left is not answered
				if err := receive(t, asked); err == nil {
					t.Error("it was answered")
				}
				h.log.HasNot(t, "REJECT")
			})
		}
	}
}
