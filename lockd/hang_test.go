package lockd

import (
	"errors"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestHang: lockd says that it works only while its one lock can be had.
func TestHang(t *testing.T) {
	h := open(t, plan{config: usual()})
	if _, err := link.Ask(h.Parent, &imsg.Ping{}, patience); err != nil {
		t.Error(err)
	}
	h.server.mu.Lock()
	_, err := link.Ask(h.Parent, &imsg.Ping{}, 10*time.Millisecond)
	h.server.mu.Unlock()
	if !errors.Is(err, imsg.Timeout) {
		t.Errorf("it works without: %v", err)
	}
}
