package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Ends of a process that confines itself and reads a file.
const (
	didRead = iota
	notConfined
	notThere
	otherError
)

// TestConfine runs itself, in a folder with a file: who does what it did not promise is
// killed, and what lies elsewhere is not there.
func TestConfine(t *testing.T) {
	const promises, reads = "CONFINE", "READS"
	if words := os.Getenv(promises); words != "" {
		if err := Confine(&Rights{Words: strings.Fields(words)}); err != nil {
			os.Exit(notConfined)
		}
		switch _, err := os.ReadFile(os.Getenv(reads)); {
		case err == nil:
			os.Exit(didRead)
		case errors.Is(err, os.ErrNotExist):
			os.Exit(notThere)
		}
		os.Exit(otherError)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words, file string
		exit        int // -1: SIGABRT
	}{
		{"stdio rpath", "file", didRead},
		{"stdio rpath", "/etc/hosts", notThere},
		{"stdio unix-connect rpath", "../../../../../../etc/hosts", notThere},
		{"stdio", "file", -1},
		{"nonsense", "file", notConfined},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestConfine$")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), promises+"="+c.words, reads+"="+c.file)
		cmd.Run()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.ExitStatus() != c.exit || c.exit < 0 && status.Signal() != syscall.SIGABRT {
			t.Errorf("%s reads %s: %v, want %d", c.words, c.file, cmd.ProcessState, c.exit)
		}
	}
}
