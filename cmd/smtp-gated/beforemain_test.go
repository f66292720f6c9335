package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestBeforeMain: each room is the whole program, so that what a package makes before main
// lies in all of them. None of ours makes there what it may do without.
func TestBeforeMain(t *testing.T) {
	cmd := exec.Command(program("smtp-gated"), "-V")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := false
	for _, m := range regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) bytes, `).FindAllStringSubmatch(string(out), -1) {
		who, ours := strings.CutPrefix(m[1], module)
		if !ours {
			continue
		}
		most := 10 << 10
		if who == "imsg" { // the table of messages, which all need
			found, most = true, 48<<10
		}
		if n, err := strconv.Atoi(m[2]); err != nil || n > most {
			t.Errorf("%s allocates %s octets, %v", who, m[2], err)
		}
	}
	if !found {
		t.Errorf("nothing is told:\n%s", out)
	}
}
