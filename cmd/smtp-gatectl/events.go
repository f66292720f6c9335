// The command events: what happens, as it happens.

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// eventWait is how long the daemon is asked to wait for an event.
const eventWait = 30 * time.Second

var errNoEvent = errors.New("there was no such event in time")

func (t *tool) eventsCommand() *cobra.Command {
	var kinds []string
	var client, login string
	var since, timeout time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Long: `events shows what happens, a line an event, until it is interrupted. With --json
each line is an object. The kinds are ` + strings.Join(eventKinds(), ", ") + `;
sessions are shown only if named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask, err := eventQuestion(kinds, client, login)
			if err != nil {
				return err
			}
			flags := cmd.Flags()
			switch {
			case flags.Changed("timeout") && !once:
				return fmt.Errorf("%w: --timeout goes with --once", errUsage)
			case flags.Changed("timeout") && timeout <= 0:
				return fmt.Errorf("%w: --timeout %s is no time to wait", errUsage, timeout)
			case flags.Changed("since") && since <= 0:
				return fmt.Errorf("%w: --since %s is not in the past", errUsage, since)
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			last, err := c.lastEvent(ask)
			if err != nil {
				return err
			}
			if since > 0 {
				ask.Since = time.Now().Add(-since).UnixNano()
			} else {
				ask.After = last
			}
			return t.follow(c, ask, once, timeout)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&kinds, "kind", nil, "only of these kinds, joined by commas")
	flags.StringVar(&client, "client", "", "only of this client, an address or a network as 192.0.2.0/24")
	flags.StringVar(&login, "login", "", "only of this login, or of who claimed it")
	flags.DurationVar(&since, "since", 0, "begin with those of the last so much time, as 10m")
	flags.BoolVar(&once, "once", false, "end with the first one")
	flags.DurationVar(&timeout, "timeout", 0, "with --once: how long to wait for it at most, as 60s")
	completeFlag(cmd, "kind", cobra.FixedCompletions(eventKinds(), cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "client", t.complete(liveAddresses, lockedAddresses))
	return cmd
}

// eventKinds lists their names.
func eventKinds() (names []string) {
	for k := range imsg.EventKinds {
		if k > 0 {
			names = append(names, k.String())
		}
	}
	return names
}

// eventQuestion is the question for what the command line wants to see.
func eventQuestion(kinds []string, client, login string) (*imsg.EventsAfter, error) {
	ask := &imsg.EventsAfter{Wait: eventWait}
	for _, name := range kinds {
		k, ok := imsg.ParseEventKind(name)
		if !ok {
			return nil, fmt.Errorf("%w: --kind %q: there are %s", errUsage, name, strings.Join(eventKinds(), ", "))
		}
		ask.Kinds = ask.Kinds.With(k)
	}
	if ask.Kinds == 0 {
		ask.Kinds = imsg.UsualEvents()
	}
	if client != "" {
		net, err := parseNetwork(client)
		if err != nil {
			return nil, fmt.Errorf("%w: --client %q is no address and no network", errUsage, client)
		}
		ask.Client, ask.Bits = net.Addr(), net.Bits()
	}
	if login != "" {
		var ok bool
		if ask.Login, ok = imsg.ParseLogin(login); !ok {
			return nil, fmt.Errorf("%w: --login %q is none", errUsage, login)
		}
	}
	return ask, nil
}

// parseNetwork reads an address, or a network.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	net, err := netip.ParsePrefix(text)
	if a := net.Addr(); err == nil && a.Is4In6() && net.Bits() >= 96 {
		net = netip.PrefixFrom(a.Unmap(), net.Bits()-96)
	}
	return net, err
}

// lastEvent is the number of the newest event: those behind it are to come.
func (c *control) lastEvent(q *imsg.EventsAfter) (uint64, error) {
	none := *q
	none.After, none.Kinds, none.Wait = 1<<63, 0, 0
	a, err := ask(c, &none, answerTime)
	if err != nil {
		return 0, fmt.Errorf("ask for events: %w", err)
	}
	return a.Last, nil
}

// comeback is how long a daemon that has hung up is waited for, and comebackPause the time
// between two tries.
const (
	comeback      = 30 * time.Second
	comebackPause = 200 * time.Millisecond
)

// follow shows events until there are no more to be shown, or for ever. It outlives a
// lockd that is replaced: of what that one kept nobody knows any more.
func (t *tool) follow(c *control, q *imsg.EventsAfter, once bool, timeout time.Duration) error {
	var end, gone time.Time
	heard := time.Now() // it has answered
	if timeout > 0 {
		end = time.Now().Add(timeout)
	}
	for {
		if !end.IsZero() {
			q.Wait = min(eventWait, max(time.Until(end), 0))
		}
		list, err := ask(c, q, q.Wait+answerTime)
		switch {
		case errors.Is(err, imsg.Gone):
			if gone.IsZero() {
				gone = time.Now()
			}
			until := gone.Add(comeback)
			if !end.IsZero() && end.Before(until) {
				until = end
			}
			next, derr := t.dialAgain(until)
			if derr != nil {
				return fmt.Errorf("ask for events: %w", err)
			}
			defer next.Close()
			c = next
			q.After, q.Since = 0, max(q.Since, heard.UnixNano())
			continue
		case err != nil:
			return fmt.Errorf("ask for events: %w", err)
		}
		if list.Lost > 0 && q.After > 0 || !gone.IsZero() {
			lost := &imsg.Event{Time: time.Now().UnixNano(), Kind: imsg.EventLost, Count: list.Lost}
			if !gone.IsZero() {
				lost.Text = "the room that keeps them has ended"
			}
			if err := t.showEvent(lost); err != nil {
				return err
			}
		}
		heard, gone = time.Now(), time.Time{}
		q.After = list.Last
		for i := range list.Events {
			if err := t.showEvent(&list.Events[i]); err != nil || once {
				return err
			}
		}
		if len(list.Events) == 0 && !end.IsZero() && !time.Now().Before(end) {
			return errNoEvent
		}
	}
}

// dialAgain connects to a daemon that is away for a moment.
func (t *tool) dialAgain(until time.Time) (*control, error) {
	for {
		c, err := t.look()
		if err == nil || time.Now().After(until) {
			return c, err
		}
		time.Sleep(comebackPause)
	}
}

func (t *tool) showEvent(e *imsg.Event) error {
	if t.json {
		return printEventJSON(t.out, e)
	}
	_, err := io.WriteString(t.out, eventLine(e)+"\n")
	return err
}

// printEventJSON prints an event as one line, with the fields that it has in their order.
func printEventJSON(w io.Writer, e *imsg.Event) error {
	var b strings.Builder
	before := "{"
	for _, f := range imsg.EventFields {
		v := f.Value(e)
		if v == nil {
			continue
		}
		text, err := marshal(v)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s%q:%s", before, f.Name, text)
		before = ","
	}
	_, err := io.WriteString(w, b.String()+"}\n")
	return err
}

// eventLine is an event for people.
func eventLine(e *imsg.Event) string {
	var b strings.Builder
	for _, f := range imsg.EventFields {
		switch v := f.Value(e).(type) {
		case nil:
		case time.Time:
			if f.Name == "time" {
				b.WriteString(stamp(v))
				continue
			}
			fmt.Fprintf(&b, " %s=%s", f.Name, v.Format(time.RFC3339))
		case string:
			switch {
			case f.Name == "kind":
				fmt.Fprintf(&b, " %-9s", v)
			case strings.ContainsAny(v, " \"="):
				fmt.Fprintf(&b, " %s=%s", f.Name, strconv.Quote(v))
			default:
				fmt.Fprintf(&b, " %s=%s", f.Name, v)
			}
		default:
			fmt.Fprintf(&b, " %s=%v", f.Name, v)
		}
	}
	return b.String()
}
