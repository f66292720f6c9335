package main

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// hostile is a text that would do something to a terminal, and is as wild as a rule lets
// it be.
const hostile = "a\x1b[2J\r\x9b31m\u202e\x00\tb"

// TestLyingDaemon: whatever a lockd that has been taken over says, the operator's
// terminal hears printable text.
func TestLyingDaemon(t *testing.T) {
	many := []uint64{math.MaxUint64, 1, 2, 3, 4, 5, 6}
	entry := imsg.RateEntry{Client: hostile, Cleared: math.MinInt64, Expires: math.MaxInt64, Generation: 1, Quotas: many, Used: many, Tries: many}
	socket := lockdAt(t, func(r link.Request) {
		switch r.Message.(type) {
		case *imsg.Status:
			family.Answer(r, &imsg.StatusReport{
				Now: math.MaxInt64, Family: imsg.Family{Version: hostile, Config: hostile},
				Counters: []uint64{imsg.CountServerBytes: math.MaxUint64},
			})
		case *imsg.Sessions:
			family.Answer(r, &imsg.SessionList{Sessions: []imsg.LiveSession{{
				Number: math.MaxUint64, Started: math.MaxInt64, ClientBytes: math.MaxInt64, Client: netip.MustParseAddrPort("[fe80::1%}~]:1"),
			}}})
		case *imsg.Locks:
			family.Answer(r, &imsg.LockList{Locks: []imsg.LockEntry{{Name: "x", Created: math.MinInt64, Expires: math.MaxInt64}}})
		case *imsg.Rates:
			family.Answer(r, &imsg.RateList{Period: 1, Records: []imsg.RateEntry{entry}})
		case *imsg.RateShow:
			family.Answer(r, &imsg.RateRecord{Entry: entry, Targets: []imsg.RateTarget{{Last: math.MinInt64}}})
		case *imsg.Unlock, *imsg.ReloadNow:
			family.Answer(r, &imsg.Done{Errno: imsg.Denied, Detail: hostile + "\n" + hostile})
		default:
			family.Answer(r, &imsg.Done{Detail: hostile})
		}
	})
	for _, command := range []string{
		"status", "sessions", "lock list", "lock export pf --json", "rate list", "rate show 192.0.2.7", "lock add 192.0.2.7", "lock remove 192.0.2.7",
		"rate set 192.0.2.7 messages=1", "rate reset 192.0.2.7", "reload", "stop", "kill 7",
	} {
		for _, form := range [][]string{{"--socket", socket}, {"--json", "--socket", socket}} {
			_, out, errs := gatectl(append(form, strings.Fields(command)...)...)
			if out+errs == "" {
				t.Errorf("%s %s: nothing", command, form[0])
			}
			for line := range strings.SplitSeq(out+errs, "\n") {
				if line != clean(line) {
					t.Errorf("%s %s: %q", command, form[0], line)
				}
			}
		}
	}
	d := &topDaemon{tool: &tool{socket: socket}}
	defer d.close()
	var rates topRates
	for range 3 {
		s, err := d.look()
		if err != nil {
			t.Fatal(err)
		}
		rates.add(s)
		var st topState
		st.settle(st.rows(s), pageOf(s, topWidth, topHeight))
		checkScreen(t, "of a liar", drawTop(s, &st, topWait{}, topWidth, topHeight), topWidth, topHeight)
	}
}

// TestEndlessLists: a lockd that says that there are more for ever is not asked for ever.
func TestEndlessLists(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		switch m := r.Message.(type) {
		case *imsg.Sessions:
			family.Answer(r, &imsg.SessionList{Sessions: []imsg.LiveSession{{Number: m.After + 1}}, More: true})
		case *imsg.Locks:
			family.Answer(r, &imsg.LockList{Locks: []imsg.LockEntry{{Name: m.After + "x"}}, More: true})
		case *imsg.Rates:
			family.Answer(r, &imsg.RateList{Records: []imsg.RateEntry{{Client: m.After + "x"}}, More: true})
		}
	})
	c, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.longest = 5
	_, _, sessions := c.sessions()
	_, locks := c.allLocks()
	_, _, rates := c.rates()
	for _, err := range []error{sessions, locks, rates} {
		if !errors.Is(err, errEndless) {
			t.Errorf("%v", err)
		}
	}
}
