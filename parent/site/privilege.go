// What is left of root's power. This file owns that a family keeps what the
// configuration needs that it was started with, and that none that needs more comes
// into force.

package site

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// privilege is what is known of ours.
type privilege struct {
	lacking []Need // has never been there
	bounded bool   // what we start was left no more than we have
}

// assess says what a site will not be able to do.
func (h *Holdings) assess(s *Site) error {
	have, err := sandbox.Capabilities()
	if err != nil {
		return err
	}
	h.lacking, _ = Missing(s.Needs(h), have)
	var all []config.Warning
	for _, n := range h.lacking {
		all = append(all, config.Warning{Text: fmt.Sprintf("there is no %s to %s, needed for %s", n.Name, n.For, n.Why)})
	}
	s.advise(all)
	return nil
}

// Blame adds to an error of the start what is missing, which may be the cause.
func (h *Holdings) Blame(err error) error { return blame(err, h.lacking) }

func blame(err error, lacking []Need) error {
	if len(lacking) == 0 {
		return err
	}
	var names []string
	for _, n := range lacking {
		names = append(names, n.Name)
	}
	return fmt.Errorf("%w (without %s)", err, strings.Join(names, ", "))
}

// GiveUpRest leaves us, for good, what a site needs, all of whose folders and sockets
// are there. A script, and what it starts by sudo, gets what we were given; without one
// nobody we start has more than we.
func (h *Holdings) GiveUpRest(s *Site) error {
	if !s.Rooted {
		return nil
	}
	have, err := sandbox.Capabilities()
	if err != nil {
		return err
	}
	_, keep := Missing(s.Needs(h), have)
	h.bounded, err = sandbox.Keep(keep, s.ActionScript == "")
	return err
}

// Affords tells whether what is left is enough for another site. What has never been
// there is not missed.
func (h *Holdings) Affords(s *Site) error {
	have, err := sandbox.Capabilities()
	if err != nil {
		return err
	}
	missing, _ := Missing(s.Needs(h), have)
	var errs []error
	for _, n := range missing {
		if !slices.ContainsFunc(h.lacking, func(l Need) bool { return l.Capability == n.Capability }) {
			errs = append(errs, fmt.Errorf("%s: needs a restart: no %s is left to %s", n.Why, n.Name, n.For))
		}
	}
	if h.bounded && s.ActionScript != "" {
		errs = append(errs, fmt.Errorf("%s: needs a restart: none was to be started, so sudo in it has no capability left but ours", s.Called("action_script")))
	}
	return errors.Join(errs...)
}
