package control

import (
	"bytes"
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

// TestAcceptFails: the control socket pauses each time it fails, and says so once.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		start := time.Now()
		new(controlListener).accept(&broken{left: 5}, &Service{Log: slog.New(slog.NewTextHandler(&said, nil))})
		if pause := time.Since(start); pause < 5*time.Second {
			t.Errorf("5 failures take %v", pause)
		}
		if n := strings.Count(said.String(), "\n"); n != 1 {
			t.Errorf("it says:\n%s", said.String())
		}
	})
}
