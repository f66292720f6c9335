package rates

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// What clients use is held against their records. This file owns how a use is judged,
// and what is logged of it. Without a period there are no limits: no record is looked
// at or made.

// Limiter holds uses against the records of a store. Its calls take as long as the
// store's; any goroutine that holds no lock may call.
type Limiter struct {
	store Store
	now   func() time.Time
	log   *slog.Logger
	rules atomic.Pointer[rules]
}

// New has no limits until it is configured.
func New(store Store, now func() time.Time, log *slog.Logger) *Limiter {
	l := &Limiter{store: store, now: now, log: log}
	l.rules.Store(new(rules))
	return l
}

// Configure has what follows be judged by the rules of c.
func (l *Limiter) Configure(c *imsg.LockdConfig) { l.rules.Store(newRules(c)) }

// On tells whether there are limits.
func (l *Limiter) On() bool { return l.rules.Load().period > 0 }

// Use is a use of a quota by a session of a client, or its call of a server.
type Use struct {
	Client  string // by its name
	Session uint64
	Addr    netip.Addr
	Ident   string
	Login   string
	Counter imsg.Rate // RateTargets: it calls Target
	Amount  uint64
	Target  netip.AddrPort
}

// Outcome is what came of a use. The zero Outcome is that of no limits.
type Outcome struct {
	Refusal imsg.Refusal // or imsg.Admitted
	Taken   bool         // it used something up, which GiveBack gives back
	Uses    imsg.RateSet // what the client has to ask for

	used, quota, tries uint64 // of the counter, for the log
	err                error  // why the client cannot be limited
}

// Judge takes what u asks for, or refuses it. It logs nothing: while the store was
// looking, who asked may have gone. Then the caller gives back what was taken; else it
// logs the outcome and tells it. A server that was called stays remembered.
func (l *Limiter) Judge(u *Use) (o Outcome) {
	rules := l.rules.Load()
	if rules.period <= 0 {
		return o
	}
	err := l.change(u.Client, rules, func(r *Record, now int64) {
		o = Outcome{}
		switch {
		case u.Counter != imsg.RateTargets:
			var passes bool
			if passes, o.Taken = u.take(r); !passes {
				o.Refusal = imsg.RefusedRate
			}
			o.used, o.quota, o.tries = r.used[u.Counter], r.quotas[u.Counter], r.tries[u.Counter]
		case rules.targetPeriod >= 0 && u.Target.IsValid() && !r.visit(u.Target.Addr(), rules.targetPeriod, now):
			o.Refusal = imsg.RefusedTargets
		}
		o.Uses = rules.uses(r)
	})
	if err != nil {
		return Outcome{Refusal: imsg.RefusedRateError, err: err}
	}
	return o
}

// Uses are the counters that a client has to ask for.
func (l *Limiter) Uses(client string) (imsg.RateSet, error) {
	rules := l.rules.Load()
	if rules.period <= 0 {
		return 0, nil
	}
	var uses imsg.RateSet
	err := l.change(client, rules, func(r *Record, _ int64) { uses = rules.uses(r) })
	return uses, err
}

// uses are the counters that the client has to ask for whose record is r.
func (r *rules) uses(of *Record) imsg.RateSet {
	uses := of.counted()
	if r.targetPeriod >= 0 {
		uses |= 1 << imsg.RateTargets
	}
	return uses
}

// take takes what u asks for of a record, and tells whether it is there, and whether it
// may be given back.
func (u *Use) take(r *Record) (passes, taken bool) {
	switch u.Counter {
	case imsg.RateTLSServers:
		return r.useServer(u.Target.Addr())
	case imsg.RateTLSBytes:
		return r.use(u.Counter, u.Amount), false
	}
	passes = r.use(u.Counter, u.Amount)
	return passes, passes
}

// putBack is the inverse of take.
func (u *Use) putBack(r *Record) {
	if u.Counter == imsg.RateTLSServers {
		r.unuseServer(u.Target.Addr())
		return
	}
	r.unuse(u.Counter, u.Amount)
}

// change has f change the record of a client once that is up to date.
func (l *Limiter) change(client string, rules *rules, f func(r *Record, now int64)) error {
	return l.store.Change(client, func(r *Record) *Record {
		now := l.now().UnixNano()
		if r == nil {
			r = newRecord(rules, now)
		}
		r.renew(rules, now)
		f(r, now)
		return r
	})
}

// Log logs what came of u.
func (l *Limiter) Log(u *Use, o Outcome) {
	switch {
	case o.err != nil:
		l.logError(u, o.err)
	case o.Refusal == imsg.RefusedTargets:
		l.log.Info("RATELIMIT:REJECT", u.whose("counter", "targets", "dst", u.Target)...)
	case o.Refusal != imsg.Admitted:
		l.log.Info("RATELIMIT:REJECT", u.attrs(&o)...)
	case o.quota > 0:
		l.log.Debug("RATELIMIT:PASS", u.attrs(&o)...)
	}
}

func (u *Use) attrs(o *Outcome) []any {
	return u.whose("counter", u.Counter, "used", o.used, "quota", o.quota, "tries", o.tries)
}

// whose are attributes of a log line behind those that say whose use it is.
func (u *Use) whose(attrs ...any) []any {
	all := append([]any{imsg.SessionKey, u.Session, "src", u.Addr, "ident", u.Ident}, attrs...)
	if u.Login != "" {
		all = append(all, "login", u.Login)
	}
	return all
}

func (l *Limiter) logError(u *Use, err error) {
	l.log.Error("client cannot be limited, and is refused", imsg.SessionKey, u.Session, "client", u.Client, "error", err)
}

// GiveBack gives back what u took, as far as it was of this period, when nobody came to
// know of it.
func (l *Limiter) GiveBack(u *Use) {
	rules := l.rules.Load()
	if rules.period <= 0 {
		return
	}
	if err := l.change(u.Client, rules, func(r *Record, _ int64) { u.putBack(r) }); err != nil {
		l.logError(u, err)
	}
}

// Sweep forgets records that say nothing any more, so that a client with many addresses
// fills no disk.
func (l *Limiter) Sweep() {
	rules := l.rules.Load()
	if rules.period <= 0 {
		return
	}
	now := l.now().UnixNano()
	l.store.Sweep(func(r *Record) bool { return r.idle(rules, now) })
}
