// Which system call ended a process: the Go runtime writes its registers when the
// kernel's answer to a hostile call ends it (SYS_SECCOMP). This file owns reading that. It is a
// room's own word, good for a log and nothing else.

package sandbox

import (
	"strconv"
	"strings"
)

// Trap reads the lines of a process's stderr.
type Trap struct{ sprung bool }

// Line tells whether a line completes the news, and the name of the call.
func (t *Trap) Line(text string) (call string, ok bool) {
	if strings.HasPrefix(text, "SIGSYS: bad system call") {
		t.sprung = true
		return "", false
	}
	// Anybody who may send the room a signal may send this one (sigaction(2), SI_USER).
	if strings.HasPrefix(text, "PC=") && !strings.HasSuffix(text, " sigcode=1") {
		t.sprung = false
	}
	name, value, _ := strings.Cut(text, " ")
	if !t.sprung || name != callRegister {
		return "", false
	}
	t.sprung = false
	n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
	if err != nil {
		return "", false
	}
	return callName(uint32(n)), true
}

// Sprung tells whether the news has begun and is not complete.
func (t *Trap) Sprung() bool { return t.sprung }

func callName(n uint32) string {
	for _, calls := range []map[string]uint32{hostile, hostileHere} {
		for name, number := range calls {
			if number == n {
				return name
			}
		}
	}
	return "number " + strconv.FormatUint(uint64(n), 10)
}
