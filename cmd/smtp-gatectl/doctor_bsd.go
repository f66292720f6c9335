//go:build freebsd || openbsd

// What is not to be had where there is no Linux.

package main

import (
	"errors"
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

// namelessFile is a file whose name is gone before anything is written.
func namelessFile() (*os.File, error) {
	f, err := os.CreateTemp("", "smtp-gated-doctor-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
