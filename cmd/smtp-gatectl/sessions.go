// The command sessions: who is connected and what they do.

package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) sessionsCommand() *cobra.Command {
	var only sessionFilter
	var follow bool
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List the live sessions, or follow them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := only.parse(cmd.Flags()); err != nil {
				return err
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			if follow {
				return t.followSessions(c, &only)
			}
			defer c.Close()
			list, silent, err := c.sessions()
			if err != nil {
				return err
			}
			t.warnSilent(silent)
			now := time.Now()
			list = slices.DeleteFunc(list, func(s session) bool { return !only.passes(&s, now) })
			if t.json {
				return printJSON(t.out, list)
			}
			return printSessions(t.out, list, now)
		},
	}
	only.flags(cmd)
	completeFlag(cmd, "client", t.complete(liveAddresses))
	completeFlag(cmd, "server", t.complete(liveServers))
	completeFlag(cmd, "ident", t.complete(liveIdents))
	cmd.Flags().BoolVar(&follow, "follow", false, "go on: print a line when one appears, changes its state or is gone")
	return cmd
}

// warnSilent says that workers did not answer.
func (t *tool) warnSilent(silent int) {
	if silent > 0 {
		fmt.Fprintf(t.err, "smtp-gatectl: %s did not answer in time: what its sessions do is not known here\n", plural(silent, "worker"))
	}
}

// session is a LiveSession as it is printed: its fields are the JSON form.
type session struct {
	Number       uint64    `json:"number" help:"of the session; in the word to quote it stands behind the start of the family"`
	State        string    `json:"state" help:"what it does or waits for"`
	Auth         string    `json:"auth" help:"whether the server offers AUTH, and whether a log-in was accepted or refused"`
	Started      time.Time `json:"started" help:"when it was accepted"`
	Client       string    `json:"client" help:"address and port"`
	Local        string    `json:"local" help:"where the client was accepted"`
	Target       string    `json:"target" help:"the server, once it is known"`
	Transactions int       `json:"transactions" help:"messages begun"`
	ClientBytes  int64     `json:"client_bytes" help:"octets from the client"`
	ServerBytes  int64     `json:"server_bytes" help:"octets from the server"`
	Ident        string    `json:"ident" help:"whom it calls for, in the remote modes"`
	Login        string    `json:"login" help:"whom the server took it for, by its log-in"`
	Via          string    `json:"via" help:"the load balancer of listen.proxy_from by which the client came"`
	Check        bool      `json:"check" help:"it is that balancer's own, to see whether we work"`
}

// address is the client's alone.
func (s *session) address() string {
	a, _ := netip.ParseAddrPort(s.Client)
	return a.Addr().String()
}

// who is who its client is beyond its address, empty if nobody knows.
func (s *session) who() string { return or(s.Login, s.Ident) }

// sessions asks for all of them. silent counts the workers that did not answer.
func (c *control) sessions() (list []session, silent int, err error) {
	list = []session{}
	err = allPages(c, "sessions", func(after uint64) (keys []uint64, more bool, err error) {
		page, err := ask(c, &imsg.Sessions{After: after}, answerTime)
		if err != nil {
			return nil, false, err
		}
		silent = max(silent, page.Silent)
		for _, s := range page.Sessions {
			keys = append(keys, s.Number)
			list = append(list, session{
				Number: s.Number, State: s.State.String(), Auth: authWord(s.Auth), Started: moment(s.Started),
				Client: endpoint(s.Client), Local: endpoint(s.Local), Target: endpoint(s.Target),
				Transactions: s.Transactions, ClientBytes: s.ClientBytes, ServerBytes: s.ServerBytes, Ident: s.Ident, Login: s.Login, Via: endpoint(s.Via), Check: s.Check,
			})
		}
		return keys, page.More, nil
	})
	return list, silent, err
}

func authWord(f imsg.AuthFlags) string {
	switch {
	case f&imsg.AuthAccepted != 0:
		return "accepted"
	case f&imsg.AuthRejected != 0:
		return "rejected"
	case f&imsg.AuthSupported != 0:
		return "offered"
	}
	return "none"
}

func printSessions(w io.Writer, list []session, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no live sessions")
		return err
	}
	tw := columns(w)
	fmt.Fprintln(tw, "NUMBER\tSTATE\tAUTH\tTIME\tCLIENT\tTARGET\tMAILS\tFROM CLIENT\tFROM SERVER\tNAME")
	for _, s := range list {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.Number, s.State, s.Auth, span(now.Sub(s.Started)),
			s.Client, or(s.Target, "-"), s.Transactions, octets(s.ClientBytes), octets(s.ServerBytes), or(s.who(), "-"))
	}
	return tw.Flush()
}
