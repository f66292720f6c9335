package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// This file owns what mails pass on their way when we are compared with others: sinks,
// HAProxy, ourselves; and who sends them.

// way is one to the sink.
type way struct {
	name    string
	address string
	pids    []int // all processes of what lies on it
	stop    func()
}

// throughHAProxy passes TCP on, of so many sessions at most.
func throughHAProxy(b *testing.B, sink string, sessions int) way {
	address := imsgtest.Port(b).String()
	file := filepath.Join(b.TempDir(), "haproxy.cfg")
	must(b, os.WriteFile(file, fmt.Appendf(nil, `global
	maxconn %d
defaults
	mode tcp
	timeout connect 5s
	timeout client 300s
	timeout server 300s
listen smtp
	bind %s
	server one %s
`, sessions+50, address, sink), 0o600))
	process := listening(b, address, needProgram(b, "haproxy"), "-q", "-db", "-f", file)
	return way{"haproxy", address, []int{process.Pid}, func() { process.Kill() }}
}

// throughUs passes what own, its configuration, says of scanning and logging. Daemon is
// another program than ours.
func throughUs(b *testing.B, name, daemon, sink string, sessions int, own string) way {
	// Whose limit of descriptors cannot be raised to all that root's workers may need, runs
	// as a user, with what there is.
	rooted := os.Geteuid() == 0 && uint64(6*(sessions+50)+64) <= descriptors()
	g, err := newGate(b.TempDir(), rooted)
	must(b, err)
	g.daemon = cmp.Or(daemon, g.daemon)
	_, port, _ := net.SplitHostPort(sink)
	g.server, _ = strconv.Atoi(port)
	at := imsgtest.Port(b)
	must(b, g.configure(fmt.Sprintf("port %d\nmax_connections %d\nmax_per_host 0\nlog_level err\nworkers 0\n", at.Port(), sessions+50)+own, false))
	must(b, g.start())
	b.Cleanup(g.end)
	if daemon != "" { // it may not understand us
		return way{name, at.String(), append(offspring(g.pid), g.pid), g.end}
	}
	return way{name, at.String(), processes(b, g), g.end}
}

// processes are all of a family, the parent too, as soon as lockd knows of them.
func processes(b *testing.B, g *gate) (all []int) {
	must(b, eventually("the family is not told of", func() bool {
		r, err := g.ask()
		must(b, err)
		missing := maps.Clone(family)
		missing["parent"] = 1
		for _, m := range r.Rooms {
			if m.State == "running" {
				delete(missing, m.Room)
			}
		}
		all = pids(r.Rooms)
		return len(missing) == 0
	}))
	return all
}

const (
	unscanned   = "antivirus_type off\nantispam_type off\n"
	builtinScan = "antivirus_type builtin\nantispam_type off\nscan_max_size 20000000\n"
	clamdScan   = "antivirus_type clamd\nantispam_type off\nscan_max_size 20000000\nantivirus_path "
)

// listening runs a program until the benchmark ends, waits until it listens, and returns
// its process.
func listening(b *testing.B, address, name string, args ...string) *os.Process {
	b.Helper()
	cmd := exec.Command(name, args...)
	must(b, cmd.Start())
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	must(b, eventually(filepath.Base(name)+" does not listen", func() bool {
		c, err := net.Dial("tcp4", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}))
	return cmd.Process
}

// descriptors raises how many we, and those whom we start, may have, as far as we may.
func descriptors() uint64 {
	const wanted = 1 << 17
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	if limit.Max < wanted && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: wanted, Max: wanted}) == nil {
		return wanted
	}
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Max, Max: limit.Max})
	return limit.Max
}

// cpuOf is the time that processes have spent until now, in seconds (proc(5): the
// scheduler's, in nanoseconds).
func cpuOf(t testing.TB, pids ...int) (seconds float64) {
	t.Helper()
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		must(t, err)
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // a thread that has just ended
			}
			must(t, err)
			var n float64
			fmt.Sscan(string(text), &n)
			seconds += n / 1e9
		}
	}
	return seconds
}

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// pssOf is the memory of processes in KiB, what several share divided among them.
func pssOf(t testing.TB, pids ...int) (sum float64) {
	t.Helper()
	for _, pid := range pids {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		must(t, err)
		found := pssLine.FindSubmatch(rollup)
		if found == nil {
			t.Fatalf("process %d has no memory: %q", pid, rollup)
		}
		n, _ := strconv.Atoi(string(found[1]))
		sum += float64(n)
	}
	return sum
}
