package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOlderKernels: what a kernel lacks is named once at the start, by -V and by
// smtp-gatectl; mail passes, and everything else holds.
func TestOlderKernels(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, to get into rooms")
	const outside = "read a file outside"
	for kernel, row := range map[string]struct {
		lacks []string
		may   []string // of what an intruder tries
	}{
		"none":       {[]string{"seccomp", "Landlock"}, []string{outside, "hold the parent", "bind"}},
		"no-seccomp": {[]string{"seccomp"}, []string{"hold the parent"}},
		"5.10":       {[]string{"Landlock"}, []string{outside, "bind"}},
		"6.1":        {[]string{"length of files", "TCP ports", "abstract", "signals"}, []string{"bind"}},
		"6.8":        {[]string{"abstract", "signals"}, nil},
		"6.12":       {[]string{"signals"}, nil},
	} {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			daemon := playing(t, "-X main.kernel="+kernel)
			g, m := stageOf(t, daemon, false, busy)
			must(t, os.WriteFile(g.path("outside"), []byte("x"), 0o666))
			must(t, sendClean(g))
			all, err := g.whole(0)
			must(t, err)
			n := slices.IndexFunc(all, func(m member) bool { return m.Room == "session" })
			var can []string
			must(t, intrude(all[n].PID, func(i *injector) error {
				try := func(what string, number uint64, args ...any) {
					if a, err := i.call(number, args...); err != nil {
						t.Error(err)
					} else if !a.failed() {
						can = append(can, what)
					}
				}
				try(outside, unix.SYS_OPENAT, unix.AT_FDCWD, g.path("outside"), unix.O_RDONLY, 0)
				try("hold the parent", unix.SYS_PIDFD_OPEN, g.pid, 0)
				s, err := i.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
				if err != nil || s.failed() {
					return fmt.Errorf("no socket: %v, %w", s, err)
				}
				at := inet(m.port(), 127, 99, 0, 1) // nobody has the server's port there
				try("bind", unix.SYS_BIND, int(s.result), at, len(at))
				return nil
			}))
			if fmt.Sprint(can) != fmt.Sprint(row.may) {
				t.Errorf("an intruder can %q, want %q", can, row.may)
			}
			out, err := g.command(daemon, "-V").Output()
			must(t, err)
			_, lacks, _ := strings.Cut(string(out), "sandbox lacks")
			status, err := g.command(program("smtp-gatectl"), "--socket", g.path("run/control"), "status").Output()
			must(t, err)
			for _, layer := range row.lacks {
				if said := strings.Count(g.log(), layer); said != 1 || !strings.Contains(lacks, layer) || !strings.Contains(string(status), layer) {
					t.Errorf("%s is named %d times in the log, or not by -V or smtp-gatectl:\n%s\n%s", layer, said, lacks, status)
				}
			}
			must(t, sendClean(g))
			must(t, g.terminate())
		})
	}
}

// TestMissingWord: a word that a room needs and has not is no outage. Under load each
// mail that needs it hears 451, the room lives, nothing passes unseen, and the log says
// once what to report.
func TestMissingWord(t *testing.T) {
	bothWays(t, func(t *testing.T, rooted bool) {
		g, m := stageOf(t, playing(t, "-X main.without=flock"), rooted, busy)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range 5 {
					if err := sendClean(g); err == nil || !strings.Contains(err.Error(), "451 ") {
						t.Errorf("a client hears %v", err)
					}
				}
			})
		}
		wg.Wait()
		noneBad(t, m)
		r, err := g.ask()
		must(t, err)
		if r.Crashes > 0 {
			t.Errorf("%d rooms crashed", r.Crashes)
		}
		if n := strings.Count(g.log(), "BUG: a system call is none of this room's words"); n == 0 || n > 2 {
			t.Errorf("by two workers it was said %d times", n)
		}
		must(t, g.terminate())
	})
}
