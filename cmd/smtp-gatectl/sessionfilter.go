// Which of the live sessions somebody wants to see. The daemon sends all of them.

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// sessionFilter is what of a session must be so. What is zero may be anything.
type sessionFilter struct {
	clientText, serverText string
	client, server         netip.Prefix
	states                 []string
	ident, login           string
	older                  time.Duration
}

func (f *sessionFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.clientText, "client", "", "only of this client, an address or a network as 192.0.2.0/24")
	flags.StringVar(&f.serverText, "server", "", "only with this server, an address or a network")
	flags.StringSliceVar(&f.states, "state", nil, "only in these states, joined by commas")
	flags.StringVar(&f.ident, "ident", "", "only of clients that call for this ident")
	flags.StringVar(&f.login, "login", "", "only of clients that have logged in under this name")
	flags.DurationVar(&f.older, "older", 0, "only those that have lived for so long, as 10m")
	if err := cmd.RegisterFlagCompletionFunc("state", completeStates); err != nil {
		panic(err) // there is such a flag
	}
}

// parse reads what the flags say.
func (f *sessionFilter) parse(flags *pflag.FlagSet) (err error) {
	for _, n := range []struct {
		name, text string
		to         *netip.Prefix
	}{{"client", f.clientText, &f.client}, {"server", f.serverText, &f.server}} {
		if !flags.Changed(n.name) {
			continue
		}
		if *n.to, err = parseNetwork(n.text); err != nil {
			return fmt.Errorf("%w: --%s %q is no address and no network", errUsage, n.name, n.text)
		}
	}
	for _, s := range f.states {
		if !slices.Contains(stateNames(), s) {
			return fmt.Errorf("%w: --state %q: there are %s", errUsage, s, strings.Join(stateNames(), ", "))
		}
	}
	if flags.Changed("ident") && f.ident == "" {
		return fmt.Errorf("%w: --ident is empty", errUsage)
	}
	if flags.Changed("login") {
		login, ok := imsg.ParseLogin(f.login)
		if !ok {
			return fmt.Errorf("%w: --login %q is none", errUsage, f.login)
		}
		f.login = login
	}
	if flags.Changed("older") && f.older <= 0 {
		return fmt.Errorf("%w: --older %s is no age", errUsage, f.older)
	}
	return nil
}

// passes tells whether a session is wanted.
func (f *sessionFilter) passes(s *session, now time.Time) bool {
	return inNetwork(f.client, s.Client) && inNetwork(f.server, s.Target) &&
		(len(f.states) == 0 || slices.Contains(f.states, s.State)) &&
		(f.ident == "" || f.ident == s.Ident) && (f.login == "" || f.login == s.Login) &&
		(f.older == 0 || now.Sub(s.Started) >= f.older)
}

// inNetwork tells whether an endpoint is in a network, or that is any.
func inNetwork(net netip.Prefix, endpoint string) bool {
	if !net.IsValid() {
		return true
	}
	a, err := netip.ParseAddrPort(endpoint)
	return err == nil && net.Contains(a.Addr().Unmap().WithZone(""))
}

// stateNames are the states of sessions.
func stateNames() (names []string) {
	for s := range imsg.States {
		names = append(names, s.String())
	}
	return names
}

// completeStates offers the states behind the last comma.
func completeStates(_ *cobra.Command, _ []string, text string) (offers []string, _ cobra.ShellCompDirective) {
	before := text[:strings.LastIndexByte(text, ',')+1]
	for _, name := range stateNames() {
		if !slices.Contains(strings.Split(before, ","), name) {
			offers = append(offers, before+name)
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
