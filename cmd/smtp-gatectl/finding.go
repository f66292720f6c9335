// What is wrong, at a glance: the first lines of status. This file owns their form, and
// what a monitor makes of the exit status.

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
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
}

func findingsOf(r *imsg.StatusReport) []finding {
	list := []finding{}
	for _, f := range r.Findings {
		if f.Finding == imsg.FindingUnscanned && f.Object == imsg.UnscannedTLS {
			f.Text = fmt.Sprintf("%.0f %% of all sessions", 100*tlsShare(r))
		}
		list = append(list, finding{
			ID: f.Finding.String(), Object: f.Object, Since: moment(f.Since), Last: moment(f.Last),
			Count: f.Count, Text: f.Text, Remedy: config.Speak(imsg.FindingTable[f.Finding].Remedy, r.Family.TOML),
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
	text += ": for " + span(now.Sub(f.Since)) + ", "
	if f.Count == 1 {
		text += "once"
	} else {
		text += fmt.Sprintf("%d times, last %s ago", f.Count, span(now.Sub(f.Last)))
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
