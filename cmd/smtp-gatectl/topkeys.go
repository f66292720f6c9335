// The keys of top. This file owns what a key is and what it does, as a machine that knows
// neither a terminal nor a daemon.

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// key is one key: a character, or one of those below.
type key rune

// Keys that are no characters.
const (
	keyUp key = -1 - iota
	keyDown
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keyEscape
	keyOther
)

const (
	ctrlC     key = 'C' & 0x1f
	ctrlL     key = 'L' & 0x1f
	ctrlU     key = 'U' & 0x1f
	ctrlZ     key = 'Z' & 0x1f
	backspace key = 0x7f
)

// sequences are what terminals send for keys behind ESC [ or ESC O.
var sequences = map[string]key{
	"A": keyUp, "B": keyDown, "H": keyHome, "F": keyEnd, "5~": keyPageUp, "6~": keyPageDown,
	"1~": keyHome, "7~": keyHome, "4~": keyEnd, "8~": keyEnd,
}

// keyDecoder makes keys of what a terminal sends.
type keyDecoder struct{ rest []byte }

const escape = 0x1b

// feed returns the keys that are complete.
func (d *keyDecoder) feed(octets []byte) (keys []key) {
	d.rest = append(d.rest, octets...)
	for len(d.rest) > 0 {
		k, n := oneKey(d.rest)
		if n == 0 {
			break
		}
		keys, d.rest = append(keys, k), d.rest[n:]
	}
	return keys
}

// pending tells whether there is the beginning of a key.
func (d *keyDecoder) pending() bool { return len(d.rest) > 0 }

// flush returns what has begun, and does not go on.
func (d *keyDecoder) flush() (keys []key) {
	if len(d.rest) > 0 {
		k := keyOther
		if len(d.rest) == 1 && d.rest[0] == escape {
			k = keyEscape
		}
		keys, d.rest = []key{k}, nil
	}
	return keys
}

// longestSequence is how long one that a terminal sends may be.
const longestSequence = 32

// oneKey reads the first key. n is 0 if more of it is needed.
func oneKey(b []byte) (k key, n int) {
	switch {
	case b[0] != escape:
		if !utf8.FullRune(b) {
			return 0, 0
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError {
			return keyOther, n
		}
		return key(r), n
	case len(b) == 1:
		return 0, 0
	case b[1] != '[' && b[1] != 'O':
		return keyEscape, 1
	}
	end := bytes.IndexFunc(b[2:], func(r rune) bool { return r < 0x20 || r > 0x3f })
	switch {
	case end < 0 && len(b) > longestSequence:
		return keyOther, len(b)
	case end < 0:
		return 0, 0
	}
	if k, known := sequences[string(b[2:2+end+1])]; known {
		return k, 2 + end + 1
	}
	return keyOther, 2 + end + 1
}

// topAction is what a key wants done that the machine cannot do itself.
type topAction uint8

const (
	doNothing topAction = iota
	doQuit
	doStop   // as ^Z does
	doRedraw // all of the screen
	doKill   // target
	doLock   // target's client
)

// topSort is an order of the sessions.
type topSort struct {
	key     key
	name    string
	compare func(a, b *session) int
}

// topSorts are the orders; the first is that of the beginning.
var topSorts = []topSort{
	{'t', "time", func(a, b *session) int { return a.Started.Compare(b.Started) }},
	{'c', "client", func(a, b *session) int {
		x, _ := netip.ParseAddrPort(a.Client)
		y, _ := netip.ParseAddrPort(b.Client)
		return x.Compare(y)
	}},
	{'o', "octets", func(a, b *session) int {
		return cmp.Compare(b.ClientBytes+b.ServerBytes, a.ClientBytes+a.ServerBytes)
	}},
	{'m', "mails", func(a, b *session) int { return cmp.Compare(b.Transactions, a.Transactions) }},
}

// topMode is what keys are for.
type topMode uint8

const (
	browsing  topMode = iota
	filtering         // a filter is typed
	asking            // y or n
	helping
)

// topState is all that keys change.
type topState struct {
	mode     topMode
	sort     int // in topSorts
	filter   string
	before   string // the filter, when another began to be typed
	readOnly bool
	selected uint64 // the number of a session
	chosen   bool   // by a key; else it is the first one, whichever that is
	at       int    // its place among the rows
	first    int    // the row that is shown first
	ask      topAction
	target   session // of what is asked
	message  string
}

// rows are the sessions that are shown, in their order.
func (st *topState) rows(s *snapshot) (rows []session) {
	if s == nil {
		return nil
	}
	wanted := strings.ToLower(st.filter)
	for i := range s.sessions {
		one := &s.sessions[i]
		text := fmt.Sprintf("%d %s %s %s %s %s", one.Number, one.State, one.Client, one.Target, one.Ident, one.Login)
		if strings.Contains(strings.ToLower(text), wanted) {
			rows = append(rows, *one)
		}
	}
	slices.SortFunc(rows, func(a, b session) int {
		return cmp.Or(topSorts[st.sort].compare(&a, &b), cmp.Compare(a.Number, b.Number))
	})
	return rows
}

// settle keeps the chosen row, or the one in its place, among those of the page.
func (st *topState) settle(rows []session, page int) {
	if !st.chosen {
		st.at = 0
	} else if i := slices.IndexFunc(rows, func(s session) bool { return s.Number == st.selected }); i >= 0 {
		st.at = i
	}
	st.at = max(min(st.at, len(rows)-1), 0)
	st.selected = 0
	if len(rows) > 0 {
		st.selected = rows[st.at].Number
	}
	page = max(page, 1)
	st.first = max(min(st.first, st.at, len(rows)-page), st.at-page+1, 0)
}

// press has a key act. rows are those that are shown, page is how many at once.
func (st *topState) press(k key, rows []session, page int) topAction {
	switch k {
	case ctrlC:
		return doQuit
	case ctrlZ:
		return doStop
	case ctrlL:
		return doRedraw
	}
	switch st.mode {
	case filtering:
		st.edit(k)
	case asking:
		st.mode, st.message = browsing, "left as it is"
		if k == 'y' || k == 'Y' {
			st.message = ""
			return st.ask
		}
	case helping:
		if st.mode = browsing; k == 'q' {
			return doQuit
		}
	default:
		return st.browse(k, rows, page)
	}
	st.settle(rows, page)
	return doNothing
}

// edit is press while a filter is typed. It holds what a session's line can: no more than
// printable ASCII.
func (st *topState) edit(k key) {
	st.chosen = false
	switch {
	case k == '\r' || k == '\n':
		st.mode = browsing
	case k == keyEscape:
		st.mode, st.filter = browsing, st.before
	case k == ctrlU:
		st.filter = ""
	case (k == backspace || k == '\b') && st.filter != "":
		st.filter = st.filter[:len(st.filter)-1]
	case k >= ' ' && k < backspace && len(st.filter) < maxFilter:
		st.filter += string(rune(k))
	}
}

// maxFilter is how long a filter may be, in octets.
const maxFilter = 40

// browse is press while nothing is asked.
func (st *topState) browse(k key, rows []session, page int) topAction {
	st.message = ""
	st.settle(rows, page)
	move := 0
	switch k {
	case 'q':
		return doQuit
	case '?', 'h':
		st.mode = helping
	case '/':
		st.mode, st.before = filtering, st.filter
	case keyEscape:
		st.filter, st.chosen = "", false
	case 's':
		st.sort, st.chosen = (st.sort+1)%len(topSorts), false
	case 'k', 'l':
		st.begin(k, rows)
	case keyUp:
		move = -1
	case keyDown:
		move = 1
	case keyPageUp:
		move = -max(page, 1)
	case keyPageDown, ' ':
		move = max(page, 1)
	case keyHome:
		st.chosen = false
	case keyEnd:
		move = len(rows)
	default:
		if i := slices.IndexFunc(topSorts, func(s topSort) bool { return s.key == k }); i >= 0 {
			st.sort, st.chosen = i, false
		}
	}
	if move != 0 && len(rows) > 0 {
		st.at = max(min(st.at+move, len(rows)-1), 0)
		st.selected, st.chosen = rows[st.at].Number, true
		st.settle(rows, page)
	}
	return doNothing
}

// begin asks whether what k stands for is to be done to the selected session.
func (st *topState) begin(k key, rows []session) {
	switch {
	case st.readOnly:
		st.message = "this top only looks: k and l are off"
	case len(rows) == 0:
		st.message = "there is no session"
	default:
		st.mode, st.ask, st.target = asking, doKill, rows[st.at]
		if k == 'l' {
			st.ask = doLock
		}
	}
}

// question is what is asked.
func (st *topState) question() string {
	if st.ask == doLock {
		return fmt.Sprintf("lock %s out? y or n", clientOf(&st.target))
	}
	return fmt.Sprintf("end session %d of %s? y or n", st.target.Number, st.target.Client)
}
