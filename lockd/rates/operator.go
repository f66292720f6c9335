package rates

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// What an operator asks of records. What is shown is what the next use would find.
//
// A client may have been remembered under another name, by another configuration. So
// where there are several names, the first under which something is remembered counts.

const noPeriod = "rate limits are off: rate.period is 0"

// List shows at most n records behind the one called after. Bits is not filled in.
func (l *Limiter) List(after string, n int) (*imsg.RateList, error) {
	page, more, err := l.store.Page(after, n)
	if err != nil {
		l.log.Error("rates cannot be listed", "error", err)
		return nil, imsg.Internal
	}
	rules := l.rules.Load()
	list := &imsg.RateList{Period: max(int64(rules.period), 0), More: more}
	for _, p := range page {
		list.Records = append(list.Records, l.entry(rules, p.Client, p.Record))
	}
	return list, nil
}

// entry shows a record of the caller's own; nil is one that cannot be read.
func (l *Limiter) entry(rules *rules, client string, r *Record) imsg.RateEntry {
	e := imsg.RateEntry{Client: client, Damaged: r == nil}
	if r == nil {
		return e
	}
	if rules.period > 0 {
		r.renew(rules, l.now().UnixNano())
		e.Expires = r.cleared + int64(rules.period)
	}
	e.Own, e.Generation, e.Cleared = r.generation > rules.generation, r.generation, r.cleared
	e.Quotas, e.Used, e.Tries, e.Targets = r.quotas[:], r.used[:], r.tries[:], len(r.targets)
	return e
}

// Show shows a client's record, the servers called last first. Bits is not filled in.
// Its errors are imsg.NotFound, and imsg.Off if nothing is remembered for that reason.
func (l *Limiter) Show(names ...string) (*imsg.RateRecord, error) {
	rules := l.rules.Load()
	for _, client := range names {
		switch r, err := l.store.Look(client); {
		case err != nil:
			return &imsg.RateRecord{Entry: l.entry(rules, client, nil)}, nil
		case r != nil:
			slices.SortFunc(r.targets, func(a, b imsg.RateTarget) int { return cmp.Compare(b.Last, a.Last) })
			return &imsg.RateRecord{Entry: l.entry(rules, client, r), Targets: r.targets}, nil
		}
	}
	if rules.period <= 0 {
		return nil, imsg.Off
	}
	return nil, imsg.NotFound
}

// SetQuotas gives a client quotas of its own. Without a generation no other is above
// theirs.
func (l *Limiter) SetQuotas(client string, set []imsg.RateQuota, generation uint64) *imsg.Done {
	rules := l.rules.Load()
	generation = cmp.Or(generation, math.MaxUint64)
	switch {
	case rules.period <= 0:
		return done(imsg.Invalid, noPeriod)
	case slices.ContainsFunc(set, func(q imsg.RateQuota) bool { return q.Counter >= imsg.RateCounters }):
		return done(imsg.Invalid, "there is no such counter")
	case slices.ContainsFunc(set, func(q imsg.RateQuota) bool {
		return q.Counter == imsg.RateTLSServers && q.Quota > imsg.MaxRateServers
	}):
		return done(imsg.Invalid, "tls_servers: at most 64 servers of a client's are told apart")
	case generation <= rules.generation:
		return done(imsg.Invalid, "a client's own quotas need a generation above {ratelimit_generation}")
	}
	var now quotas
	err := l.change(client, rules, func(r *Record, _ int64) {
		for _, q := range set {
			r.quotas[q.Counter] = q.Quota
		}
		r.generation, now = generation, r.quotas
	})
	if err != nil {
		l.log.Error("quotas are not set", "client", client, "error", err)
		if errors.Is(err, ErrRecord) || errors.Is(err, ErrStore) {
			return done(imsg.Internal, "the client's record is damaged: reset it first")
		}
		return done(imsg.Resource, "the record cannot be kept: see the log")
	}
	l.log.Info("RATELIMIT:SET", "client", client, "quotas", now, "generation", generation)
	return l.written()
}

// Reset begins a client's period anew, or forgets all of it.
func (l *Limiter) Reset(forget bool, names ...string) *imsg.Done {
	for _, client := range names {
		found := false
		err := l.store.Change(client, func(r *Record) *Record {
			if found = r != nil; !found || forget {
				return nil
			}
			return r.restarted(l.now().UnixNano())
		})
		if errors.Is(err, ErrRecord) {
			err = l.store.Forget(client)
			found = true
		}
		if err != nil {
			l.log.Error("client is not reset", "client", client, "error", err)
			if errors.Is(err, ErrStore) {
				return done(imsg.Internal, "the store of rates is damaged")
			}
			return done(imsg.Resource, "the record cannot be kept: see the log")
		}
		if found {
			l.log.Info("RATELIMIT:RESET", "client", client)
			return l.written()
		}
	}
	if !l.On() {
		return done(imsg.NotFound, noPeriod)
	}
	return done(imsg.NotFound, "nothing is remembered of this client")
}

// written has an operator's change written before it is reported. One that cannot be is
// in force all the same, and the operator is told so.
func (l *Limiter) written() *imsg.Done {
	if l.store.Flush() != nil {
		return done(0, "for now: the store cannot be written, see the log")
	}
	return done(0, "")
}

func done(errno imsg.Errno, detail string) *imsg.Done {
	return &imsg.Done{Errno: errno, Detail: detail}
}
