package action

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// TestLimits: a script, and what it starts, meets limit_virt_size,
// limit_data_size and limit_fsize; the room does not.
func TestLimits(t *testing.T) {
	const text = "grep -E 'Max (address space|data size|file size)' /proc/self/limits > out.part\nmv out.part out\n"
	s := open(t, text, imsg.ActionConfig{Virtual: 256 << 20, Data: 128 << 20, File: 1 << 20})
	s.run(example())
	var got []string
	for line := range strings.Lines(s.file("out") + "\n") {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"Max file size 1048576 1048576 bytes", "Max data size 134217728 134217728 bytes", "Max address space 268435456 268435456 bytes"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}

	s = open(t, text, imsg.ActionConfig{})
	s.run(example())
	if out := s.file("out"); strings.Count(out, " unlimited ") != 6 {
		t.Skipf("these tests run under a limit already: %s", out)
	}
}

// TestLimitsFirst: the limits hold before the script's first instruction, though that is
// the exec of another user's program.
func TestLimitsFirst(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a program setuid")
	}
	other := filepath.Join(t.TempDir(), "grep")
	in, err := exec.LookPath("grep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, err := range []error{os.WriteFile(other, program, 0o755), os.Chown(other, nobody, -1), os.Chmod(other, 0o755|os.ModeSetuid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const n = 100
	s := open(t, "exec "+other+" -h -e '^Uid' -e 'address space' /proc/self/limits /proc/self/status >> out\n", imsg.ActionConfig{Virtual: 256 << 20, Queue: n})
	for range n {
		s.run(example())
	}
	eventually(t, "all ended", func() bool { return s.log.Count("action script ended") == n })
	words := strings.Join(strings.Fields(s.file("out")), " ")
	if strings.Count(words, "Max address space 268435456 268435456") != n || strings.Count(words, "Uid: 0 65534 ") != n {
		t.Error(words)
	}
}

// TestLimitsTooSmall: the log tells that a script met its limits before it began, whether
// exec fails or the kernel ends it then.
func TestLimitsTooSmall(t *testing.T) {
	if sandbox.LinkedWithCgo {
		t.Skip("linked with cgo, as for the race detector, a program cannot live under such limits until it is the script")
	}
	for _, c := range []struct {
		config   imsg.ActionConfig
		env, log string
	}{
		{imsg.ActionConfig{Virtual: 1}, "", "action script failed"},
		{imsg.ActionConfig{Data: 1}, "", "action script failed"},
		{imsg.ActionConfig{Virtual: 1}, strings.Repeat("x", 100<<10), "action script cannot be started"},
	} {
		t.Setenv("LONG", c.env)
		s := open(t, "touch out\n", c.config)
		s.run(example())
		eventually(t, c.log, func() bool { return s.log.Count(c.log) == 1 })
		if s.log.Count("remedy=\"raise the limits of its memory") != 1 {
			t.Error(s.log.String())
		}
	}
}

// BenchmarkScript has one with limits that does nothing.
func BenchmarkScript(b *testing.B) {
	a := runner{log: slog.New(slog.DiscardHandler), life: b.Context(), jobs: new(jobs)}
	config := &imsg.ActionConfig{Program: self, Script: "/bin/true", Directory: "/", Timeout: patience, Virtual: 64 << 20, Data: 64 << 20}
	for b.Loop() {
		if problem := a.run(config, example()); problem != "" {
			b.Fatal(problem)
		}
	}
}

// TestStderr: the log has the beginning of what a script that fails has said. What it has
// left running holds up nobody, and is not ended by what it says later. Nor does
// a script that says a lot wait for anybody.
func TestStderr(t *testing.T) {
	s := open(t, `
{ until [ -e go ]; do sleep 0.01; done; echo late >&2; echo $? > late; } &
printf '\nno such \033set\r\nmore\n' >&2
exit 1
`, imsg.ActionConfig{})
	s.run(example())
	eventually(t, "failure", func() bool { return s.log.Count(`stderr="no such #set; more" status="exit status 1"`) == 1 })
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if late := s.file("late"); late != "0" {
		t.Errorf("what was left running had status %s", late)
	}

	s = open(t, "head -c 300000 /dev/zero | tr '\\0' x >&2\nexit 1\n", imsg.ActionConfig{})
	s.run(example())
	eventually(t, "failure", func() bool {
		return s.log.Count("stderr="+strings.Repeat("x", maxHeard)+" status=\"exit status 1\"") == 1
	})
}
