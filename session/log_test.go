package session

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// shared is the handler of all sessions of a worker.
type shared struct {
	slog.Handler // the rest it must not be asked for
	seen         func(slog.Record)
}

func (h *shared) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *shared) Handle(_ context.Context, r slog.Record) error {
	h.seen(r)
	return nil
}

// TestLine: each line of the log is about its session, and costs no handler.
func TestLine(t *testing.T) {
	var got []string
	h := &shared{seen: func(r slog.Record) {
		r.Attrs(func(a slog.Attr) bool {
			got = append(got, r.Level.String(), r.Message, a.String())
			return true
		})
	}}
	s := &session{w: &worker{log: slog.New(h)}, facts: relay.Facts{Number: 7}}
	for _, tc := range []struct {
		log  func(*session)
		want []string
	}{
		{func(s *session) { s.Log(slog.LevelDebug, "DATA:GOING") }, nil},
		{func(s *session) { s.info("m", "size", 8) }, []string{"INFO", "m", "session=7", "INFO", "m", "size=8"}},
		{func(s *session) { s.Log(slog.LevelError, "m") }, []string{"ERROR", "m", "session=7"}},
		{func(s *session) { s.Always("NEW") }, []string{logs.LevelAlways.String(), "NEW", "session=7"}},
	} {
		got = nil
		if tc.log(s); !slices.Equal(got, tc.want) {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	sum := uint64(0)
	h.seen = func(r slog.Record) {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == imsg.SessionKey {
				sum += a.Value.Uint64()
			}
			return true
		})
	}
	s.facts.Number = 1 << 40
	if n := testing.AllocsPerRun(100, func() { s.info("m", "by", "client", "left", false) }); n > 0 || sum == 0 {
		t.Errorf("a line costs %v allocations", n)
	}
}
