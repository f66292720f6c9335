// Targets that another room finds: the router or the packet filter knows them.
// This file owns the questions to lookupd and lockd and what the client hears
// when there is no answer.

package session

import (
	"errors"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// locate finds the target and has lockd admit the client under what it is called
// now. False: the client is refused, or served otherwise.
func (s *session) locate(a **imsg.Admission) bool {
	w := s.w
	s.setup.Store(uint32(imsg.StateIdent))
	l, err := askLookupd(s, &imsg.TargetQuery{Client: s.facts.Client, Local: s.facts.Local}, w.cfg.TimeoutLocate)
	if err != nil {
		s.info("LOOKUP:FAILED", "src", s.facts.Client.Addr(), "error", err)
		s.serveUnreachable(imsg.RuleLookup, "", s.lookupErrorText(err))
		return false
	}
	w.mu.Lock()
	s.facts.Target, s.facts.Ident = l.Target, l.Ident
	w.mu.Unlock()
	*a, err = s.askAdmission(&imsg.Ident{Number: s.facts.Number, Ident: s.facts.Ident, Target: s.facts.Target}, func(a *imsg.Admission) {
		if a.Refusal != imsg.Admitted {
			w.forget(s) // lockd has forgotten it, too
		}
		s.traced(a)
	})
	if err != nil {
		s.admissionFailed(err)
		return false
	}
	if (*a).Refusal != imsg.Admitted {
		s.refuseAdmission(*a)
		return false
	}
	return true
}

// lookupErrorText words why there is no target.
func (s *session) lookupErrorText(err error) string {
	var kind imsg.Errno
	errors.As(err, &kind)
	detail := imsg.MsgLookupUnknown
	switch kind {
	case imsg.Malformed:
		return s.text(imsg.MsgMalformedIP)
	case imsg.NotFound:
		detail = imsg.MsgLookupNotfound
	case imsg.Timeout:
		detail = imsg.MsgLookupTimeout
	case imsg.Invalid:
		detail = imsg.MsgLookupMismatch
	case imsg.Resource:
		detail = imsg.MsgLookupNomem
	}
	return s.text(imsg.MsgLookupFailed) + ": " + s.text(detail)
}
