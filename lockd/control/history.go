package control

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// What the operator asks of what is kept. This file owns how that is called: by a session's
// id, a client's address, a login, or a sender.

// HistoryTurn is the turn of what looks into the history's file.
const HistoryTurn = "history"

// sessionID is a session's name: START.N, or START.wPID.N of one that lockd has not seen.
var sessionID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+\.(w[0-9]+\.)?[0-9]+$`) })

// about is what an operator has named.
type about struct {
	id     string
	client netip.Addr // that stands for all of a client's
	said   netip.Addr // as it was said
	sender string     // as it is kept
	login  string     // as imsg.Login writes it
}

// parse tells what is named. An id may be in the parentheses that a reply has it in.
func (s *Service) parse(text string) about {
	naming, _ := s.naming()
	text = strings.Trim(text, " ()<>")
	if sessionID().MatchString(text) {
		return about{id: text}
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return about{client: naming.Host(a), said: a}
	}
	if c, ok := locks.ParseCall(text); ok && c.Login != "" {
		return about{login: c.Login}
	}
	return about{sender: s.History.Sender(text)}
}

// of tells whether an event is about it.
func (a *about) of(naming locks.Naming, e *imsg.Event) bool {
	switch {
	case a.id != "":
		return e.ID == a.id
	case a.login != "":
		return e.Login == a.login || e.Claimed == a.login || e.Detail == locks.LoginName(a.login)
	case a.client.IsValid():
		return e.Client.IsValid() && naming.Host(e.Client.Addr()) == a.client
	}
	return a.sender != "" && strings.EqualFold(e.Sender, a.sender)
}

// ofRecord tells whether a record is about it.
func (a *about) ofRecord(naming locks.Naming) func(*imsg.HistoryRecord) bool {
	return func(r *imsg.HistoryRecord) bool {
		if a.of(naming, &r.Event) {
			return true
		}
		for _, q := range r.Quotes {
			if a.id != "" && q.ID == a.id || a.sender != "" && strings.EqualFold(q.Sender, a.sender) {
				return true
			}
		}
		return false
	}
}

// explain finds what is kept about somebody, and how its client stands now.
func (s *Service) explain(m *imsg.Explain) (*imsg.Explanation, error) {
	naming, config := s.naming()
	a := s.parse(m.About)
	found := new(imsg.Explanation)
	var err error
	found.Records, found.More, err = s.History.Search(a.ofRecord(naming), m.Skip, imsg.ExplainPage)
	if err != nil {
		s.Log.Error("history cannot be read", "error", err)
		return nil, imsg.Resource
	}
	found.Exempt = s.exemptionsOf(a, found.Records)
	client, ident, login := a.client, "", a.login
	if len(found.Records) > 0 {
		e := &found.Records[0].Event
		client, ident = e.Client.Addr(), e.Ident
		if a.id != "" || a.sender != "" {
			login = e.Login
		}
	}
	var names []string
	if login != "" {
		names = append(names, locks.LoginName(login))
	}
	if client.IsValid() && a.login == "" {
		names = append(names, naming.Name(client, ident))
	}
	for _, name := range names {
		if info, err := s.Locks.Stat(name); !found.Locked && info != nil && err == nil {
			v, entry := s.lockEntry(name, info, naming, config.LockDuration, s.guard())
			found.Locked, found.Lock = v.Mark == locks.Locked, entry
		}
	}
	return found, nil
}

// forget erases what is kept about a client or a sender.
func (s *Service) forget(m *imsg.HistoryForget) *imsg.Done {
	naming, _ := s.naming()
	a := s.parse(m.About)
	if a.id != "" {
		return done(imsg.Invalid, "a client's address, a login or a sender is forgotten; not a session")
	}
	if !a.client.IsValid() && a.sender == "" && a.login == "" {
		return done(imsg.Invalid, "nobody is named")
	}
	n, err := s.History.Forget(a.ofRecord(naming))
	s.Events.Forget(func(e *imsg.Event) bool { return a.of(naming, e) })
	if err != nil {
		s.Log.Error("history cannot be erased", "error", err)
		return done(imsg.Resource, "the file cannot be written: see the log")
	}
	if n == 0 {
		return done(imsg.NotFound, "nothing is kept of it")
	}
	records := "records"
	if n == 1 {
		records = "record"
	}
	return done(0, fmt.Sprintf("%d %s erased", n, records))
}
