package control

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestAcceptFails: the control socket pauses each time it fails, and says so once.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		start := time.Now()
		new(controlListener).accept(&imsgtest.FailingListener{Left: 5}, &Service{Log: slog.New(slog.NewTextHandler(&said, nil))})
		if pause := time.Since(start); pause < 5*time.Second {
			t.Errorf("5 failures take %v", pause)
		}
		if n := strings.Count(said.String(), "\n"); n != 1 {
			t.Errorf("it says:\n%s", said.String())
		}
	})
}
