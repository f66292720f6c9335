// sessions --follow: what becomes of the live sessions, a line a change. This file owns what
// a change is: the daemon tells how things stand, once a second.

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// followEvery is the time from one look to the next.
	followEvery = time.Second

	// announcing is how long a lockd that is new may not know of all sessions: as long as
	// it waits for its workers, and a look.
	announcing = 3 * time.Second
)

// sessionChange is a change as it is printed: its fields are the JSON form.
type sessionChange struct {
	Time   time.Time `json:"time"`
	Change string    `json:"change"`           // live, new, state, gone
	Before string    `json:"before,omitempty"` // the state
	session
}

// sessionWatch knows what was seen last.
type sessionWatch struct {
	only  *sessionFilter
	begun bool
	known map[uint64]session
	shown map[uint64]bool
}

// look compares what is with what was, and returns what has changed for those who are
// wanted. patient: those that are missing may be told of still. unsure: those that seem to
// begin may be of a worker that did not say what they do.
func (w *sessionWatch) look(list []session, now time.Time, patient, unsure bool) (changes []sessionChange) {
	if w.known == nil {
		w.known, w.shown = make(map[uint64]session), make(map[uint64]bool)
	}
	live := make(map[uint64]bool, len(list))
	tell := func(change, before string, s session) {
		changes = append(changes, sessionChange{Time: now, Change: change, Before: before, session: s})
	}
	for _, s := range list {
		was, known := w.known[s.Number]
		if known && !sameSession(&was, &s) {
			w.end(&was, tell)
			known = false
		}
		if known && unsure && s.State == imsg.StateStart.String() {
			s.State = was.State
		}
		live[s.Number] = true
		w.known[s.Number] = s
		wanted := w.only.passes(&s, now)
		switch {
		case wanted && !w.begun:
			tell("live", "", s)
		case known && s.State != was.State && (wanted || w.shown[s.Number]):
			tell("state", was.State, s)
		case wanted && !w.shown[s.Number]:
			tell("new", "", s)
		}
		w.shown[s.Number] = wanted
	}
	w.begun = true
	if patient {
		return changes
	}
	for _, n := range slices.Sorted(maps.Keys(w.known)) {
		if !live[n] {
			was := w.known[n]
			w.end(&was, tell)
		}
	}
	return changes
}

// end tells of one that is gone.
func (w *sessionWatch) end(was *session, tell func(change, before string, s session)) {
	if w.shown[was.Number] {
		tell("gone", "", *was)
	}
	delete(w.known, was.Number)
	delete(w.shown, was.Number)
}

// sameSession tells whether two are one: a daemon that was started again gives numbers out
// anew. A lockd that was has the begin from the worker, which is earlier by as long as the
// admission took.
func sameSession(a, b *session) bool {
	return a.Client == b.Client && a.Started.Sub(b.Started).Abs() < answerTime
}

// followSessions prints changes for ever. It outlives a lockd that is replaced.
func (t *tool) followSessions(c *control, only *sessionFilter) error {
	w := &sessionWatch{only: only}
	var gone, settled time.Time
	warned := 0
	for tick := time.NewTicker(followEvery); ; <-tick.C {
		list, silent, err := c.sessions()
		switch {
		case errors.Is(err, imsg.Gone):
			if c.Close(); gone.IsZero() {
				gone = time.Now()
			}
			next, derr := t.dialAgain(gone.Add(comeback))
			if derr != nil || time.Since(gone) > comeback {
				return err
			}
			c, settled = next, time.Now().Add(announcing)
			continue
		case err != nil:
			c.Close()
			return err
		}
		gone = time.Time{}
		if silent != warned {
			warned = silent
			t.warnSilent(silent)
		}
		now := time.Now()
		for _, change := range w.look(list, now, now.Before(settled), silent > 0) {
			if err := t.showChange(&change); err != nil {
				c.Close()
				return err
			}
		}
	}
}

func (t *tool) showChange(c *sessionChange) error {
	if t.json {
		return printJSONLine(t.out, c)
	}
	_, err := io.WriteString(t.out, c.String()+"\n")
	return err
}

// String is a change for people.
func (c *sessionChange) String() string {
	line := fmt.Sprintf("%s %-5s %d %s", stamp(c.Time), c.Change, c.Number, c.State)
	if c.Before != "" {
		line += " before=" + c.Before
	}
	line += " client=" + c.Client
	if c.Target != "" {
		line += " target=" + c.Target
	}
	if c.Ident != "" {
		line += " ident=" + c.Ident
	}
	if c.Login != "" {
		line += " login=" + c.Login
	}
	return line + fmt.Sprintf(" time=%s mails=%d from_client=%d from_server=%d", span(c.Time.Sub(c.Started)), c.Transactions, c.ClientBytes, c.ServerBytes)
}
