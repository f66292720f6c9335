// What is wrong, at a glance: the first lines of status. This file owns their form, and
// what a monitor makes of the exit status.

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// finding is one in its JSON form.
type finding struct {
	ID     string    `json:"id" help:"which"`
	Object string    `json:"object" help:"of what: a server, an engine, a cause"`
	Since  time.Time `json:"since" help:"when it began"`
	Last   time.Time `json:"last" help:"when it went wrong last"`
	Count  uint64    `json:"count" help:"how often it has"`
	Text   string    `json:"text" help:"what was seen then"`
	Remedy string    `json:"remedy" help:"what to do"`

	Recovered bool `json:"recovered" help:"whether it went well since: then it ends a minute after it last went wrong"`
}

func findingsOf(r *imsg.StatusReport) []finding {
	list := []finding{}
	for _, f := range r.Findings {
		if f.Finding == imsg.FindingUnscanned && f.Object == imsg.UnscannedTLS {
			f.Text = fmt.Sprintf("%.0f %% of all sessions", 100*tlsShare(r))
		}
		list = append(list, finding{
			ID: f.Finding.String(), Object: f.Object, Since: moment(f.Since), Last: moment(f.Last),
			Count: f.Count, Text: f.Text, Remedy: config.Speak(f.Remedy(), r.Family.TOML), Recovered: f.Good,
		})
	}
	return list
}

// line words a finding in one line. What was seen may be long, and comes last.
func (f *finding) line(now time.Time) string {
	text := f.ID
	if f.Object != "" {
		text += " " + f.Object
	}
	last := now.Sub(f.Last)
	if f.Count == 1 {
		text += fmt.Sprintf(": once, %s ago", span(last))
	} else {
		text += fmt.Sprintf(": %d times in %s, last %s ago", f.Count, span(f.Last.Sub(f.Since)), span(last))
	}
	if f.Recovered {
		text += ", well since, ends in " + span(findings.Quiet-last)
	}
	if f.Text != "" {
		text += ": " + f.Text
	}
	return text
}

// printFindings prints what there is to look at and what to do, the worst first.
func (s *status) printFindings(w io.Writer) (err error) {
	if s.found == 0 {
		_, err = fmt.Fprintln(w, imsg.Well)
		return err
	}
	fmt.Fprintf(w, "look here: %d\n", s.found)
	for i := range s.Findings {
		f := &s.Findings[i]
		_, err = fmt.Fprintf(w, "%s\n  %s\n", f.line(s.Now), f.Remedy)
	}
	if more := s.found - len(s.Findings); more > 0 {
		_, err = fmt.Fprintf(w, "and %d more\n", more)
	}
	return err
}

// unwell is the outcome of status --check where there are findings.
type unwell imsg.Health

func (u unwell) Error() string { return imsg.Health(u).String() }

// exitStatus is what a monitor goes by.
func (u unwell) exitStatus() int {
	if imsg.Health(u) == imsg.Down {
		return exitDown
	}
	return exitDegraded
}
