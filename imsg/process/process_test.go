package process_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// spfRoom answers SPF questions by what answer says.
func spfRoom(slots int, answer func(context.Context, *imsg.SPF) (*imsg.SPFResult, error)) func(*os.File) error {
	return func(f *os.File) error {
		return process.Main(f, imsg.Lookupd, func(p *process.Parent) process.Room[imsg.LookupdConfig] {
			s := process.NewService(p, slots)
			return process.Room[imsg.LookupdConfig]{
				Configure: func(c *imsg.LookupdConfig) error {
					if c.RemotePort == 0 {
						return errors.New("no port")
					}
					return nil
				},
				Peers: map[imsg.Room]process.Peer{imsg.Session: s.Accept(func(ctx context.Context, r link.Request) {
					if q, ok := r.Message.(*imsg.SPF); ok {
						process.Work(ctx, s, r, q, func(ctx context.Context) (*imsg.SPFResult, error) { return answer(ctx, q) })
					}
				})},
				Other: func(r link.Request) {
					if _, ok := r.Message.(*imsg.Drain); ok {
						s.Drain()
					}
				},
			}
		})
	}
}

var goodConfig = &imsg.LookupdConfig{RemotePort: 1}

func TestWork(t *testing.T) {
	waiting := make(chan bool, 1)
	h := family.Open(t, imsg.Lookupd, spfRoom(1, func(ctx context.Context, q *imsg.SPF) (*imsg.SPFResult, error) {
		switch q.Helo {
		case "kind":
			return nil, imsg.NotFound
		case "error":
			return nil, errors.New("some other")
		case "panic":
			panic("a bug")
		case "wait":
			waiting <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &imsg.SPFResult{Verdict: imsg.SPFPass}, nil
	}), nil)
	h.Configure(goodConfig)
	c := h.Join(imsg.Session, 1, nil)
	for _, row := range []struct {
		helo string
		err  error
	}{{"", nil}, {"kind", imsg.NotFound}, {"error", imsg.Internal}, {"panic", imsg.Internal}, {"", nil}} {
		if a, err := link.Ask(c, &imsg.SPF{Helo: row.helo}, imsgtest.Patience); err != row.err || err == nil && a.Verdict != imsg.SPFPass {
			t.Errorf("%s: %+v, %v", row.helo, a, err)
		}
	}
	h.Logs("BUG: ", "a bug", "*imsg.SPF")

	// One at a time, until its asker waits no more.
	done, gaveUp := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := link.AskUntil(c, done, &imsg.SPF{Helo: "wait"}, time.Hour)
		gaveUp <- err
	}()
	imsgtest.Receive(t, "a question", waiting)
	if _, err := link.Ask(c, &imsg.SPF{}, imsgtest.Patience); err != imsg.Busy {
		t.Errorf("one too many: %v", err)
	}
	close(done)
	if err := imsgtest.Receive(t, "the end of a question", gaveUp); err != imsg.Gone {
		t.Errorf("given up with %v", err)
	}
	imsgtest.Until(t, "the slot is free", func() bool {
		_, err := link.Ask(c, &imsg.SPF{}, imsgtest.Patience)
		return err == nil
	})

	// The room drains with its last link.
	h.Tell(&imsg.Drain{})
	if _, err := link.Ask(c, &imsg.SPF{}, imsgtest.Patience); err != nil {
		t.Errorf("while it drains: %v", err)
	}
	c.Close()
	if err := imsgtest.Receive(t, "its end", h.Ended); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestLife(t *testing.T) {
	answer := func(context.Context, *imsg.SPF) (*imsg.SPFResult, error) { return &imsg.SPFResult{}, nil }
	for name, row := range map[string]struct {
		play func(*family.Family)
		says string // its error
		logs string
	}{
		"configured wrongly": {func(h *family.Family) { h.Tell(&imsg.LookupdConfig{}) }, "configuration refused: no port", ""},
		"configured twice": {func(h *family.Family) {
			h.Configure(goodConfig)
			h.Tell(goodConfig)
		}, "configured twice", ""},
		"a peer too soon": {func(h *family.Family) { h.Join(imsg.Session, 1, nil) }, "", "before the configuration"},
		"a peer too many": {func(h *family.Family) {
			h.Configure(goodConfig)
			h.Join(imsg.Lockd, 1, nil)
		}, "", "no room that works with lookupd"},
		"its parent ends": {func(h *family.Family) {
			h.Configure(goodConfig)
			h.Parent.Close()
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := family.Open(t, imsg.Lookupd, spfRoom(1, answer), nil)
			row.play(h)
			if row.logs != "" {
				h.Logs(row.logs)
				h.Parent.Close()
			}
			said := ""
			if err := imsgtest.Receive(t, "its end", h.Ended); err != nil {
				said = err.Error()
			}
			if said != row.says {
				t.Errorf("it ended with %q, want %q", said, row.says)
			}
		})
	}
}
