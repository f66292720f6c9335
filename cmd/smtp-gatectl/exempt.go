// The commands of exempt: whom an operator spares which checks, and until when.

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
)

func (t *tool) exemptCommand() *cobra.Command {
	exempt := &cobra.Command{
		Use:   "exempt",
		Short: "List, add and remove exemptions from checks",
		Args:  cobra.NoArgs,
		RunE:  commandMissing,
	}
	exempt.AddCommand(t.exemptList(), t.exemptAdd(), t.exemptRemove())
	return exempt
}

func (t *tool) exemptList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List who is exempt, from what, and until when",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return show(t, (*control).exemptions, func(w io.Writer, list []exemption) error { return printExemptions(w, list, time.Now()) })
		},
	}
}

func (t *tool) exemptAdd() *cobra.Command {
	var from []string
	var reason string
	until := lasting{most: imsg.MaxExemptTime}
	var yes bool
	add := &cobra.Command{
		Use:   "add WHO",
		Short: "Exempt an address, a network, those who call server=ADDRESS, or login=LOGIN",
		Long: `add exempts WHO from checks: the clients of an address or a network, or whoever calls
the mail server=ADDRESS, or whoever a server takes for login=LOGIN. What was said of the same WHO before is replaced. Nobody is ever
exempt from the scan for viruses.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: one(t.complete(liveAddresses)),
		RunE: func(_ *cobra.Command, args []string) error {
			who, err := exemptWho(args[0])
			if err != nil {
				return err
			}
			m := &imsg.ExemptAdd{Who: who.String(), For: until.Duration, Wide: yes, Reason: reason}
			if m.From, err = exemptFrom(from); err != nil {
				return err
			}
			if len(reason) > imsg.MaxExemptReason || clean(reason) != reason {
				return fmt.Errorf("%w: a reason is printable ASCII, %d characters at most", errUsage, imsg.MaxExemptReason)
			}
			return t.order(m, "exempt from "+m.From.String(), m.Who)
		},
	}
	flags := add.Flags()
	flags.StringSliceVar(&from, "from", imsg.UsualExempts.Names(), "checks that are left out: "+strings.Join(exemptNames(), ", "))
	flags.Var(&until, "for", "how long it lasts, as 30d, 12h or 1d12h (default: for ever)")
	flags.StringVar(&reason, "reason", "", "why, for who reads the list")
	flags.BoolVar(&yes, "yes", false, "a network that large is meant: to /7, in IPv6 to /18")
	for flag, words := range map[string][]string{"from": exemptNames(), "for": nil, "reason": nil} {
		if err := add.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err)
		}
	}
	return add
}

func (t *tool) exemptRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove WHO",
		Aliases:           []string{"rm"},
		Short:             "End an exemption",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: one(t.complete(exemptNow)),
		RunE: func(_ *cobra.Command, args []string) error {
			who, err := exemptWho(args[0])
			if err != nil {
				return err
			}
			return t.order(&imsg.ExemptRemove{Who: who.String()}, "is exempt no more", who.String())
		},
	}
}

func exemptWho(arg string) (exemptions.Who, error) {
	who, err := exemptions.Parse(arg)
	if err != nil {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return who, err
}

func exemptFrom(names []string) (from imsg.ExemptSet, err error) {
	for _, name := range names {
		e, ok := imsg.ParseExempt(name)
		if !ok {
			return 0, fmt.Errorf("%w: nobody can be exempt from %q, only from %s", errUsage, name, strings.Join(exemptNames(), ", "))
		}
		from = from.With(e)
	}
	if from == 0 {
		return 0, fmt.Errorf("%w: --from names no check", errUsage)
	}
	return from, nil
}

func exemptNames() []string { return imsg.ExemptSet(1<<imsg.Exempts - 1).Names() }

// exemptNow are those who are exempt.
func exemptNow(c *control) (names []string) {
	list, _ := c.exemptions()
	for i := range list {
		names = append(names, list[i].Who)
	}
	return names
}

// exemption is one as it is printed: its fields are the JSON form.
type exemption struct {
	Who    string         `json:"who"`
	From   listOf[string] `json:"from"`
	Since  time.Time      `json:"since"`
	Until  time.Time      `json:"until,omitzero"`
	Reason string         `json:"reason,omitempty"`
}

func newExemption(e *imsg.Exemption) exemption {
	return exemption{Who: e.Who, From: e.From.Names(), Since: moment(e.Since), Until: moment(e.Until), Reason: e.Reason}
}

// exemptions asks for all of them.
func (c *control) exemptions() ([]exemption, error) {
	list := []exemption{}
	err := allPages(c, "exemptions", func(after string) (keys []string, more bool, err error) {
		page, err := ask(c, &imsg.Exemptions{After: after}, answerTime)
		if err != nil {
			return nil, false, err
		}
		for i := range page.Exemptions {
			list = append(list, newExemption(&page.Exemptions[i]))
			keys = append(keys, page.Exemptions[i].Who)
		}
		return keys, page.More, nil
	})
	return list, err
}

func printExemptions(w io.Writer, list []exemption, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no exemptions")
		return err
	}
	tw := columns(w)
	fmt.Fprintln(tw, "WHO\tFROM\tSINCE\tENDS\tREASON")
	for i := range list {
		e := &list[i]
		ends := "never"
		if !e.Until.IsZero() {
			ends = "in " + span(e.Until.Sub(now))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", e.Who, strings.Join(e.From, ","), stamp(e.Since), ends, or(e.Reason, "-"))
	}
	return tw.Flush()
}

// tell tells of one to who asks about its client.
func (e *exemption) tell(w io.Writer) {
	until, reason := "for ever", ""
	if !e.Until.IsZero() {
		until = "until " + stamp(e.Until)
	}
	if e.Reason != "" {
		reason = ": " + e.Reason
	}
	fmt.Fprintf(w, "\n%s is exempt from %s %s%s.\nsmtp-gatectl exempt remove %s ends that.\n", e.Who, strings.Join(e.From, ", "), until, reason, e.Who)
}
