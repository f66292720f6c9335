// Commands that are about clients. This file owns how a client is called, and that one for
// which a command fails does not keep it from the others.

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// failuresSaid is what a command fails with whose failures have been said.
type failuresSaid struct{}

func (failuresSaid) Error() string   { return "not all went well" }
func (failuresSaid) exitStatus() int { return exitFailed }

// clientName gives what a client was called the one form it has. Whether a network is a
// client lockd knows.
func clientName(arg string) (string, error) {
	c, ok := locks.ParseCall(arg)
	if !ok {
		return "", fmt.Errorf("%w: %q is neither an address nor address-ident, nor a network as 2001:db8::/64 in the address's place, nor login= and a login", errUsage, arg)
	}
	return c.String(), nil
}

// clientNames is clientName for several: if one is wrong nothing is done with any.
func clientNames(args []string) (names []string, err error) {
	for _, arg := range args {
		name, err := clientName(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func isClient(arg string) bool {
	_, ok := locks.ParseCall(arg)
	return ok
}

// each does something with one client after another, and says of whom it fails. It ends
// where the daemon is no more.
func (t *tool) each(names []string, do func(name string) error) error {
	var failed error
	for _, name := range names {
		err := do(name)
		switch {
		case err == nil:
			continue
		case len(names) == 1:
			return err
		case errors.Is(err, imsg.Gone), errors.Is(err, imsg.ReadOnly):
			return fmt.Errorf("%s: %w", name, err)
		}
		if !strings.HasPrefix(err.Error(), name) {
			err = fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(t.err, "smtp-gatectl: %v\n", err)
		failed = failuresSaid{}
	}
	return failed
}

// orderEach has the daemon do something with each client, and says so of each. What it
// refuses without words of its own refusal words.
func (t *tool) orderEach(names []string, done string, order func(name string) imsg.Question[imsg.Done], refusal func(name string, err error) error) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return t.each(names, func(name string) error {
		detail, err := c.order(order(name), reloadTime)
		if err != nil {
			return refusal(name, err)
		}
		return t.said(done, name, detail)
	})
}
