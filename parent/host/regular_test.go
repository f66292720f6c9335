package host

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestNobodyWaitsForAPipe: what is read by its name while a family runs may be a pipe
// that nobody writes to.
func TestNobodyWaitsForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, open := range map[string]func() any{
		"name servers": func() any {
			if all := Nameservers(path); len(all) > 0 {
				return all
			}
			return nil
		},
		"folder":    func() any { return named(Folder{Path: path, Ours: func(string) bool { return true }}.Shared()) },
		"a private": func() any { return opened(OpenPrivate(path)) },
		"pid file":  func() any { return opened(openOwnName(path)) },
		"regular":   func() any { return opened(openRegular(path, 0)) },
	} {
		answer := make(chan any, 1)
		go func() { answer <- open() }()
		if got := imsgtest.Receive(t, what, answer); got != nil {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func named(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// opened is nil if nothing was.
func opened(f *os.File, err error) any {
	if err != nil {
		return nil
	}
	f.Close()
	return "opened"
}
