package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

// TestUnprotect: what protects a process from being ended for want of memory is given
// up, what has it ended sooner stays.
func TestUnprotect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oom_score_adj")
	if err := unprotect(path); err != nil {
		t.Errorf("without /proc: %v", err)
	}
	for was, want := range map[string]string{"-1000\n": "0", "-1\n": "0", "0\n": "0\n", "200\n": "200\n"} {
		if err := os.WriteFile(path, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unprotect(path); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != want {
			t.Errorf("%q becomes %q, %v", was, now, err)
		}
	}
}
