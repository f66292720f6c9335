package control

import (
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// What the operator asks of rates. This file owns by which names an operator may call
// a client.

// ratePage is the largest number of records in one RateList: as many as fit with
// the longest names and largest numbers.
const ratePage = 128

func (s *Service) listRates(after string) (*imsg.RateList, error) {
	list, err := s.Rates.List(after, ratePage)
	if err != nil {
		return nil, err
	}
	naming, _ := s.naming()
	for i := range list.Records {
		e := &list.Records[i]
		e.Bits = bits(naming, e.Client)
	}
	return list, nil
}

func (s *Service) showRate(client string) (*imsg.RateRecord, error) {
	naming, _ := s.naming()
	c, ok := called(naming, client)
	if !ok {
		return nil, imsg.Invalid
	}
	r, err := s.Rates.Show(namesOf(naming, c)...)
	if err == nil {
		r.Entry.Bits = bits(naming, r.Entry.Client)
	}
	return r, err
}

// setRate gives a client quotas of its own.
func (s *Service) setRate(m *imsg.RateSetQuota) *imsg.Done {
	naming, _ := s.naming()
	client, ok := called(naming, m.Client)
	if !ok {
		return done(imsg.Invalid, locks.WhatName)
	}
	if why := naming.WhyNot(client); why != "" {
		return done(imsg.Invalid, why)
	}
	return s.Rates.SetQuotas(naming.Today(client).String(), m.Quotas, m.Generation)
}

// resetRate begins a client's period anew, or forgets all of it.
func (s *Service) resetRate(m *imsg.RateReset) *imsg.Done {
	naming, _ := s.naming()
	client, ok := called(naming, m.Client)
	if !ok {
		return done(imsg.Invalid, locks.WhatName)
	}
	return s.Rates.Reset(m.Forget, namesOf(naming, client)...)
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

// called is locks.Parse for an operator, who may also name a network as entries are
// shown: 2001:db8::/64, or 2001:db8::/64-ident.
func called(naming locks.Naming, client string) (c locks.Client, ok bool) {
	network, rest, _ := strings.Cut(client, "/")
	if rest == "" {
		return locks.Parse(client)
	}
	length, ident, withIdent := strings.Cut(rest, "-")
	if withIdent {
		network += "-" + ident
	}
	c, ok = locks.Parse(network)
	return c, ok && length == strconv.Itoa(bits(naming, network))
}

// bits is the length of the network that a client's name stands for. A record of
// yesterday may have the name of no network of today: it is one address.
func bits(naming locks.Naming, name string) int {
	c, ok := locks.Parse(name)
	if ok && naming.Host(c.Addr) == c.Addr {
		return naming.Bits(c.Addr)
	}
	return c.Addr.BitLen()
}
