// What the operator asks of rates. This file owns those questions; what is shown
// is what the next use would find.

package lockd

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// ratePage is the largest number of records in one RateList: as many as fit with
// the longest names and largest numbers.
const ratePage = 128

const noPeriod = "rate limits are off: their period is 0"

func (k *keeper) listRates(after string) (*imsg.RateList, error) {
	page, more, err := k.page(after, ratePage)
	if err != nil {
		k.log.Error("rates cannot be listed", "error", err)
		return nil, imsg.Internal
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list := &imsg.RateList{Period: max(int64(k.rules.period), 0), More: more}
	for _, n := range page {
		list.Records = append(list.Records, k.entry(n.name, n.record))
	}
	return list, nil
}

// entry shows a record of the caller's own; nil is one that cannot be read.
func (k *keeper) entry(name string, r *record) imsg.RateEntry {
	e := imsg.RateEntry{Client: name, Bits: k.bits(name), Damaged: r == nil}
	if r == nil {
		return e
	}
	if l := &k.rules; l.period > 0 {
		r.renew(l, k.machine.now().UnixNano())
		e.Expires = r.cleared + int64(l.period)
	}
	e.Own, e.Generation, e.Cleared = r.generation > k.rules.generation, r.generation, r.cleared
	e.Quotas, e.Used, e.Tries, e.Targets = r.quotas[:], r.used[:], r.tries[:], len(r.targets)
	return e
}

// bits is the length of the network that a client's name stands for. A record of
// yesterday may have the name of no network of today: it is one address.
func (k *keeper) bits(name string) int {
	c, ok := locks.Parse(name)
	if ok && k.host(c.Addr) == c.Addr {
		return k.naming().Bits(c.Addr)
	}
	return c.Addr.BitLen()
}

func (k *keeper) showRate(client string) (answer *imsg.RateRecord, err error) {
	k.findRate(client, func(c memory) {
		r := c.record
		switch {
		case c.name == "":
			err = imsg.Invalid
		case c.err != nil:
			answer = &imsg.RateRecord{Entry: k.entry(c.name, nil)}
		case r == nil && k.rules.period <= 0:
			err = imsg.Off
		case r == nil:
			err = imsg.NotFound
		default:
			r = r.clone()
			slices.SortFunc(r.targets, func(a, b imsg.RateTarget) int { return cmp.Compare(b.Last, a.Last) })
			answer = &imsg.RateRecord{Entry: k.entry(c.name, r), Targets: r.targets}
		}
	})
	return answer, err
}

// called is locks.Parse for an operator, who may also name a network as entries are
// shown: 2001:db8::/64, or 2001:db8::/64-ident.
func (k *keeper) called(client string) (c locks.Client, ok bool) {
	network, rest, _ := strings.Cut(client, "/")
	if rest == "" {
		return locks.Parse(client)
	}
	bits, ident, withIdent := strings.Cut(rest, "-")
	if withIdent {
		network += "-" + ident
	}
	c, ok = locks.Parse(network)
	return c, ok && bits == strconv.Itoa(k.bits(network))
}

// findRate has f see to the record of a client that an operator named, under the
// keeper's lock. Its name is empty if that is no name.
func (k *keeper) findRate(client string, f func(memory)) {
	k.mu.Lock()
	named, ok := k.called(client)
	said, today := named.String(), k.naming().Today(named).String()
	if !ok {
		f(memory{})
	}
	k.mu.Unlock()
	if !ok {
		return
	}
	// A record of yesterday may stand under the address as it was said.
	found := false
	if said != today {
		k.remember(said, func(c memory) {
			if found = c.record != nil || c.err != nil; found {
				f(c)
			}
		})
	}
	if !found {
		k.remember(today, f)
	}
}

// setRate gives a client quotas of its own.
func (k *keeper) setRate(m *imsg.RateSetQuota) *imsg.Done {
	return k.written(k.setQuotas(m))
}

// written has an operator's change written before it is reported. One that cannot
// be is in force all the same, and the operator is told so.
func (k *keeper) written(answer *imsg.Done) *imsg.Done {
	if answer.Errno != 0 {
		return answer
	}
	k.writeRates()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rates.file == nil || k.rates.sick {
		answer.Detail = "for now: the store cannot be written, see the log"
	}
	return answer
}

func (k *keeper) setQuotas(m *imsg.RateSetQuota) (answer *imsg.Done) {
	k.mu.Lock()
	name, why := k.maySet(m)
	k.mu.Unlock()
	if why != "" {
		return done(imsg.Invalid, why)
	}
	k.remember(name, func(c memory) {
		r, now := c.record, k.machine.now().UnixNano()
		if c.err != nil {
			k.log.Error("quotas are not set", "client", name, "error", c.err)
			answer = done(imsg.Internal, "the client's record is damaged: reset it first")
			return
		}
		if r == nil {
			r = newRecord(&k.rules, now)
		}
		r.renew(&k.rules, now)
		for _, q := range m.Quotas {
			r.quotas[q.Counter] = q.Quota
		}
		r.generation = ownGeneration(m)
		if err := k.rates.put(name, r); err != nil {
			k.log.Error("quotas are not set", "client", name, "error", err)
			answer = done(imsg.Resource, "the record cannot be kept: see the log")
			return
		}
		k.log.Info("RATELIMIT:SET", "client", name, "quotas", r.quotas, "generation", r.generation)
		answer = done(0, "")
	})
	return answer
}

// ownGeneration is that of quotas of a client's own: by default no other is above.
func ownGeneration(m *imsg.RateSetQuota) uint64 { return cmp.Or(m.Generation, math.MaxUint64) }

// maySet returns the name of the client that is to get quotas of its own, or why it
// cannot.
func (k *keeper) maySet(m *imsg.RateSetQuota) (name, why string) {
	client, ok := k.called(m.Client)
	if !ok {
		return "", locks.WhatName
	}
	if why := k.naming().WhyNot(client); why != "" {
		return "", why
	}
	if k.rules.period <= 0 {
		return "", noPeriod
	}
	for _, q := range m.Quotas {
		if q.Counter >= imsg.RateCounters {
			return "", "there is no such counter"
		}
	}
	if ownGeneration(m) <= k.rules.generation {
		return "", "a client's own quotas need a generation above ratelimit_generation"
	}
	return k.naming().Today(client).String(), ""
}

// resetRate begins a client's period anew, or forgets all of it.
func (k *keeper) resetRate(m *imsg.RateReset) *imsg.Done {
	return k.written(k.reset(m))
}

func (k *keeper) reset(m *imsg.RateReset) (answer *imsg.Done) {
	k.findRate(m.Client, func(c memory) { answer = k.resetOne(c, m.Forget) })
	return answer
}

func (k *keeper) resetOne(c memory, forget bool) *imsg.Done {
	r := c.record
	switch {
	case c.name == "":
		return done(imsg.Invalid, locks.WhatName)
	case errors.Is(c.err, errStore):
		k.log.Error("client is not reset", "client", c.name, "error", c.err)
		return done(imsg.Internal, "the store of rates is damaged")
	case c.err == nil && r == nil && k.rules.period <= 0:
		return done(imsg.NotFound, noPeriod)
	case c.err == nil && r == nil:
		return done(imsg.NotFound, "nothing is remembered of this client")
	}
	if r != nil && !forget {
		fresh := newRecord(&k.rules, k.machine.now().UnixNano())
		fresh.generation, fresh.quotas = r.generation, r.quotas
		r = fresh
	} else {
		r = nil
	}
	if err := k.rates.put(c.name, r); err != nil {
		k.log.Error("client is not reset", "client", c.name, "error", err)
		return done(imsg.Resource, "the record cannot be kept: see the log")
	}
	k.log.Info("RATELIMIT:RESET", "client", c.name)
	return done(0, "")
}
