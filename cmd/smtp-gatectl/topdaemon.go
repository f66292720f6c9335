// What top sees of the daemon: one snapshot a look, over a connection that is kept, and the
// orders, over one each.

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// snapshot is how things stand at a look.
type snapshot struct {
	status
	sessions []session
	silent   int  // workers that did not answer
	readOnly bool // we may only look

	perSecond struct{ sessions, messages, octets float64 }
}

// topDaemon is the daemon, wherever it is.
type topDaemon struct {
	*tool
	readOnly bool // no order is given
	conn     *control
	reader   bool // that is to the read socket
}

// connect connects to it. Where the control socket is not for this user, the read socket is
// enough to look.
func (d *topDaemon) connect() error {
	paths, err := d.paths()
	if err != nil {
		return err
	}
	if d.readOnly {
		d.conn, err = dial(paths[len(paths)-1])
		return err
	}
	d.reader = false
	if d.conn, err = dial(paths[0]); err != nil && len(paths) > 1 {
		if c, lookErr := dial(paths...); lookErr == nil {
			d.conn, d.reader, err = c, true, nil
		}
	}
	return err
}

func (d *topDaemon) close() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// look takes a snapshot.
func (d *topDaemon) look() (s *snapshot, err error) {
	if d.conn == nil {
		if err := d.connect(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	s = &snapshot{readOnly: d.readOnly || d.reader}
	if s.sessions, s.silent, err = d.conn.sessions(); err != nil {
		return nil, err
	}
	status, err := d.conn.status()
	if err != nil {
		return nil, err
	}
	s.status = *status
	return s, nil
}

// order ends a session, or locks its client out, and says what came of it.
func (d *topDaemon) order(what topAction, s *session) (said string, err error) {
	c, err := d.dial()
	if err != nil {
		return "", err
	}
	defer c.Close()
	if what == doKill {
		if _, err = c.order(&imsg.EndSession{Number: s.Number, Start: s.Started.Unix()}, answerTime); err != nil {
			return "", fmt.Errorf("session %d: %w", s.Number, err)
		}
		return fmt.Sprintf("session %d told to end", s.Number), nil
	}
	name, err := clientName(clientOf(s))
	if err != nil {
		return "", err
	}
	if s.Login != "" { // where none is locked it is the address
		if _, err = c.order(&imsg.Lock{Name: locks.LoginName(s.Login), Cause: "OPERATOR"}, answerTime); !errors.Is(err, imsg.Invalid) {
			name = locks.LoginName(s.Login)
		}
	}
	if s.Login == "" || errors.Is(err, imsg.Invalid) {
		_, err = c.order(&imsg.Lock{Name: name, Cause: "OPERATOR"}, answerTime)
	}
	switch {
	case errors.Is(err, imsg.Exists):
		return name + " is locked already", nil
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return name + " locked", nil
}

// clientOf is what a session's client is called.
func clientOf(s *session) string {
	name := s.Client
	if a, err := netip.ParseAddrPort(s.Client); err == nil {
		name = a.Addr().Unmap().String()
	}
	if s.Ident != "" {
		name += "-" + s.Ident
	}
	return name
}

// rateSpan is over how long rates are taken.
const rateSpan = 10 * time.Second

// topRates makes rates of what was counted. It knows what was within rateSpan.
type topRates struct{ seen []counted }

type counted struct {
	at, started                time.Time
	sessions, messages, octets uint64
}

// add fills in the rates of a snapshot.
func (r *topRates) add(s *snapshot) {
	now := counted{
		at: s.Now, started: s.Started,
		sessions: s.Counters[imsg.CountTotal.String()], messages: s.Counters[imsg.CountMessages.String()],
		octets: s.Counters[imsg.CountClientBytes.String()] + s.Counters[imsg.CountServerBytes.String()],
	}
	for i := range s.sessions { // they are counted when they end
		now.octets += uint64(max(s.sessions[i].ClientBytes, 0)) + uint64(max(s.sessions[i].ServerBytes, 0))
	}
	for len(r.seen) > 0 && (now.at.Sub(r.seen[0].at) > rateSpan || !r.seen[0].before(&now)) {
		r.seen = r.seen[1:]
	}
	if len(r.seen) > 0 {
		was, seconds := r.seen[0], now.at.Sub(r.seen[0].at).Seconds()
		per := func(is, was uint64) float64 { return float64(is-min(is, was)) / seconds }
		s.perSecond.sessions, s.perSecond.messages, s.perSecond.octets = per(now.sessions, was.sessions), per(now.messages, was.messages), per(now.octets, was.octets)
	}
	r.seen = append(r.seen, now)
}

// before tells whether c is of the same daemon as now, and older.
func (c *counted) before(now *counted) bool {
	return c.at.Before(now.at) && c.started.Equal(now.started) && c.sessions <= now.sessions && c.messages <= now.messages
}
