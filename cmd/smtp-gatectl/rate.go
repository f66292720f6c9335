// The commands of rate: what clients have used of their quotas, and changing that
// by hand.

package main

import (
	"errors"
	"fmt"
	"io"
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
			var period time.Duration
			find := func(c *control) (list []*rate, err error) {
				list, period, err = c.rates()
				return list, err
			}
			return show(t, find, func(w io.Writer, list []*rate) error { return printRates(w, list, period, time.Now()) })
		},
	}
}

func (t *tool) rateShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show CLIENT...",
		Short:             "Show all that is remembered of clients: addresses, networks, or either with an ident",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: t.complete(countedClients),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := clientNames(args)
			if err != nil {
				return err
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			shown := 0
			return t.each(names, func(name string) error {
				r, err := c.rate(name)
				if err != nil {
					return err
				}
				if t.json {
					return printJSONLine(t.out, r)
				}
				if shown++; shown > 1 {
					fmt.Fprintln(t.out)
				}
				return printRate(t.out, r, time.Now())
			})
		},
	}
}

func (t *tool) rateSet() *cobra.Command {
	var generation uint64
	set := &cobra.Command{
		Use:   "set CLIENT... COUNTER=QUOTA...",
		Short: "Give clients quotas of their own, which the configuration does not change",
		Long: `Give clients quotas of their own, which the configuration does not change.
The other counters keep the quota they have. A quota is a number, off for a
counter that is not held against this client; the counters are
` + strings.Join(counterNames(), ", ") + ".",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: t.completeRateSet,
		RunE: func(_ *cobra.Command, args []string) error {
			clients := 1
			for clients < len(args) && isClient(args[clients]) {
				clients++
			}
			names, err := clientNames(args[:clients])
			if err != nil {
				return err
			}
			quotas, err := parseQuotas(args[clients:])
			if err != nil {
				return err
			}
			return t.orderEach(names, "has quotas of its own", func(name string) imsg.Question[imsg.Done] {
				return &imsg.RateSetQuota{Client: name, Generation: generation, Quotas: quotas}
			}, rateError)
		},
	}
	set.Flags().Uint64Var(&generation, "generation", 0, "a rate.generation above this ends it (default: none does)")
	return set
}

func (t *tool) rateReset() *cobra.Command {
	var keep bool
	reset := &cobra.Command{
		Use:               "reset CLIENT...",
		Short:             "Forget clients, their own quotas too",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: t.complete(countedClients),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := clientNames(args)
			if err != nil {
				return err
			}
			word := "forgotten"
			if keep {
				word = "counts from 0 again"
			}
			return t.orderEach(names, word, func(name string) imsg.Question[imsg.Done] {
				return &imsg.RateReset{Client: name, Forget: !keep}
			}, rateError)
		},
	}
	reset.Flags().BoolVar(&keep, "keep-quotas", false, "begin its period anew, and leave its quotas as they are")
	return reset
}

// rate asks for all that is remembered of a client.
func (c *control) rate(name string) (*rate, error) {
	m, err := ask(c, &imsg.RateShow{Client: name}, answerTime)
	switch {
	case err != nil:
		return nil, rateError(name, err)
	case m.NoClient != "":
		return nil, errors.New(m.NoClient)
	}
	r := newRate(&m.Entry)
	for _, s := range m.Targets {
		r.Servers = append(r.Servers, server{s.Address.String(), moment(s.Last)})
	}
	return r, nil
}

// rateError says what a refusal without words of its own is about.
func rateError(name string, err error) error {
	switch err {
	case imsg.NotFound:
		return fmt.Errorf("nothing is remembered of %s", name)
	case imsg.Off:
		return errors.New(rateOff)
	}
	return err
}

// parseQuotas reads what a client is given.
func parseQuotas(args []string) (quotas []imsg.RateQuota, err error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: no COUNTER=QUOTA is given", errUsage)
	}
	seen := imsg.RateSet(0)
	for _, arg := range args {
		q, err := quota(arg)
		if err != nil {
			return nil, err
		}
		if seen.Has(q.Counter) {
			return nil, fmt.Errorf("%w: %s is given twice", errUsage, q.Counter)
		}
		seen |= 1 << q.Counter
		quotas = append(quotas, q)
	}
	return quotas, nil
}

// quota reads COUNTER=QUOTA.
func quota(arg string) (q imsg.RateQuota, err error) {
	name, number, ok := strings.Cut(arg, "=")
	if !ok {
		return q, fmt.Errorf("%w: %q is not COUNTER=QUOTA, and no client", errUsage, arg)
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
