// The command demo: the real family on loopback ports, a small mail server
// behind it, and four mails sent through. This file owns the course of events
// and the verdict; it must never need anything but the two programs.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (t *tool) demoCommand() *cobra.Command {
	var daemon string
	var once bool
	demo := &cobra.Command{
		Use:   "demo",
		Short: "See it work: the real daemon, a mail server and six mails on loopback",
		Long: `demo starts smtp-gated on a loopback port, with a small mail server behind it and
the built-in scanners, sends a clean mail, a test virus, one more mail from the
same client, a test spam, and a clean mail and the virus in TLS, which ends at the
gateway, and shows what became of each. Then it stays up
to be tried by hand, until Ctrl-C. Everything it makes lies in one temporary
folder, which it removes.

The exit status is 0 only if every mail was treated as it should be.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			context.AfterFunc(ctx, stop) // so that the second one ends us; the keeper ends the family
			// Whoever reads us may leave, as head(1) does, and the daemon must not stay: our
			// end is the error, then, and not the signal.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			t.out = &attended{t.out, stop}
			return t.demo(ctx, daemon, once || t.json)
		},
	}
	demo.Flags().StringVar(&daemon, "daemon", "", "the smtp-gated to run (default: the one beside smtp-gatectl)")
	demo.Flags().BoolVar(&once, "once", false, "end after the six mails")
	return demo
}

// attended is where somebody reads; when that one leaves, gone is told.
type attended struct {
	io.Writer
	gone func()
}

func (a *attended) Write(b []byte) (int, error) {
	n, err := a.Writer.Write(b)
	if err != nil {
		a.gone()
	}
	return n, err
}

// errVerdicts says that the gateway did not do its work.
var errVerdicts = errors.New("not every mail was treated as it should be")

// errInterrupted is Ctrl-C before the verdicts.
var errInterrupted = errors.New("interrupted")

// trial is one mail of the demonstration.
type trial struct {
	what   string
	from   int    // last octet of the client's loopback address
	mail   string // what is sent
	expect string // in words
	tls    bool   // by STARTTLS
	code   int    // the reply that ends it
	got    fate   // what the mail server is to see
}

func trials() []trial {
	return []trial{
		{"a clean mail", 2, cleanMail(), "250, delivered", false, 250, delivered},
		{"a virus (EICAR)", 3, eicarMail(), "550, sender locked", false, 550, cutOff},
		{"clean, same sender", 3, cleanMail(), "554, still locked", false, 554, untouched},
		{"spam (GTUBE)", 4, gtubeMail(), "550, sender locked", false, 550, cutOff},
		{"a clean mail, in TLS", 5, cleanMail(), "250, delivered", true, 250, deliveredTLS},
		{"a virus, in TLS", 6, eicarMail(), "550, sender locked", true, 550, cutOff},
	}
}

// outcome is what became of a trial: its fields are the JSON form.
type outcome struct {
	What     string `json:"mail"`
	Client   string `json:"client"`
	Expected string `json:"expected"`
	Reply    string `json:"reply"`
	Server   string `json:"mail_server"`
	Right    bool   `json:"right"`
}

func (t *tool) demo(ctx context.Context, program string, once bool) (err error) {
	show := t.out
	if t.json {
		show = io.Discard
	}
	ink := inkFor(show)

	server, err := startServer()
	if err != nil {
		return err
	}
	defer server.Close()
	d, err := startDaemon(ctx, program, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	c, err := dial(d.socket)
	if err != nil {
		return errors.Join(err, d.lastWords())
	}
	defer c.Close()

	fmt.Fprintf(show, "smtp-gated listens at 127.0.0.1:%d, its mail server at 127.0.0.1:%d; all files are in %s\n", d.port, server.port, d.dir)
	outcomes, err := t.try(ctx, show, ink, d, c, server, manyLoopbacks())
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case err != nil:
		return errors.Join(err, d.lastWords())
	}
	right := true
	for _, o := range outcomes {
		right = right && o.Right
	}
	if t.json {
		if err := printJSON(t.out, outcomes); err != nil {
			return err
		}
	} else {
		s, err := c.status()
		if err != nil {
			return errors.Join(err, d.lastWords())
		}
		fmt.Fprintln(show, ink.title("\nThe rooms"))
		printRooms(show, s.Rooms, s.Now)
		fmt.Fprintln(show, ink.title("\nThe verdicts"))
		printOutcomes(show, ink, outcomes)
		if right {
			fmt.Fprintln(show, ink.good(fmt.Sprintf("\nAll %d mails were treated as they should be.", len(outcomes))))
		}
	}
	if !once && ctx.Err() == nil {
		// A control connection left alone for long is the daemon's to close.
		c.Close()
		d.explain(show, ink)
		select {
		case <-ctx.Done():
			fmt.Fprintln(show)
		case <-d.ended:
			return errors.Join(errors.New("smtp-gated ended"), d.lastWords())
		}
	}
	if !right {
		return errors.Join(errVerdicts, d.lastWords())
	}
	return nil
}

// try sends the mails, one after the other. many says that there is a loopback
// address for each client; else they share one, and are told apart by taking
// the lock of the one before away.
func (t *tool) try(ctx context.Context, show io.Writer, ink ink, d *daemon, c *control, server *mailServer, many bool) ([]outcome, error) {
	var outcomes []outcome
	last := 0
	for n, trial := range trials() {
		client := "127.0.0.1"
		if many {
			client = "127.0.0." + strconv.Itoa(trial.from)
		} else if last != trial.from {
			if err := c.forgive(client); err != nil {
				return nil, err
			}
		}
		last = trial.from
		fmt.Fprintln(show, ink.title(fmt.Sprintf("\n%d. %s, from %s", n+1, trial.what, client)))
		before := server.seen()
		talk := dialogue{show: show, ink: ink}
		if trial.tls {
			talk.tls = d.trusting()
		}
		reply, err := talk.send(ctx, client, d.address(), trial.mail)
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		if err != nil {
			reply = "none: " + err.Error()
		}
		server.settle(before, trial.got)
		got := server.since(before)
		if got >= delivered {
			fmt.Fprintln(show, "   The mail server got it with one header field more:")
			for _, line := range server.received() {
				fmt.Fprintf(show, "      %s\n", clean(strings.ReplaceAll(line, "\t", "    ")))
			}
		}
		outcomes = append(outcomes, outcome{
			What: trial.what, Client: client, Expected: trial.expect, Reply: reply, Server: got.String(),
			Right: strings.HasPrefix(reply, strconv.Itoa(trial.code)) && got == trial.got,
		})
	}
	if !many {
		// The hands-on part begins with a clean slate.
		return outcomes, c.forgive("127.0.0.1")
	}
	return outcomes, nil
}

// forgive takes a client's lock away, if it has one.
func (c *control) forgive(client string) error {
	_, err := c.order(&imsg.Unlock{Name: client}, answerTime)
	if err != nil && !errors.Is(err, imsg.NotFound) {
		return fmt.Errorf("unlock %s: %w", client, err)
	}
	return nil
}

func printOutcomes(w io.Writer, ink ink, outcomes []outcome) {
	tw := columns(w)
	// The writer counts the octets of a colour too: all cells of a column have one.
	fmt.Fprintf(tw, "%s\tMAIL\tFROM\tEXPECTED\tMAIL SERVER GOT\tREPLY TO THE CLIENT\n", ink.paint("39", "     "))
	for _, o := range outcomes {
		mark := ink.good("right")
		if !o.Right {
			mark = ink.bad("WRONG")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", mark, o.What, o.Client, o.Expected, o.Server, short(o.Reply))
	}
	tw.Flush()
}

// short cuts a reply for the table; the dialogue has it in full.
func short(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// ink colours words, on a terminal only.
type ink bool

func inkFor(w io.Writer) ink {
	if a, ok := w.(*attended); ok {
		w = a.Writer
	}
	f, ok := w.(*os.File)
	return ink(ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (i ink) paint(code, s string) string {
	if !i {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (i ink) title(s string) string { return i.paint("1", s) }
func (i ink) good(s string) string  { return i.paint("32", s) }
func (i ink) bad(s string) string   { return i.paint("31", s) }
func (i ink) said(s string) string  { return i.paint("36", s) }
