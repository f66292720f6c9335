package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestConfine runs itself: who does what it did not promise is killed.
func TestConfine(t *testing.T) {
	const word = "CONFINE"
	if promises := os.Getenv(word); promises != "" {
		if err := Confine(&Rights{Words: strings.Fields(promises)}); err != nil {
			os.Exit(3)
		}
		if _, err := os.ReadFile("/etc/hosts"); err != nil {
			os.Exit(4)
		}
		os.Exit(0)
	}
	run := func(promises string) error {
		cmd := exec.Command(os.Args[0], "-test.run=^TestConfine$")
		cmd.Env = append(os.Environ(), word+"="+promises)
		return cmd.Run()
	}
	if err := run("stdio rpath"); err != nil {
		t.Errorf("with a promise of it: %v", err)
	}
	var exit *exec.ExitError
	if err := run("stdio"); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGABRT {
		t.Errorf("without: %v, want SIGABRT", err)
	}
	if err := run("nonsense"); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("nonsense: %v", err)
	}
}
