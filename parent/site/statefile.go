// The state file: lockd writes it, into a file opened here that gets its name when
// it is complete, so that nobody ever reads half of one.

package site

import (
	"fmt"
	"io/fs"
	"os"
)

// StateFile is one that is being written.
type StateFile struct {
	*os.File
	path string // where it goes
}

// NewStateFile makes a fresh file: an old one may be half written, or a trap.
func (s *Site) NewStateFile() (*StateFile, error) {
	path := s.Inside(s.StateFile)
	os.Remove(path + ".tmp")
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(s.StateFilePerm))
	if err != nil {
		return nil, fmt.Errorf("make state file: %w", err)
	}
	return &StateFile{f, path}, nil
}

// Finish closes the file and gives it its name, or removes it if writing it met an
// error, which it returns.
func (f *StateFile) Finish(err error) error {
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), f.path)
}
