//go:build linux

package parent

import (
	"os"
	"strings"
	"testing"
)

// TestAbusedFile: a room can add to a log that is a file, and nothing else.
func TestAbusedFile(t *testing.T) {
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t)
		h.configure("proxy_name abuse-log:session", "log_target "+h.dir+"/run/log")
		h.start(asNobody)
		h.until("it is abused and written again", func() bool {
			text, _ := os.ReadFile(h.dir + "/run/log")
			return strings.Count(string(text), "abused") == 2 && strings.Contains(string(text), "ready generation=1")
		})
		text, _ := os.ReadFile(h.dir + "/run/log")
		if strings.Count(string(text), " abused read=bad file descriptor, pwrite=<nil>") != 2 || strings.Count(string(text), "pwrite at 0\n") != 2 || strings.HasPrefix(string(text), "pwrite") {
			t.Errorf("the log:\n%s", text)
		}
	})
}
