// The commands explain and history: what became of somebody's mail, why, and what to do.

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID|ADDRESS|SENDER|login=LOGIN",
		Short: "Tell why somebody was refused, and what to do",
		Long: `explain tells what a client was refused and locked for, newest first: by the ID at
the end of a refusal, as 1700000000.7, by the client's ADDRESS, by a SENDER, or by the
LOGIN that a server took it for.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: one(t.complete(lockedAddresses, liveAddresses, liveIDs)),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args[0]) > imsg.MaxSender {
				return fmt.Errorf("%w: that is longer than any id, address or sender", errUsage)
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			e, err := c.explanation(args[0])
			if err != nil {
				return err
			}
			if t.json {
				return printJSON(t.out, e)
			}
			return e.print(t.out, clean(args[0]))
		},
	}
}

func (t *tool) historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Erase what is kept of somebody",
		Args:  cobra.NoArgs,
		RunE:  commandMissing,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "forget CLIENT|SENDER|login=LOGIN",
		Short: "Erase what is kept of a client, by its address, of a sender, or of a login",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: one(t.complete(lockedAddresses, liveAddresses)),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args[0]) > imsg.MaxSender {
				return fmt.Errorf("%w: that is longer than any address or sender", errUsage)
			}
			c, err := t.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			detail, err := c.order(&imsg.HistoryForget{About: args[0]}, answerTime)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(t.out, clean(detail))
			return err
		},
	})
	return cmd
}

// explanation is what is known: its fields are the JSON form.
type explanation struct {
	Records listOf[explained] `json:"records"`
	Lock    *lockedNow        `json:"lock,omitempty"` // of the client of the newest, now
	Exempt  []exemption       `json:"exempt,omitempty"`
}

// explained is one record: what happened, how often, and what it means.
type explained struct {
	First  time.Time      `json:"first"`
	Last   time.Time      `json:"last"`
	Count  uint64         `json:"count"`
	IDs    listOf[string] `json:"ids"`
	Event  map[string]any `json:"event"`
	Why    string         `json:"why,omitempty"`
	Remedy string         `json:"remedy,omitempty"`

	event   imsg.Event
	senders []string // by IDs; empty: as the event has it, or none
}

// sessions are the ids, each with its sender where that is another than the event's.
func (r *explained) sessions() (list []string) {
	for i, id := range r.IDs {
		if s := r.senders[i]; s != "" && s != r.event.Sender {
			id += " (" + s + ")"
		}
		list = append(list, id)
	}
	return list
}

type lockedNow struct {
	Name  string    `json:"name"`
	Cause string    `json:"cause"`
	Until time.Time `json:"until,omitzero"`
}

// longestStory is how many records are told of.
const longestStory = 200

func (c *control) explanation(about string) (*explanation, error) {
	e := &explanation{Records: []explained{}}
	for len(e.Records) < longestStory {
		a, err := ask(c, &imsg.Explain{About: about, Skip: len(e.Records)}, answerTime)
		if err != nil {
			return nil, fmt.Errorf("ask for what is known: %w", err)
		}
		if len(e.Records) == 0 && a.Locked {
			e.Lock = &lockedNow{Name: clean(a.Lock.Name), Cause: clean(a.Lock.Cause), Until: moment(a.Lock.Expires)}
		}
		for i := range a.Exempt {
			if len(e.Records) == 0 {
				e.Exempt = append(e.Exempt, newExemption(&a.Exempt[i]))
			}
		}
		for i := range a.Records {
			x := explain(&a.Records[i])
			x.Why, x.Remedy = c.spell(x.Why), c.spell(x.Remedy)
			e.Records = append(e.Records, x)
		}
		if !a.More || len(a.Records) == 0 {
			break
		}
	}
	return e, nil
}

// explain says what a record means.
func explain(r *imsg.HistoryRecord) explained {
	x := explained{First: moment(r.First), Last: moment(r.Event.Time), Count: r.Count, IDs: []string{}, Event: make(map[string]any), event: r.Event}
	for _, q := range r.Quotes {
		if q.ID != "" && !slices.Contains(x.IDs, q.ID) {
			x.IDs = append(x.IDs, q.ID)
			x.senders = append(x.senders, q.Sender)
		}
	}
	for _, f := range imsg.EventFields {
		if v := f.Value(&r.Event); v != nil {
			x.Event[f.Name] = v
		}
	}
	row := imsg.PolicyRuleTable[r.Event.Rule%imsg.PolicyRules]
	x.Why, x.Remedy = row.Help, row.Remedy
	if r.Event.Kind == imsg.EventLock && r.Event.Rule == imsg.NoRule {
		x.Why, x.Remedy = "An operator locked the client.", "smtp-gatectl lock remove lets it in again."
	}
	return x
}

func (e *explanation) print(w io.Writer, about string) error {
	var b strings.Builder
	if len(e.Records) == 0 {
		fmt.Fprintf(&b, "Nothing is known of %s: it was not refused, or a second ago at most, or that is not kept any more.\n", about)
	}
	for i := range e.Records {
		r := &e.Records[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		r.print(&b)
	}
	if l := e.Lock; l != nil {
		until := "for ever"
		if !l.Until.IsZero() {
			until = "until " + stamp(l.Until)
		}
		is := "is"
		if slices.ContainsFunc(e.Exempt, func(x exemption) bool { return slices.Contains(x.From, imsg.ExemptLock.String()) }) {
			is = "were it not exempt, would be"
		}
		fmt.Fprintf(&b, "\n%s %s locked out %s: %s.\nsmtp-gatectl lock remove %s lets it in again.\n", l.Name, is, until, l.Cause, l.Name)
	} else if len(e.Records) > 0 && e.Records[0].event.Client.IsValid() {
		fmt.Fprintf(&b, "\n%s is not locked out.\n", e.Records[0].event.Client.Addr())
	}
	for i := range e.Exempt {
		e.Exempt[i].tell(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *explained) print(b *strings.Builder) {
	e := &r.event
	fmt.Fprintf(b, "%s  %s", stamp(r.Last), e.Kind)
	if r.Count > 1 {
		fmt.Fprintf(b, ", %d times since %s; this is the last", r.Count, stamp(r.First))
	}
	b.WriteByte('\n')
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-9s %s\n", name, value)
		}
	}
	if e.Client.IsValid() {
		line("client", strings.TrimSuffix(e.Client.String(), ":0"))
	}
	line("ident", e.Ident)
	line("login", e.Login)
	line("claimed", e.Claimed)
	line("server", endpoint(e.Target))
	line("called", e.ServerName)
	line("sender", e.Sender)
	line("message", e.MessageID)
	line("subject", e.Subject)
	if e.Code > 0 && e.Would == 0 {
		line("heard", fmt.Sprintf("%d %s", e.Code, e.Text))
	} else {
		line("text", e.Text)
	}
	switch e.Kind {
	case imsg.EventLock, imsg.EventUnlock, imsg.EventExpire:
		line("rule", e.Rule.String())
		line("lock", e.Detail)
	default:
		line("rule", strings.TrimSpace(e.Rule.String()+" "+e.Detail))
	}
	line("virus", e.Virus)
	if e.Scored {
		line("score", fmt.Sprintf("%.3f", e.Score))
	}
	if e.Until > 0 {
		line("until", stamp(moment(e.Until)))
	}
	if e.Would > 0 {
		line("would", e.Would.String())
	}
	line("sessions", strings.Join(r.sessions(), " "))
	line("why", r.Why)
	line("remedy", r.Remedy)
}
