//go:build freebsd || openbsd

// What is not to be had where there is no Linux.

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// makeNothing would make a file without a name, which there is none of.
func makeNothing(string) error { return nil }

// confinement is what the kernel says of how a process is locked in.
type confinement struct {
	root, capabilities string
	noNew, filtered    bool
}

func confinementOf(int) (confinement, error) {
	return confinement{}, errors.New("this system does not tell")
}

func prlimit(int, *unix.Rlimit) error { return errors.New("this system does not tell") }

// namelessFile is a mail that can be read alone, in a file whose name is gone before
// anything is written.
func namelessFile(mail io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "smtp-gated-doctor-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := os.Open(f.Name())
	if err := errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, mail); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// namelessRoom is how many octets such a file may have.
func namelessRoom() (uint64, error) {
	s, err := spaceAt(os.TempDir())
	return s.free, err
}
