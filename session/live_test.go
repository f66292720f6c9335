package session

import (
	"log/slog"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// crowd is a worker with live sessions, numbered as lockd numbers those of two workers.
func crowd(n int) *worker {
	w := newWorker(nil, slog.New(slog.DiscardHandler))
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		w.register(&session{w: w, facts: relay.Facts{Number: uint64(2*i + 1)}})
	}
	return w
}

// TestLivePages: the pages of a listing are all sessions in order, each once, whoever
// leaves between two of them.
func TestLivePages(t *testing.T) {
	const n = 3*imsg.LivePage + 7
	for _, leave := range []bool{false, true} {
		w := crowd(n)
		count, after := 0, uint64(0)
		for more := true; more; {
			var page []imsg.LiveSession
			page, more = w.live(after)
			if more && len(page) != imsg.LivePage || len(page) == 0 {
				t.Fatalf("%d sessions on a page", len(page))
			}
			for _, s := range page {
				if want := uint64(2*count + 1); s.Number != want {
					t.Fatalf("%d, want %d", s.Number, want)
				}
				count++
				after = s.Number
				if leave {
					w.forget(&session{facts: relay.Facts{Number: s.Number}})
				}
			}
		}
		if count != n {
			t.Errorf("%d sessions of %d", count, n)
		}
	}
}

// BenchmarkLive is a listing of all sessions, page by page.
func BenchmarkLive(b *testing.B) {
	for _, n := range []int{1_000, 7_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := crowd(n)
			for b.Loop() {
				for after, more := uint64(0), true; more; {
					var page []imsg.LiveSession
					page, more = w.live(after)
					after = page[len(page)-1].Number
				}
			}
		})
	}
}

// BenchmarkRegister is one session that comes and goes beside others.
func BenchmarkRegister(b *testing.B) {
	for _, n := range []int{0, 7_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := crowd(n)
			s := &session{w: w, facts: relay.Facts{Number: uint64(2 * n)}}
			b.ReportAllocs()
			for b.Loop() {
				s.facts.Number++
				w.register(s)
				w.forget(s)
			}
		})
	}
}
