package stream

import (
	"context"
	"net"
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// This file owns what waits for news in a goroutine of its own: handshakes and last words.

// Await returns when there is one of the news. The error is that of ctx, or net.ErrClosed.
// One goroutine at a time may wait.
func (t *Stream) Await(ctx context.Context, n loop.News) error {
	heard := make(chan struct{}, 1)
	t.heard.Store(&heard)
	defer t.heard.Store(nil)
	for {
		if t.With(func(int) error { return nil }) != nil {
			return net.ErrClosed
		}
		if t.has(n) {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// FillUntil is Fill, and waits for what comes; when ctx is over it reads no more, whatever
// there is.
func (t *Stream) FillUntil(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := t.Fill()
		if err != ErrAgain {
			return err
		}
		if err := t.Await(ctx, loop.Readable); err != nil {
			return err
		}
	}
}

// WriteUntil writes all of p, and waits for room.
func (t *Stream) WriteUntil(ctx context.Context, p []byte) error {
	for {
		n, err := t.Write(p)
		if err != ErrAgain {
			return err
		}
		p = p[n:]
		if err := t.Await(ctx, loop.Writable); err != nil {
			return err
		}
	}
}

// zone is the name of an interface, or its number where it has none.
func zone(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(id))
}
