// How top looks: lines made of a snapshot and a size, and of nothing else. Each character
// that is drawn is printable ASCII, and takes one column.

package main

import (
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// The least size that top draws in.
const (
	topWidth  = 80
	topHeight = 24
)

// ink is how a line is drawn.
type topInk uint8

const (
	plainInk topInk = iota
	boldInk
	reverseInk
)

// topLine is one line of the screen.
type topLine struct {
	text string
	ink  topInk
}

// Lines that there always are: five of the whole and the titles above the sessions, the
// question and the keys below.
const (
	topAbove = 6
	topBelow = 2
)

// mostFindings is how many findings are shown at most, in a window of this height.
func mostFindings(height int) int { return max(2, (height-topHeight)/4+2) }

// findingLines is how many lines findings take: one says that there are more.
func findingLines(s *snapshot, height int) int {
	if s == nil {
		return 0
	}
	return min(len(s.Findings), mostFindings(height))
}

// pageOf is how many sessions are shown at once.
func pageOf(s *snapshot, width, height int) int {
	if width < topWidth || height < topHeight {
		return 0
	}
	return height - topAbove - topBelow - findingLines(s, height)
}

// drawTop draws. waits is why what is shown may be old, empty if it is not: a few words, and
// in the prompt all there is to say.
func drawTop(s *snapshot, st *topState, waits topWait, width, height int) []topLine {
	if width < topWidth || height < topHeight {
		return drawSmall(width, height)
	}
	lines := make([]topLine, 0, height)
	add := func(ink topInk, text string) { lines = append(lines, topLine{fit(text, width), ink}) }
	add(boldInk, headline(s, waits.word, width))
	if s == nil {
		s = new(snapshot)
	}
	add(plainInk, fmt.Sprintf("sessions    %d of %d live, %s, load %.2f", s.Sessions, s.Limit, plural(s.Locks, "lock"), s.Load))
	add(plainInk, fmt.Sprintf("a second    %s sessions, %s messages, %s", few(s.perSecond.sessions), few(s.perSecond.messages), octets(int64(s.perSecond.octets))))
	add(plainInk, verdictsOf(s))
	add(plainInk, roomsOf(s))
	shown := findingLines(s, height)
	for i := range shown {
		text := s.Findings[i].line(s.Now)
		if i == shown-1 && s.found > shown {
			text = fmt.Sprintf("and %s: see status", plural(s.found-shown+1, "finding"))
		}
		add(boldInk, "! "+text)
	}
	rows := st.rows(s)
	if st.mode == helping {
		add(reverseInk, pad(" HELP", width))
		for _, text := range topHelp {
			add(plainInk, text)
		}
	} else {
		cols := columnsFor(width)
		add(reverseInk, pad(cols.titles(), width))
		for i := st.first; i < len(rows) && i < st.first+pageOf(s, width, height); i++ {
			ink := plainInk
			if rows[i].Number == st.selected {
				ink = reverseInk
			}
			add(ink, pad(cols.row(s, &rows[i], ink == reverseInk), width))
		}
		if len(rows) == 0 {
			add(plainInk, " no live sessions"+map[bool]string{true: " like that"}[len(s.sessions) > 0])
		}
	}
	for len(lines) < height-topBelow {
		add(plainInk, "")
	}
	lines = lines[:height-topBelow]
	add(boldInk, st.prompt(s, len(rows), waits.text))
	add(reverseInk, pad(st.keys(), width))
	return lines
}

// topWait is why what is shown may be old.
type topWait struct{ word, text string }

// drawSmall says that there is too little room.
func drawSmall(width, height int) (lines []topLine) {
	for _, text := range []string{
		fmt.Sprintf("top needs %d by %d,", topWidth, topHeight), fmt.Sprintf("here are %d by %d", width, height), "q quits",
	} {
		if len(lines) < height {
			lines = append(lines, topLine{fit(text, width), plainInk})
		}
	}
	return lines
}

// headline says how things are, and when that was.
func headline(s *snapshot, waits string, width int) string {
	left, right := "smtp-gated   "+waits, ""
	if s != nil {
		left = "smtp-gated " + s.Version + "   " + or(waits, s.Verdict)
		right = "up " + span(s.Now.Sub(s.Started)) + "   " + s.Now.Format("15:04:05")
	}
	return pad(left, width-len(right)-2) + "  " + right
}

func verdictsOf(s *snapshot) string {
	refused := s.overQuota()
	for _, c := range imsg.CountersWith(func(r imsg.CounterRow) bool { return r.Group == imsg.CountedRefused }) {
		refused += s.Counters[c.String()]
	}
	count := func(c imsg.Counter) uint64 { return s.Counters[c.String()] }
	return fmt.Sprintf("verdicts    %d clean, %d virus, %d spam, %d unscanned, %d refused",
		count(imsg.CountClean), count(imsg.CountViruses), count(imsg.CountSpams), count(imsg.CountUncleared), refused)
}

// roomsOf counts the rooms, and tells of those that do not simply run.
func roomsOf(s *snapshot) string {
	var names []string
	all := make(map[string]int)
	other := make(map[string]map[string]int)
	for _, r := range s.Rooms {
		if all[r.Name]++; all[r.Name] == 1 {
			names, other[r.Name] = append(names, r.Name), make(map[string]int)
		}
		if r.State != imsg.Running.String() {
			other[r.Name][r.State]++
		}
	}
	var words []string
	for _, n := range names {
		word := n
		if all[n] > 1 {
			word = fmt.Sprintf("%d %s", all[n], n)
		}
		for _, state := range []imsg.MemberState{imsg.Starting, imsg.Draining} {
			if k := other[n][state.String()]; k > 0 {
				word += fmt.Sprintf(" (%d %s)", k, state)
			}
		}
		words = append(words, word)
	}
	crashes := ""
	if s.Crashes > 0 {
		crashes = fmt.Sprintf("; %d ended unasked", s.Crashes)
	}
	return "rooms       " + strings.Join(words, ", ") + crashes
}

// topColumns are the widths of those columns that have more room in a wider window.
type topColumns struct{ client, server, name int }

// The least and the most that an endpoint takes: that of IPv4, and of IPv6.
const (
	leastEndpoint = 21
	mostEndpoint  = 47
	fixedColumns  = 41 // all others, and the blanks between
)

func columnsFor(width int) topColumns {
	c := topColumns{client: leastEndpoint, server: leastEndpoint - 3}
	more := width - fixedColumns - c.client - c.server
	give := func(to *int, most int) {
		n := max(min(more, most-*to), 0)
		*to, more = *to+n, more-n
	}
	give(&c.server, leastEndpoint)
	if more > 9 {
		give(&c.name, 17) // the blank before it, too
	}
	give(&c.client, mostEndpoint)
	give(&c.server, mostEndpoint)
	return c
}

func (c topColumns) line(number, state, time, client, server, mails, octets, name string) string {
	text := right(number, 9) + " " + pad(state, 7) + " " + right(time, 6) + " " + pad(client, c.client) + " " + pad(server, c.server) +
		" " + right(mails, 5) + " " + right(octets, 8)
	if c.name > 1 {
		text += " " + pad(name, c.name-1)
	}
	return text
}

func (c topColumns) titles() string {
	return c.line("NUMBER", "STATE", "TIME", "CLIENT", "SERVER", "MAILS", "OCTETS", "NAME")
}

func (c topColumns) row(s *snapshot, one *session, selected bool) string {
	text := c.line(fmt.Sprint(one.Number), one.State, span(s.Now.Sub(one.Started)), one.Client, or(one.Target, "-"),
		fmt.Sprint(one.Transactions), tersely(one.ClientBytes+one.ServerBytes), or(one.who(), "-"))
	if selected {
		text = ">" + text[1:]
	}
	return text
}

// prompt is the line above the keys.
func (st *topState) prompt(s *snapshot, rows int, waits string) string {
	switch {
	case st.mode == asking:
		return st.question()
	case st.mode == filtering:
		return "filter: " + st.filter + "_"
	case waits != "":
		return waits
	case st.message != "":
		return st.message
	}
	text := "by " + topSorts[st.sort].name
	if st.filter != "" {
		text += fmt.Sprintf("; with %q: %d of %d", st.filter, rows, len(s.sessions))
	}
	if s.silent > 0 {
		text += "; " + plural(s.silent, "worker") + " did not answer"
	}
	return text
}

// keys is the last line.
func (st *topState) keys() string {
	switch st.mode {
	case asking:
		return " y do it   n leave it"
	case filtering:
		return " Enter keep the filter   Esc leave the one before   ^U clear"
	case helping:
		return " any key: back   q quit"
	}
	orders := "k end   l lock"
	if st.readOnly {
		orders = "read-only: no k, no l"
	}
	return " q quit   s sort   / filter   " + orders + "   ? help"
}

// topHelp explains the keys.
var topHelp = []string{
	"",
	"  Up, Down, PgUp, PgDn, Home, End   select a session",
	"  s          sort by the next of: time, client, octets, mails",
	"  t c o m    sort by time, oldest first; client; octets, mails, the most first",
	"  /          show only sessions in whose line a text is; Esc: all again",
	"  k          end the session, after a y; its message is not released",
	"  l          lock its client out, after a y",
	"  ^L         draw the screen anew",
	"  q, ^C      quit; ^Z has the shell take over",
	"",
	"  Rates are of the last 10 seconds, verdicts of all time since the start.",
}

// fit makes a text safe for one line of so many columns. What it cuts shows.
func fit(text string, width int) string {
	text = clean(text)
	if len(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return text[:width-1] + "~"
}

func pad(text string, width int) string {
	text = fit(text, width)
	return text + strings.Repeat(" ", width-len(text))
}

func right(text string, width int) string {
	text = fit(text, width)
	return strings.Repeat(" ", width-len(text)) + text
}

// few words a number that may be small.
func few(n float64) string {
	if n < 100 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// tersely is octets in a narrow column.
func tersely(n int64) string { return strings.NewReplacer(" ", "", "iB", "").Replace(octets(n)) }
