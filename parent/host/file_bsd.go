//go:build freebsd || openbsd

package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func dup2(from, to int) error { return unix.Dup2(from, to) }

// NamelessFile makes a file that is in no folder and lasts as long as somebody
// has it open.
func NamelessFile(purpose string) (*os.File, error) {
	f, err := os.CreateTemp("", "smtp-gated."+purpose+".*")
	if err != nil {
		return nil, fmt.Errorf("make the %s: %w", purpose, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink the %s: %w", purpose, err)
	}
	return f, nil
}
