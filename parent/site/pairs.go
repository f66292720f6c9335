// The files of certificates and their private keys. This file owns that they are opened
// and told apart from others of the same names; nothing here reads them.

package site

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// PairState tells the files of a certificate from those that had their names before, or
// why there are none.
type PairState struct {
	chain, key fileState
	problem    string
}

type fileState struct {
	device, inode uint64
	size          int64
	changed       unix.Timespec // status, which whoever writes the file cannot set
}

// Pair is the files of a certificate, open.
type Pair struct {
	State PairState
	files []*os.File
}

// OpenPair opens those of the certificate with a number. It may wait for a disk.
func (s *Site) OpenPair(number int) (p Pair) {
	names := s.TLSCertificates[number]
	for _, f := range []struct {
		path string
		is   *fileState
	}{{names.Chain, &p.State.chain}, {names.Key, &p.State.key}} {
		file, err := host.OpenRegular(s.Inside(f.path))
		if err == nil {
			p.files = append(p.files, file)
			*f.is, err = stateOf(file)
		}
		if err != nil {
			p.Close()
			p.State = PairState{problem: err.Error()}
			return p
		}
	}
	return p
}

func stateOf(f *os.File) (fileState, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileState{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Ctim}, nil
}

// Close closes what is open.
func (p *Pair) Close() {
	for _, f := range p.files {
		f.Close()
	}
	p.files = nil
}

// Hand hands the files over, or tells what keeps them back.
func (p *Pair) Hand(tell Tell, number int) {
	if len(p.files) == 0 {
		tell(&imsg.PairLost{Number: number, Problem: imsg.Printable(p.State.problem, 200)})
		return
	}
	tell(&imsg.Pair{Number: number}, p.files...)
}

// checkPairs finds out before any room starts whether all can be opened.
func (s *Site) checkPairs() error {
	var errs []error
	for i := range s.TLSCertificates {
		p := s.OpenPair(i)
		p.Close()
		if p.State.problem != "" {
			errs = append(errs, fmt.Errorf("tls.certificate: %s", p.State.problem))
		}
	}
	return errors.Join(errs...)
}

// Exposed tells of private keys that others may read.
func (s *Site) Exposed() (all []config.Advice) {
	for _, c := range s.TLSCertificates {
		path := s.Inside(c.Key)
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
			all = append(all, config.Advice{
				Severity: config.Danger, Option: "tls.certificate.key",
				Text: fmt.Sprintf("everybody on this machine may read %s, and be the server for your clients: chmod 0600 it, and get another key", path),
			})
		}
	}
	return all
}
