// The commands of rate: what clients have used of their quotas, and changing that
// by hand.

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) rateCommand() *cobra.Command {
	rate := &cobra.Command{
		Use:   "rate",
		Short: "Show what clients have used of their quotas, and change quotas",
		Args:  cobra.NoArgs,
		RunE:  commandMissing,
	}
	rate.AddCommand(t.rateList(), t.rateShow(), t.rateSet(), t.rateReset())
	return rate
}

func (t *tool) rateList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the clients that are counted",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			list, period, err := c.rates()
			if err != nil {
				return err
			}
			if t.json {
				return printJSON(t.out, list)
			}
			return printRates(t.out, list, period, time.Now())
		},
	}
}

func (t *tool) rateShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show CLIENT",
		Short:             "Show all that is remembered of a client: an address, or address-ident",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeClients,
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := rateName(args[0])
			if err != nil {
				return err
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			m, err := ask(c, &imsg.RateShow{Client: name}, answerTime)
			if err != nil {
				return rateError(name, err)
			}
			r := newRate(&m.Entry)
			for _, s := range m.Targets {
				r.Servers = append(r.Servers, server{s.Address.String(), moment(s.Last)})
			}
			if t.json {
				return printJSON(t.out, r)
			}
			return printRate(t.out, r, time.Now())
		},
	}
}

func (t *tool) rateSet() *cobra.Command {
	var generation uint64
	set := &cobra.Command{
		Use:   "set CLIENT COUNTER=QUOTA...",
		Short: "Give a client quotas of its own, which the configuration does not change",
		Long: `Give a client quotas of its own, which the configuration does not change.
The other counters keep the quota they have. A quota is a number, off for a
counter that is not held against this client; the counters are
` + strings.Join(counterNames(), ", ") + ".",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: t.completeQuotas,
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := rateName(args[0])
			if err != nil {
				return err
			}
			m := &imsg.RateSetQuota{Client: name, Generation: generation}
			seen := imsg.RateSet(0)
			for _, arg := range args[1:] {
				q, err := quota(arg)
				if err != nil {
					return err
				}
				if seen.Has(q.Counter) {
					return fmt.Errorf("%w: %s is given twice", errUsage, q.Counter)
				}
				seen |= 1 << q.Counter
				m.Quotas = append(m.Quotas, q)
			}
			return rateError(name, t.order(m, "has quotas of its own", name))
		},
	}
	set.Flags().Uint64Var(&generation, "generation", 0, "a ratelimit_generation above this ends it (default: none does)")
	return set
}

func (t *tool) rateReset() *cobra.Command {
	var keep bool
	reset := &cobra.Command{
		Use:               "reset CLIENT",
		Short:             "Forget a client, its own quotas too",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeClients,
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := rateName(args[0])
			if err != nil {
				return err
			}
			word := "forgotten"
			if keep {
				word = "counts from 0 again"
			}
			return rateError(name, t.order(&imsg.RateReset{Client: name, Forget: !keep}, word, name))
		},
	}
	reset.Flags().BoolVar(&keep, "keep-quotas", false, "begin its period anew, and leave its quotas as they are")
	return reset
}

// rateName checks what a client was called and gives its name the one form it has. A
// network may be called as a list shows it: lockd knows whether that is a client's.
func rateName(arg string) (string, error) {
	address, ident, found := strings.Cut(arg, "-")
	n, err := netip.ParsePrefix(address)
	if err != nil || n != n.Masked() {
		return lockName(arg)
	}
	name := n.String()
	if found {
		name += "-" + ident
	}
	return name, nil
}

// rateError says what a refusal without words of its own is about.
func rateError(name string, err error) error {
	switch err {
	case imsg.NotFound:
		return fmt.Errorf("nothing is remembered of %s", name)
	case imsg.Off:
		return errors.New(rateOff)
	case imsg.Invalid:
		return fmt.Errorf("%s can be no client's name: see client_prefix_ipv6", name)
	}
	return err
}

// quota reads COUNTER=QUOTA.
func quota(arg string) (q imsg.RateQuota, err error) {
	name, number, ok := strings.Cut(arg, "=")
	if !ok {
		return q, fmt.Errorf("%w: %q is not COUNTER=QUOTA", errUsage, arg)
	}
	// The options that hold everybody's quotas are good names, too.
	name = strings.TrimPrefix(name, "ratelimit_")
	if q.Counter, ok = imsg.ParseRate(name); !ok {
		return q, fmt.Errorf("%w: there is no counter %q, only %s", errUsage, name, strings.Join(counterNames(), ", "))
	}
	if number == "off" {
		return q, nil
	}
	if q.Quota, err = strconv.ParseUint(number, 10, 64); err != nil {
		return q, fmt.Errorf("%w: the quota of %s is a number or off, not %q", errUsage, name, number)
	}
	return q, nil
}

func counterNames() []string {
	var all []string
	for c := range imsg.RateCounters {
		all = append(all, c.String())
	}
	return all
}

// completeClients knows the clients that are counted, if the daemon can be asked.
func (t *tool) completeClients(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if c, err := t.look(); err == nil && len(args) == 0 {
		defer c.Close()
		list, _, _ := c.rates()
		for i := range list {
			names = append(names, list[i].Client)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) completeQuotas(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return t.completeClients(cmd, args, begun)
	}
	var words []string
	for _, name := range counterNames() {
		words = append(words, name+"=")
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
