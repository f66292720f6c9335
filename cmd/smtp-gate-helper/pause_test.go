package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// broken fails a few times and is closed then.
type broken struct {
	net.Listener
	left int
}

func (b *broken) Accept() (net.Conn, error) {
	if b.left--; b.left < 0 {
		return nil, net.ErrClosed
	}
	return nil, syscall.ENOBUFS
}

// What ran out ends no socket: there is a pause each time, and one word of it.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		h := &helper{log: slog.New(slog.NewTextHandler(&said, nil))}
		start := time.Now()
		if err := h.serveTCP(&broken{left: 5}, make(chan struct{}, 1)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if pause := time.Since(start); pause < 500*time.Millisecond {
			t.Errorf("5 failures take %v", pause)
		}
		if n := strings.Count(said.String(), "\n"); n != 1 {
			t.Errorf("it says:\n%s", said.String())
		}
	})
}
