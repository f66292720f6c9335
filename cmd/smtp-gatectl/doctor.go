// The command doctor: each thing that mail depends on is tried, one after the other, and
// what is wrong is said with what to do. This file owns the command and the exit status;
// what is tried stands in doctor_table.go. Nothing that it looks at is changed.

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// probeTime is how long a probe may take that says nothing else; lateTime is what one gets
// beyond its limit to say so itself.
const (
	probeTime = 10 * time.Second
	lateTime  = 2 * time.Second
)

func (t *tool) doctorCommand() *cobra.Command {
	var list bool
	var only []string
	var program string
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Try each thing that mail depends on; say what is wrong, and what to do",
		Long: `doctor tries what mail depends on: users and folders, the engines, by mails that
they must find, the server, name servers and block lists, the firewall, the
kernel and the limits. It looks at the running daemon, FILE's if one is given.
If none runs, and root asks, it starts a temporary one by FILE on a loopback
port, in a folder that is removed again. It changes nothing.

Exit status: 0 all is well, 3 there are warnings, 4 something is red,
2 the file is wrong, 1 it was interrupted, could not remove its temporary daemon, or
there is nothing to look at.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if list {
				return t.listProbes()
			}
			chosen, err := chooseProbes(only)
			if err != nil {
				return err
			}
			if len(args) > 0 && (t.config != "" || t.socket != "") {
				return fmt.Errorf("%w: FILE names the daemon, as --socket and --config do", errUsage)
			}
			file := t.config
			if len(args) > 0 {
				file = args[0]
			}
			// SIGPIPE too: whoever reads us may leave, and a temporary family must not stay.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			context.AfterFunc(ctx, stop) // so that the second one ends us; the keeper ends the family
			return t.doctor(ctx, file, program, chosen, only)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&list, "list", false, "print what is tried, and try nothing")
	flags.StringSliceVar(&only, "only", nil, "try these alone: `IDs` or groups, separated by commas")
	flags.StringVar(&program, "daemon", "", "the smtp-gated to start, if none runs (default: the one beside smtp-gatectl, or in PATH)")
	return cmd
}

// chooseProbes are those of the table that can have one of the results asked for.
func chooseProbes(only []string) ([]probe, error) {
	if len(only) == 0 {
		return probes, nil
	}
	for _, id := range only {
		if !slices.ContainsFunc(probes, func(p probe) bool { return p.has(id) }) {
			return nil, fmt.Errorf("%w: nothing is called %q: see doctor --list", errUsage, id)
		}
	}
	return slices.DeleteFunc(slices.Clone(probes), func(p probe) bool { return !slices.ContainsFunc(only, p.has) }), nil
}

func (t *tool) listProbes() error {
	if t.json {
		list := []map[string]string{}
		for _, p := range probes {
			list = append(list, map[string]string{"id": p.id, "group": p.group, "help": p.help})
		}
		return printJSON(t.out, list)
	}
	tw := columns(t.out)
	group := ""
	for _, p := range probes {
		if p.group != group {
			group = p.group
			fmt.Fprintln(tw, group)
		}
		fmt.Fprintf(tw, "  %s\t%s\n", p.id, p.help)
	}
	return tw.Flush()
}

func (t *tool) doctor(ctx context.Context, file, program string, chosen []probe, only []string) (err error) {
	p, err := t.admit(ctx, file, program)
	if err != nil {
		return err
	}
	defer func() { err = t.with(err, p.discharge()) }()
	results := examine(ctx, p, chosen)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if len(only) > 0 {
		results = slices.DeleteFunc(results, func(r result) bool { return !slices.ContainsFunc(only, r.called) })
		if len(results) == 0 {
			return fmt.Errorf("%w: here is nothing that is called %s", errUsage, strings.Join(only, " or "))
		}
	}
	worst := good
	for _, r := range results {
		worst = max(worst, r.State)
	}
	if t.json {
		err = printJSON(t.out, results)
	} else {
		err = printResults(t.out, p, results)
	}
	if err == nil && worst > good {
		err = worst
	}
	return err
}

// with adds to an outcome how the temporary family has ended. Of a colour main prints
// nothing: it is said here.
func (t *tool) with(err, end error) error {
	if err == nil || end == nil {
		return cmp.Or(err, end)
	}
	fmt.Fprintf(t.err, "smtp-gatectl: %v\n", end)
	return err
}

// examine has all probes at work side by side; what they say comes in the order of the
// table.
func examine(ctx context.Context, p *patient, chosen []probe) []result {
	all := make([][]result, len(chosen))
	var wg sync.WaitGroup
	for i, probe := range chosen {
		wg.Go(func() { all[i] = probe.try(ctx, p) })
	}
	wg.Wait()
	return slices.Concat(all...)
}

// try has a probe at work, for a bounded time; nothing comes of it if we are to end.
func (b *probe) try(interrupted context.Context, p *patient) []result {
	limit := probeTime
	if b.limit != nil {
		limit = b.limit(p)
	}
	ctx, cancel := context.WithTimeout(interrupted, limit)
	defer cancel()
	done := make(chan []result, 1)
	go func() { done <- b.do(ctx, p) }()
	late := time.NewTimer(limit + lateTime)
	defer late.Stop()
	var results []result
	select {
	case results = <-done:
	case <-interrupted.Done():
	case <-late.C:
		results = []result{red(b.plainID(), "find out what it waits for: there may be a disk, or a user database, that does not answer", "no answer within %v", limit)}
	}
	for i := range results {
		results[i].probe = b
		results[i].Group = b.group
		results[i].Text, results[i].Remedy = clean(results[i].Text), clean(p.Speak(results[i].Remedy))
	}
	return results
}

func printResults(w io.Writer, p *patient, results []result) error {
	ink := inkFor(w)
	fmt.Fprintln(w, p.introduction())
	group, width := "", 0
	counts := map[state]int{}
	for _, r := range results {
		width = max(width, len(r.ID))
		counts[r.State]++
	}
	for _, r := range results {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(w, "\n%s\n", ink.title(group))
		}
		fmt.Fprintf(w, "  %s %-*s  %s\n", r.State.paint(ink), width, r.ID, r.Text)
		if r.Remedy != "" {
			fmt.Fprintf(w, "  %7s %*s  -> %s\n", "", width, "", r.Remedy)
		}
	}
	var words []string
	for _, s := range []state{good, warning, bad, skipped} {
		if counts[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(words, ", "))
	return err
}
