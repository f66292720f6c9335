// The commands of lock: who is locked out, and changing that by hand.

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

func (t *tool) lockCommand() *cobra.Command {
	lock := &cobra.Command{
		Use:   "lock",
		Short: "List, add and remove locks",
		Args:  cobra.NoArgs,
		RunE:  commandMissing,
	}
	lock.AddCommand(t.lockList(), t.lockAdd(), t.lockRemove(), t.lockExportCommand())
	return lock
}

func (t *tool) lockList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the clients that are locked out, and those that never are",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return show(t, (*control).allLocks, func(w io.Writer, list []lock) error { return printLocks(w, list, time.Now()) })
		},
	}
}

func (t *tool) lockAdd() *cobra.Command {
	var cause string
	until := lasting{most: imsg.MaxLockTime}
	add := &cobra.Command{
		Use:   "add CLIENT...",
		Short: "Lock clients out: addresses, networks, or either with an ident",
		Args:  cobra.MinimumNArgs(1),

		ValidArgsFunction: t.complete(liveClients, countedClients),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := clientNames(args)
			if err != nil {
				return err
			}
			return t.orderEach(names, "locked", func(name string) imsg.Question[imsg.Done] {
				return &imsg.Lock{Name: name, Cause: cause, For: until.Duration}
			}, lockError)
		},
	}
	add.Flags().StringVar(&cause, "cause", "OPERATOR", "what the lock file says")
	add.Flags().Var(&until, "for", "for how long, as 2h or 30d (default: lock.duration)")
	return add
}

func (t *tool) lockRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove CLIENT...",
		Aliases:           []string{"rm"},
		Short:             "Let clients in again",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: t.complete(lockedClients),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := clientNames(args)
			if err != nil {
				return err
			}
			return t.orderEach(names, "unlocked", func(name string) imsg.Question[imsg.Done] {
				return &imsg.Unlock{Name: name}
			}, lockError)
		},
	}
}

// lockError says what a refusal without words of its own is about.
func lockError(name string, err error) error {
	switch {
	case errors.Is(err, imsg.Exists):
		return fmt.Errorf("%s is locked already", name)
	case errors.Is(err, imsg.NotFound):
		return fmt.Errorf("%s is not locked: smtp-gatectl lock list shows who is", name)
	}
	return err
}

// lock is a LockEntry as it is printed: its fields are the JSON form.
type lock struct {
	Name        string    `json:"name"`
	Cause       string    `json:"cause"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires,omitzero"`
	Whitelisted bool      `json:"whitelisted"`
	Protected   bool      `json:"protected"`
	Refusals    uint64    `json:"refusals"`

	bits int // of the address, that its client has for its own; 0: it is none that a packet filter could block
}

// shown is the client as a network, where it has one: that is how it can be called, too.
func (l *lock) shown() string {
	c, ok := locks.Parse(l.Name)
	if !ok || l.bits == 0 || l.bits == c.Addr.BitLen() {
		return l.Name
	}
	return netip.PrefixFrom(c.Addr, l.bits).String()
}

// allLocks asks for all of them.
func (c *control) allLocks() ([]lock, error) {
	list := []lock{}
	err := allPages(c, "locks", func(after string) (keys []string, more bool, err error) {
		page, err := ask(c, &imsg.Locks{After: after}, answerTime)
		if err != nil {
			return nil, false, err
		}
		for _, l := range page.Locks {
			keys = append(keys, l.Name)
			list = append(list, lock{
				Name: l.Name, Cause: l.Cause, Created: moment(l.Created), Expires: moment(l.Expires), Whitelisted: l.Saint,
				Protected: l.Protected, Refusals: l.Refusals, bits: l.Bits,
			})
		}
		return keys, page.More, nil
	})
	return list, err
}

func printLocks(w io.Writer, list []lock, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no locks")
		return err
	}
	tw := columns(w)
	fmt.Fprintln(tw, "CLIENT\tCAUSE\tSINCE\tREFUSED\tENDS")
	for _, l := range list {
		ends := "never"
		switch {
		case l.Whitelisted:
			ends = "never locked: the file belongs to root"
		case !l.Expires.IsZero() && l.Expires.Before(now):
			ends = "at its next connection"
		case !l.Expires.IsZero():
			ends = "in " + span(l.Expires.Sub(now))
		}
		if l.Protected && !l.Whitelisted {
			ends += " (protected: not exported)"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", l.shown(), or(l.Cause, "-"), stamp(l.Created), l.Refusals, ends)
	}
	return tw.Flush()
}
