package control

import (
	"errors"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// What the operator asks over the control socket. This file owns the questions, and how
// long the answers may take; who may connect, and how many, is a matter of the listener.
// Of the parent an operator can only have asked a reload, an upgrade, a stop or a level for
// the log, without any path or setting.

const (
	// reloadTime is how long a reload may take until its asker is told so.
	reloadTime = time.Minute
	stopTime   = 10 * time.Second
)

// answer finds the answer to one question of an operator, and returns what gives it.
// It may take its time: each connection has a goroutine. What looks at files is done
// aside.
func (o *operator) answer(r link.Request) (give func()) {
	s := o.service
	switch m := r.Message.(type) {
	case *imsg.Status:
		return found(r, m, func() (*imsg.StatusReport, error) { return s.status(), nil })
	case *imsg.Sessions:
		return found(r, m, func() (*imsg.SessionList, error) { return s.listSessions(m.After), nil })
	case *imsg.EndSession:
		return found(r, m, func() (*imsg.Done, error) { return s.endSession(m), nil })
	case *imsg.EventsAfter:
		return found(r, m, func() (*imsg.EventList, error) { return o.awaitEvents(r, m) })
	case *imsg.Explain:
		return foundAside(s.House, r, m, HistoryTurn, func() (*imsg.Explanation, error) { return s.explain(m) })
	case *imsg.HistoryForget:
		return foundAside(s.House, r, m, HistoryTurn, func() (*imsg.Done, error) { return s.forget(m), nil })
	case *imsg.Locks:
		return foundAside(s.House, r, m, DirectoryTurn, func() (*imsg.LockList, error) { return o.listLocks(m.After) })
	case *imsg.Lock:
		return found(r, m, func() (*imsg.Done, error) { return s.lockByHand(r, m) })
	case *imsg.Unlock:
		return found(r, m, func() (*imsg.Done, error) { return s.unlockByHand(r, m) })
	case *imsg.Rates:
		return foundAside(s.House, r, m, StoreTurn, func() (*imsg.RateList, error) { return s.listRates(m.After) })
	case *imsg.RateShow:
		return foundAside(s.House, r, m, StoreTurn, func() (*imsg.RateRecord, error) { return s.showRate(m.Client) })
	case *imsg.RateSetQuota:
		return foundAside(s.House, r, m, StoreTurn, func() (*imsg.Done, error) { return s.setRate(m), nil })
	case *imsg.RateReset:
		return foundAside(s.House, r, m, StoreTurn, func() (*imsg.Done, error) { return s.resetRate(m), nil })
	case *imsg.ScanNow:
		return found(r, m, func() (*imsg.FileVerdict, error) { return s.scanFile(r) })
	case *imsg.Trace:
		return found(r, m, func() (*imsg.Done, error) { return s.House.Trace(m, o.uid, r.Files[0]), nil })
	case *imsg.Exemptions:
		return foundAside(s.House, r, m, ExemptTurn, func() (*imsg.ExemptionList, error) { return s.listExemptions(m.After), nil })
	case *imsg.ExemptAdd:
		return foundAside(s.House, r, m, ExemptTurn, func() (*imsg.Done, error) { return s.addExemption(m), nil })
	case *imsg.ExemptRemove:
		return foundAside(s.House, r, m, ExemptTurn, func() (*imsg.Done, error) { return s.removeExemption(m), nil })
	case *imsg.ReloadNow:
		return found(r, m, func() (*imsg.Done, error) { return askParent(s, &imsg.Reload{}, reloadTime) })
	case *imsg.UpgradeNow:
		return found(r, m, func() (*imsg.Done, error) { return askParent(s, &imsg.Upgrade{}, reloadTime) })
	case *imsg.SetLogLevel:
		return found(r, m, func() (*imsg.Done, error) { return askParent(s, &imsg.LogLevel{Below: m.Below, For: m.For}, stopTime) })
	case *imsg.StopNow:
		return found(r, m, func() (*imsg.Done, error) { return askParent(s, &imsg.Stop{Now: m.Now}, stopTime) })
	}
	return func() { r.Fail(imsg.Invalid) }
}

// askParent has the parent do something. Operators who ask without end are told that we
// are busy: the parent would end us for passing all of it on.
func askParent(s *Service, q imsg.Question[imsg.Done], timeout time.Duration) (*imsg.Done, error) {
	s.orderMu.Lock()
	s.orders.Pace = imsg.Orders
	passed := s.orders.Take(1, s.Now())
	s.orderMu.Unlock()
	if !passed {
		return nil, imsg.Busy
	}
	return link.Ask(s.Parent, q, timeout)
}

// found has look find the answer to q, which r brought.
func found[A any](r link.Request, q imsg.Question[A], look func() (*A, error)) (give func()) {
	reply := link.ReplyTo(r, q)
	a, err := look()
	if err != nil {
		kind := imsg.Internal
		errors.As(err, &kind)
		return func() { reply.Fail(kind) }
	}
	return func() { reply.Answer(a) }
}

// foundAside is found for what looks at files.
func foundAside[A any](h House, r link.Request, q imsg.Question[A], turn string, look func() (*A, error)) (give func()) {
	return found(r, q, func() (*A, error) { return wait(h, r, turn, look) })
}

// wait has job find an answer for an operator, who waits no longer than its
// question says. A job under way goes on alone then, one that was not begun is
// left.
func wait[A any](h House, r link.Request, turn string, job func() (*A, error)) (*A, error) {
	type outcome struct {
		answer *A
		err    error
	}
	done := make(chan outcome, 1)
	begun := h.Aside(turn, func() {
		if !r.Late() {
			answer, err := job()
			done <- outcome{answer, err}
		}
	})
	if !begun {
		return nil, imsg.Busy
	}
	late := time.NewTimer(time.Until(r.Until))
	defer late.Stop()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-late.C:
		return nil, imsg.Timeout
	}
}

func done(kind imsg.Errno, detail string) *imsg.Done { return &imsg.Done{Errno: kind, Detail: detail} }
