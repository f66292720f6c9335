package session

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// One who may read the spool can lock a file that is just being made; that must
// not hold up the session.
func TestSpoolLockedByOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "1.1.part")
	stop, ended := make(chan struct{}), make(chan []*os.File)
	go func() {
		var held []*os.File
		for {
			select {
			case <-stop:
				ended <- held
				return
			default:
			}
			if f, err := os.Open(name); err == nil && unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				held = append(held, f)
			} else if err == nil {
				f.Close()
			}
		}
	}()
	for range 200 {
		f, err := create(name, 0o644)
		if err != nil {
			continue // a session is put off, no worker waits
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Error("it is not locked:", err)
		}
		f.Close()
		os.Remove(name)
	}
	close(stop)
	for _, f := range <-ended {
		f.Close()
	}
}
