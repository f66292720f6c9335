package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// What ran out ends no socket: there is a pause each time, and one word of it.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		h := &helper{log: slog.New(slog.NewTextHandler(&said, nil))}
		start := time.Now()
		if err := h.serveTCP(&imsgtest.FailingListener{Left: 5}, make(chan struct{}, 1)); !errors.Is(err, net.ErrClosed) {
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
