package action

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// status returns the state and the parent of a process, as proc_pid_stat(5) has them.
func status(pid int) (state, parent string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := strings.Fields(string(text)); len(fields) > 3 {
		return fields[2], fields[3]
	}
	return "", ""
}

// TestJobs: what scripts leave behind has us for a parent, is reaped when it ends, and
// takes no script's status with it.
func TestJobs(t *testing.T) {
	var j jobs
	end, err := j.adopt()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		end()
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	}()
	run := func(text string) (*exec.Cmd, *strings.Builder) {
		out := new(strings.Builder)
		c := exec.Command("/bin/sh", "-c", text)
		c.Stdout = out
		if err := j.start(c); err != nil {
			t.Fatal(err)
		}
		return c, out
	}
	var left []int
	for range 3 {
		c, out := run("sleep 1000 >/dev/null & echo $!")
		if err := j.wait(c); err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Kill(pid, unix.SIGKILL)
		if _, parent := status(pid); parent != strconv.Itoa(os.Getpid()) {
			t.Errorf("the parent of %d is %s", pid, parent)
		}
		left = append(left, pid)
	}
	gone := func(pid int) func() bool {
		return func() bool { return unix.Kill(pid, 0) == unix.ESRCH }
	}
	_ = unix.Kill(left[0], unix.SIGKILL)
	eventually(t, "the first is reaped", gone(left[0]))

	// One that ends behind a script that nobody has waited for yet.
	script, _ := run("exit 7")
	eventually(t, "the script's end", func() bool { state, _ := status(script.Process.Pid); return state == "Z" })
	_ = unix.Kill(left[1], unix.SIGKILL)
	eventually(t, "the second's end", func() bool { state, _ := status(left[1]); return state == "Z" || state == "" })
	if err := j.wait(script); err == nil || script.ProcessState.ExitCode() != 7 {
		t.Errorf("the script's status is %v", err)
	}
	eventually(t, "the second is reaped", gone(left[1]))
	if state, _ := status(left[2]); state == "" || state == "Z" {
		t.Errorf("the third is in state %q", state)
	}
}
