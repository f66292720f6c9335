//go:build linux

package parent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestAbusedFile: a room can add to a log that is a file, and nothing else.
func TestAbusedFile(t *testing.T) {
	if abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(abi) < 3 {
		imsgtest.Lacks(t, "no Landlock of Linux 6.2")
	}
	if statusIn("/proc/self/status")["NoNewPrivs"] == "1" {
		imsgtest.Lacks(t, "no_new_privs binds us and all whom we start")
	}
	both(t, func(t *testing.T, asNobody bool) {
		h := newHouse(t)
		h.configure("proxy_name abuse-log:session", "log_target "+h.dir+"/run/log")
		h.start(asNobody)
		h.until("it is abused and written again", func() bool {
			text, _ := os.ReadFile(h.dir + "/run/log")
			return strings.Count(string(text), "abused") == 2 && strings.Contains(string(text), "ready generation=1")
		})
		text, _ := os.ReadFile(h.dir + "/run/log")
		if strings.Count(string(text), " abused read=bad file descriptor, pwrite=<nil>, truncate=permission denied\n") != 2 ||
			strings.Count(string(text), "pwrite at 0\n") != 2 || strings.HasPrefix(string(text), "pwrite") {
			t.Errorf("the log:\n%s", text)
		}
		// What takes the right to cut it binds no thread that stays.
		h.until("no thread of the parent is bound", func() bool {
			bound := 0
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", h.cmd.Process.Pid))
			for _, path := range threads {
				if status, _ := os.ReadFile(path); strings.Contains(string(status), "NoNewPrivs:\t1") {
					bound++
				}
			}
			return len(threads) > 0 && bound == 0
		})
	})
}
