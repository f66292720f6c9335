//go:build amd64 || arm64

package sandbox

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTable: -v prints which system calls each word allows, those with a * for some
// arguments only. Each has a name.
func TestTable(t *testing.T) {
	names := map[uint32]string{
		unix.SYS_OPENAT: "openat", unix.SYS_FCNTL: "fcntl", unix.SYS_GETSOCKOPT: "getsockopt", unix.SYS_SETSOCKOPT: "setsockopt",
		unix.SYS_RT_SIGACTION: "rt_sigaction", unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SCHED_GETAFFINITY: "sched_getaffinity",
	}
	for name, number := range hostile {
		names[number] = name
	}
	for _, calls := range plain {
		for name, number := range calls {
			names[number] = name
		}
	}
	for _, w := range Words {
		var said []string
		for _, r := range wordRules(w.Word) {
			name := names[r.call]
			if name == "" {
				t.Errorf("%s allows call %d", w.Word, r.call)
			}
			if len(r.checks) > 0 {
				name += "*"
			}
			if r.answer == unix.SECCOMP_RET_ALLOW && !slices.Contains(said, name) {
				said = append(said, name)
			}
		}
		t.Logf("%-13s %s", w.Word, strings.Join(said, " "))
	}
	for _, words := range [][]string{{"stdio"}, {"stdio", "rpath", "wpath", "cpath", "flock", "stdio-splice", "inet-serve", "inet-tcp"}} {
		strict, soft := (&Rights{Words: words}).programs()
		t.Logf("%v: filters of %d and %d instructions", words, len(strict), len(soft))
	}
}

// TestNobodyNamesAnAddress: who asks connects first. A socket of the log that one was
// handed is connected, and sendto(2) would lead it elsewhere.
func TestNobodyNamesAnAddress(t *testing.T) {
	for _, w := range Words {
		sends := (deed{call: unix.SYS_SENDTO}).allowed(&Rights{Words: []string{w.Word}})
		if sends != (w.Word == "inet-answer") {
			t.Errorf("%s sends to an address: %v", w.Word, sends)
		}
	}
}
