//go:build linux

package host

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestUncut: nobody cuts a log short by a descriptor that was handed out, and we can
// still do so with every other file.
func TestUncut(t *testing.T) {
	if abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(abi) < 3 {
		imsgtest.Lacks(t, "no Landlock of Linux 6.2")
	}
	if bound, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || bound == 1 {
		imsgtest.Lacks(t, "no_new_privs binds us and all whom we start")
	}
	dir := t.TempDir()
	s, err := OpenSink(filepath.Join(dir, "log"), imsg.Sink{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	for _, f := range own(t, s, 32) {
		f.WriteString("line\n")
		if err := f.Truncate(0); !errors.Is(err, unix.EACCES) {
			t.Errorf("cut short: %v", err)
		}
	}
	if text, _ := os.ReadFile(s.File.Name()); strings.Count(string(text), "line\n") != 32 {
		t.Errorf("the log: %q", text)
	}
	// As many threads at once as there are, and some new ones.
	var all, ready sync.WaitGroup
	const threads = 64
	ready.Add(threads)
	for range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			ready.Wait()
			f, err := os.CreateTemp(dir, "")
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if err := f.Truncate(1); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	imsgtest.Until(t, "no thread is bound", func() bool {
		tasks, _ := filepath.Glob("/proc/self/task/*/status")
		for _, path := range tasks {
			if status, _ := os.ReadFile(path); strings.Contains(string(status), "NoNewPrivs:\t1") {
				return false
			}
		}
		return len(tasks) >= threads
	})
}

// TestDoomedThread: what is done from the first thread is done on another.
func TestDoomedThread(t *testing.T) {
	for range 100 {
		onDoomedThread(func() {
			if unix.Gettid() == unix.Getpid() {
				t.Error("on the first thread")
			}
		})
	}
}
