// How things look: columns for people, JSON for machines. This file owns the
// forms of times, sizes and foreign strings.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// columns aligns cells separated by tabs.
func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// printJSON prints all that a command has to say.
func printJSON(w io.Writer, v any) error {
	text, err := marshal(v)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(w)
	return err
}

// printJSONLine prints one object of several, or of what may be several, on a line.
func printJSONLine(w io.Writer, v any) error {
	text, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// clean makes a foreign string safe for a terminal, as the log has it. What the daemon
// answers has been made so by the link.
func clean(s string) string { return imsg.Printable(s, len(s)) }

// cleanLines is clean for a text of several lines.
func cleanLines(lines [][]byte) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(clean(string(line)))
	}
	return b.String()
}

// or gives an empty cell a mark of its own.
func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func endpoint(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// moment returns the time of Unix nanoseconds, the zero time for 0.
func moment(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

func stamp(t time.Time) string { return t.Format(time.DateTime) }

// span words a duration by its two largest units.
func span(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 0:
		return "0s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}

// octets words a size in powers of 1024.
func octets(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < 3 {
		size /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGT"[unit])
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
