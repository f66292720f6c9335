// What processes may use. This file owns the word of stories that changes it meanwhile.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// limit has the processes of a room bounded, as nofile=3 or as=100000000 (prlimit(1)). With
// no number they may have as much as they are given at their start.
func (s *story) limit(_ *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 2 {
		return errTelling
	}
	pids, err := s.processes(args[0])
	if err != nil {
		return err
	}
	what, most, _ := strings.Cut(args[1], "=")
	for _, pid := range pids {
		if err := limit(pid, what, most); err != nil {
			return err
		}
	}
	return nil
}

// limit bounds what a process may use. An empty most is its hard limit.
func limit(pid int, what, most string) error {
	if most == "" {
		hard, err := ownPrlimit(pid, "--"+what, "--output=HARD", "--noheadings", "--raw")
		if err != nil {
			return err
		}
		most = hard
	}
	_, err := ownPrlimit(pid, "--"+what+"="+most+":")
	return err
}

var ids = regexp.MustCompile(`(?m)^[UG]id:\t(\d+)`)

// ownPrlimit runs prlimit as a process's own user: root may lack the capability for others'.
func ownPrlimit(pid int, args ...string) (string, error) {
	cmd := exec.Command("prlimit", append([]string{"--pid", strconv.Itoa(pid)}, args...)...)
	if os.Geteuid() == 0 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		found := ids.FindAllSubmatch(status, 2)
		if err != nil || len(found) != 2 {
			return "", fmt.Errorf("whose is process %d: %w", pid, err)
		}
		uid, _ := strconv.ParseUint(string(found[0][1]), 10, 32)
		gid, _ := strconv.ParseUint(string(found[1][1]), 10, 32)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("limit process %d: %w: %s", pid, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
