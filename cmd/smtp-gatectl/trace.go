// The command trace: the dialogue of a client's next sessions, in a file of the
// operator's. This file owns how that is made: nobody else may have made it, or read it.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// longestTrace is how long one may wait for sessions, and last.
const longestTrace = 24 * time.Hour

func (t *tool) traceCommand() *cobra.Command {
	var sessions int
	limit := lasting{10 * time.Minute, longestTrace}
	trace := &cobra.Command{
		Use:   "trace CLIENT FILE",
		Short: "Write the dialogue of the next sessions of an address, or of a network, to a new file",
		Args:  cobra.ExactArgs(2),
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return t.complete(liveAddresses)(c, args, begun)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			net, err := parseNetwork(args[0])
			switch {
			case err != nil:
				return fmt.Errorf("%w: %q is no address and no network", errUsage, args[0])
			case net != net.Masked():
				return fmt.Errorf("%w: %s has bits behind its network: is %s meant?", errUsage, net, net.Masked())
			case sessions < 1, sessions > imsg.MaxTraceSessions:
				return fmt.Errorf("%w: --sessions is 1 to %d", errUsage, imsg.MaxTraceSessions)
			}
			return t.trace(&imsg.Trace{Client: net.Addr(), Bits: net.Bits(), Sessions: sessions, For: limit.Duration}, args[1])
		},
	}
	trace.Flags().IntVar(&sessions, "sessions", 1, "how many sessions")
	trace.Flags().Var(&limit, "for", "how long at most")
	return trace
}

// traceResult is what will be written; its fields are the JSON form.
type traceResult struct {
	Client   string    `json:"client"`
	Sessions int       `json:"sessions"`
	Until    time.Time `json:"until"`
	File     string    `json:"file"`
}

// trace makes the file, and has the daemon write to it. Where that has refused there is no
// file; where it may have begun the file stays.
func (t *tool) trace(q *imsg.Trace, name string) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	place, f, err := makeTrace(name)
	if err != nil {
		return fmt.Errorf("make the file of the trace: %w", err)
	}
	defer place.Folder.Close()
	defer f.Close()
	until := time.Now().Add(q.For)
	if err = writeTraceHead(f, q, until); err == nil {
		_, err = c.order(q, answerTime, f)
	}
	switch {
	case err == nil:
	case undecided(err):
		return fmt.Errorf("%w; the trace may be under way, and %s stays: see status", err, clean(name))
	default:
		return errors.Join(err, place.Unmake(f))
	}
	client := imsg.NetworkText(q.Client, q.Bits)
	if t.json {
		return printJSON(t.out, traceResult{client, q.Sessions, until, clean(name)})
	}
	what := "the next session"
	if q.Sessions > 1 {
		what = fmt.Sprintf("the next %d sessions", q.Sessions)
	}
	fmt.Fprintf(t.out, "%s of %s will be written to %s, %s at most, until %s\n",
		what, client, clean(name), octets(imsg.MaxTrace), stamp(until))
	return nil
}

// makeTrace makes the file: nobody may have led us to its folder, and there it is made, and
// taken away, by whatever name the folder has then.
func makeTrace(name string) (*host.Place, *os.File, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, nil, err
	}
	place, err := host.OpenPlace(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := place.Make(os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		place.Folder.Close()
		return nil, nil, err
	}
	return place, f, nil
}

// writeTraceHead writes what stands at the head of a file: what it is, for who finds it.
func writeTraceHead(w io.Writer, q *imsg.Trace, until time.Time) error {
	_, err := fmt.Fprintf(w, "# smtp-gated: a trace of %s of %s, until %s at most\n"+
		"# session, time since it began, who speaks to whom, what; <n octets> stands for what is not shown\n",
		plural(q.Sessions, "session"), imsg.NetworkText(q.Client, q.Bits), until.Format(time.RFC3339))
	return err
}
