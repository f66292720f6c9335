package control

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
)

// What the operator asks of exemptions. This file owns what an operator may exempt, and
// that one is told if an exemption would not survive a restart.

func (s *Service) listExemptions(after string) *imsg.ExemptionList {
	page, more := s.Exempt.Page(after, imsg.ExemptPage)
	return &imsg.ExemptionList{Exemptions: page, More: more}
}

func (s *Service) addExemption(m *imsg.ExemptAdd) *imsg.Done {
	who, err := exemptions.Parse(m.Who)
	switch {
	case err != nil:
		return done(imsg.Invalid, err.Error())
	case m.From == 0:
		return done(imsg.Invalid, "it is said of no check that it is spared")
	case who.Wide() && !m.Wide:
		return done(imsg.Invalid, who.String()+" is a large part of all addresses there are: say --yes if it is meant")
	}
	if err := s.Exempt.Add(who, m.From, m.For, m.Reason); err != nil {
		return done(imsg.Busy, err.Error())
	}
	return s.keepExemptions("it will be forgotten with this daemon")
}

func (s *Service) removeExemption(m *imsg.ExemptRemove) *imsg.Done {
	who, err := exemptions.Parse(m.Who)
	if err != nil {
		return done(imsg.Invalid, err.Error())
	}
	if !s.Exempt.Remove(who) {
		return done(imsg.NotFound, "there is no exemption for "+who.String())
	}
	return s.keepExemptions("it may be there again after a restart")
}

// keepExemptions writes what is in force already; otherwise is what follows if that fails.
func (s *Service) keepExemptions(otherwise string) *imsg.Done {
	if err := s.Exempt.Keep(); err != nil {
		return done(0, otherwise+", for it cannot be written: "+err.Error())
	}
	return done(0, "")
}

// exemptionsOf are those that the client has of whom an operator asks, with the server that
// the newest record names.
func (s *Service) exemptionsOf(asked about, newest []imsg.HistoryRecord) []imsg.Exemption {
	client, server, login := asked.said, netip.Addr{}, asked.login
	if len(newest) > 0 {
		e := &newest[0].Event
		server = e.Target.Addr()
		if !client.IsValid() {
			client = e.Client.Addr()
		}
		if login == "" && asked.id != "" {
			login = e.Login
		}
	}
	return s.Exempt.About(client, server, login, imsg.MaxExplained)
}
