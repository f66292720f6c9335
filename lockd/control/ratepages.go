package control

import (
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// What the operator asks of rates. This file owns under which names a client's record is
// looked for.

func (s *Service) listRates(after string) (*imsg.RateList, error) {
	list, err := s.Rates.List(after, imsg.RatePage)
	if err != nil {
		return nil, err
	}
	naming, _ := s.naming()
	for i := range list.Records {
		e := &list.Records[i]
		e.Bits = shown(naming, e.Client)
	}
	return list, nil
}

func (s *Service) showRate(client string) (*imsg.RateRecord, error) {
	naming, _ := s.naming()
	c, err := naming.Called(client)
	if err != nil {
		return &imsg.RateRecord{NoClient: err.Error()}, nil
	}
	r, err := s.Rates.Show(namesOf(naming, c.Client)...)
	if err == nil {
		r.Entry.Bits = shown(naming, r.Entry.Client)
	}
	return r, err
}

// setRate gives a client quotas of its own.
func (s *Service) setRate(m *imsg.RateSetQuota) *imsg.Done {
	naming, config := s.naming()
	client, err := naming.Called(m.Client)
	if err == nil {
		err = naming.WhyNot(client)
	}
	if err != nil {
		return done(imsg.Invalid, err.Error())
	}
	if client.Login != "" && config.RateBy == imsg.ByAddress {
		return done(imsg.Invalid, "{ratelimit_by} is address: no login has quotas")
	}
	return s.Rates.SetQuotas(naming.Today(client.Client).String(), m.Quotas, m.Generation)
}

// resetRate begins a client's period anew, or forgets all of it.
func (s *Service) resetRate(m *imsg.RateReset) *imsg.Done {
	naming, _ := s.naming()
	client, err := naming.Called(m.Client)
	if err != nil {
		return done(imsg.Invalid, err.Error())
	}
	return s.Rates.Reset(m.Forget, namesOf(naming, client.Client)...)
}

// namesOf is what a client that an operator named may be remembered under. A record of
// yesterday may stand under the address as it was said.
func namesOf(naming locks.Naming, c locks.Client) []string {
	said, today := c.String(), naming.Today(c).String()
	if said == today {
		return []string{today}
	}
	return []string{said, today}
}

// shown is the length of the network that a record is of, 0 if its name is no client's.
func shown(naming locks.Naming, name string) int {
	c, ok := locks.Parse(name)
	if !ok {
		return 0
	}
	return naming.Shown(c)
}
