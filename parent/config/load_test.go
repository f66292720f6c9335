package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestWhatIsNoFile: reading a configuration waits for nobody, whatever has its name.
func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, []byte(strings.Repeat("#\n", largest)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "no regular file", dir: "no regular file", "/dev/zero": "no regular file", large: "larger than",
	} {
		failed := make(chan error, 1)
		go func() {
			_, _, err := Load(path)
			failed <- err
		}()
		if err := imsgtest.Receive(t, "an answer about "+path, failed); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
