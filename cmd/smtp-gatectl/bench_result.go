// What the command bench shows: a table for people, JSON for machines.

package main

import (
	"fmt"
	"io"
	"time"
)

// benchResult is a load and what became of it: its fields are the JSON form. Times are in
// seconds, sizes in octets.
type benchResult struct {
	Target   string             `json:"target"`
	Complete bool               `json:"complete"`
	Seconds  float64            `json:"seconds"`
	Parallel int                `json:"parallel"`
	Size     int                `json:"size"`
	Sessions benchCount         `json:"sessions"`
	TLS      int64              `json:"tls"` // sessions, the idle ones among them
	Resumed  int64              `json:"tls_resumed"`
	Mails    benchCount         `json:"mails"`
	Octets   int64              `json:"octets"` // of the messages that were accepted
	Idle     benchCount         `json:"idle"`
	Rates    benchRates         `json:"rates"`
	Latency  latencies          `json:"latency"`
	Errors   listOf[benchError] `json:"errors"`
	Sink     *sinkResult        `json:"sink,omitempty"`
}

// benchCount is how many were asked for, as far as they began, and how many went well.
type benchCount struct {
	Asked int64 `json:"asked"`
	Done  int64 `json:"done"`
}

// benchRates are a second.
type benchRates struct {
	Sessions float64 `json:"sessions"`
	Mails    float64 `json:"mails"`
	Octets   float64 `json:"octets"`
}

type latencies struct {
	Greeting  latency `json:"greeting"` // from the begin of the connection
	EndOfData latency `json:"end_of_data"`
	Handshake latency `json:"tls_handshake"`
	Idle      latency `json:"idle_greeting"`
}

func (g *generator) result(took time.Duration) *benchResult {
	t := &g.tally
	r := &benchResult{
		Target: g.target.String(), Seconds: took.Seconds(), Parallel: g.parallel, Size: g.octets,
		Sessions: benchCount{t.asked.sessions.Load(), t.done.sessions.Load()},
		TLS:      t.tls.Load(), Resumed: t.resumed.Load(),
		Mails:   benchCount{t.asked.mails.Load(), t.done.mails.Load()},
		Octets:  t.octets.Load(),
		Idle:    benchCount{t.asked.idle.Load(), t.done.idle.Load()},
		Latency: latencies{t.greeting.latency(), t.endOfData.latency(), t.handshake.latency(), t.idleGreeting.latency()},
		Errors:  t.errors(),
	}
	if s := r.Seconds; s > 0 {
		r.Rates = benchRates{float64(r.Sessions.Done) / s, float64(r.Mails.Done) / s, float64(r.Octets) / s}
	}
	return r
}

// complete tells whether all was as asked. What a sink of ours has got was counted before
// it was accepted; so another number is a mail that was lost, or doubled.
func (r *benchResult) complete() bool {
	whole := func(c benchCount) bool { return c.Asked == c.Done }
	return whole(r.Sessions) && whole(r.Mails) && whole(r.Idle) && len(r.Errors) == 0 &&
		(r.Sink == nil || r.Sink.Mails == r.Mails.Done)
}

func (t *tool) showBench(r *benchResult) error {
	if t.json {
		return printJSON(t.out, r)
	}
	tw := columns(t.out)
	fmt.Fprintf(tw, "target\t%s, %d at once, for %s\n", r.Target, r.Parallel, brief(r.Seconds))
	fmt.Fprintf(tw, "sessions\t%d of %d, %.0f/s; %d in TLS, %d of them resumed\n", r.Sessions.Done, r.Sessions.Asked, r.Rates.Sessions, r.TLS, r.Resumed)
	if r.Idle.Asked > 0 {
		fmt.Fprintf(tw, "idle\t%d of %d held to the end\n", r.Idle.Done, r.Idle.Asked)
	}
	fmt.Fprintf(tw, "mails\t%d of %d accepted, %.0f/s\n", r.Mails.Done, r.Mails.Asked, r.Rates.Mails)
	fmt.Fprintf(tw, "octets\t%s, %s/s\n", octets(r.Octets), octets(int64(r.Rates.Octets)))
	if r.Sink != nil {
		printSink(tw, r.Sink)
	}
	fmt.Fprintln(tw, "\nLATENCY\tCOUNT\tMEDIAN\t99TH\tMAX")
	for _, row := range []struct {
		name string
		latency
	}{{"greeting", r.Latency.Greeting}, {"end of data", r.Latency.EndOfData}, {"TLS handshake", r.Latency.Handshake}, {"idle greeting", r.Latency.Idle}} {
		if row.Count > 0 {
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\n", row.name, row.Count, brief(row.Median), brief(row.P99), brief(row.Max))
		}
	}
	if len(r.Errors) > 0 {
		fmt.Fprintln(tw, "\nERROR\tWHAT\tCOUNT\tTHE FIRST")
	}
	for _, e := range r.Errors {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", e.Step, e.What, e.Count, e.Example)
	}
	return tw.Flush()
}

func (t *tool) showSink(r *sinkResult) error {
	if t.json {
		return printJSON(t.out, r)
	}
	tw := columns(t.out)
	printSink(tw, r)
	return tw.Flush()
}

func printSink(w io.Writer, r *sinkResult) {
	fmt.Fprintf(w, "sink\t%d mails of %s in %d sessions, %d in TLS; %d broken off\n", r.Mails, octets(r.Octets), r.Sessions, r.TLS, r.Broken)
}

// brief words seconds, to three digits below 1000.
func brief(seconds float64) string {
	switch {
	case seconds < 0.9995:
		return fmt.Sprintf("%.3gms", seconds*1000)
	case seconds < 999.5:
		return fmt.Sprintf("%.3gs", seconds)
	}
	return fmt.Sprintf("%.0fs", seconds)
}
