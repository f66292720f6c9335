// The store of rate limits: a file in ratelimit_path that the parent opens and
// lockd reads and writes. This file owns its name; nothing here looks into it.

package parent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

const ratesFile = "rates.db"

// openRates opens the store, and makes it if it is missing. One that others can
// open they could lock, and lockd could use it no more.
func openRates(c *config.Config) (*os.File, error) {
	f, err := host.OpenPrivate(filepath.Join(c.Inside(c.RatePath), ratesFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Called("ratelimit_path"), err)
	}
	return f, nil
}

// checkRates sees to it that lockd can be given a store, if it is to have one. Its
// folder is there.
func checkRates(c *config.Config) error {
	if c.RateExpiration == 0 {
		return nil
	}
	f, err := openRates(c)
	if err != nil {
		return err
	}
	return f.Close()
}

// handRates gives lockd the store, opened anew: two that share an offset and a
// lock could not tell each other apart.
func (p *parent) handRates(m *child) {
	c := m.gen.cfg
	if c.RateExpiration == 0 {
		return
	}
	f, err := openRates(c)
	if err != nil {
		p.log.Error("rate limits will be forgotten: their store cannot be opened", "error", err)
		return
	}
	defer f.Close()
	p.tell(m, &imsg.RateStore{}, f)
}
