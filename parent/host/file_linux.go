package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// NamelessFile makes a file that is in no folder and lasts as long as somebody
// has it open (memfd_create(2)).
func NamelessFile(purpose string) (*os.File, error) {
	fd, err := unix.MemfdCreate(purpose, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the %s: %w", purpose, err)
	}
	return os.NewFile(uintptr(fd), purpose), nil
}
