// The store of rate limits: a file in ratelimit_path that is opened here, and that
// lockd reads and writes. This file owns its name; nothing here looks into it.

package site

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/smtp-gated/smtp-gated/parent/host"
)

const ratesFile = "rates.db"

// openRates opens the store, and makes it if it is missing; it is nil if there is to
// be none. One that others can open they could lock, and lockd could use it no more.
func (s *Site) openRates() (*os.File, error) {
	if s.RateExpiration == 0 {
		return nil, nil
	}
	f, err := host.OpenPrivate(filepath.Join(s.Inside(s.RatePath), ratesFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Called("ratelimit_path"), err)
	}
	return f, nil
}

// checkRates finds out before any room starts whether the store can be opened. Its
// folder is there.
func (s *Site) checkRates() error {
	f, err := s.openRates()
	if f != nil {
		err = f.Close()
	}
	return err
}
