package main

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// alive is a lockd with a client that is locked, one that is counted, one that is
// connected, and a network that is exempt.
func alive(t *testing.T) string {
	return lockdAt(t, func(r link.Request) {
		switch r.Message.(type) {
		case *imsg.Locks:
			family.Answer(r, &imsg.LockList{Locks: []imsg.LockEntry{{Name: "192.0.2.1-bob"}, {Name: "192.0.2.4", Saint: true}}})
		case *imsg.Rates:
			family.Answer(r, &imsg.RateList{Records: []imsg.RateEntry{rateEntry("2001:db8::-joe", 64)}})
		case *imsg.Sessions:
			family.Answer(r, &imsg.SessionList{Sessions: []imsg.LiveSession{{
				Number: 7, Started: 1700000000 * int64(time.Second), Client: netip.MustParseAddrPort("192.0.2.3:4444"), Target: netip.MustParseAddrPort("198.51.100.1:25"), Ident: "ann",
			}}})
		case *imsg.Exemptions:
			family.Answer(r, &imsg.ExemptionList{Exemptions: []imsg.Exemption{{Who: "192.0.2.0/24", From: 1}}})
		default:
			r.Fail(imsg.Invalid)
		}
	})
}

func completed(socket string, words ...string) []string {
	_, out, _ := gatectl(append([]string{"__complete", "--socket", socket}, words...)...)
	return strings.Split(strings.TrimSpace(out), "\n")
}

func TestCompletion(t *testing.T) {
	socket := alive(t)
	for words, want := range map[string]string{
		"lock add ":                       "192.0.2.3-ann 2001:db8::/64-joe :4",
		"lock add 192.0.2.3-ann ":         "2001:db8::/64-joe :4",
		"lock remove ":                    "192.0.2.1-bob :4",
		"lock remove 192.0.2.1-bob ":      ":4",
		"rate show ":                      "2001:db8::/64-joe :4",
		"rate reset ":                     "2001:db8::/64-joe :4",
		"rate set ":                       "2001:db8::/64-joe :4",
		"exempt add ":                     "192.0.2.3 :4",
		"exempt remove ":                  "192.0.2.0/24 :4",
		"exempt remove 192.0.2.0/24 ":     ":4",
		"explain ":                        "192.0.2.1 192.0.2.3 1700000000.7 :4",
		"explain x ":                      ":4",
		"history forget ":                 "192.0.2.1 192.0.2.3 :4",
		"events --client ":                "192.0.2.3 192.0.2.1 :4",
		"sessions --server ":              "198.51.100.1 :4",
		"sessions --ident ":               "ann :4",
		"events ":                         ":4",
		"status ":                         ":4",
		"rules pf --system ":              "openbsd freebsd :4",
		"rules nft --ports ":              ":4",
		"loglevel ":                       "err warning notice info debug :4",
		"rate set 192.0.2.1 messages=1 b": "connections=",
	} {
		got := strings.Join(completed(socket, strings.Split(words, " ")...), " ")
		if want == "connections=" {
			if strings.Contains(got, "messages=") || strings.Contains(got, "joe") {
				t.Errorf("%q: %s", words, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %s, want %s", words, got, want)
		}
	}
	// Without a daemon there are none, and no complaint.
	if got := completed(socket+"x", "lock", "remove", ""); len(got) != 1 || got[0] != ":4" {
		t.Errorf("%q", got)
	}
}

// TestCompletionOfAll: whatever command takes a client, a session or a lock has those that
// are there offered.
func TestCompletionOfAll(t *testing.T) {
	socket := alive(t)
	takes := regexp.MustCompile(`\b(CLIENT|SESSION|ID|ADDRESS|LOCK|NUMBER|WHO)\b`)
	found := 0
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			look(sub)
		}
		if c.HasSubCommands() || !takes.MatchString(c.Use) {
			return
		}
		found++
		words := append(strings.Fields(c.CommandPath())[1:], "")
		if got := completed(socket, words...); len(got) < 2 {
			t.Errorf("%s offers nothing that is there", c.CommandPath())
		}
	}
	look(new(tool).command())
	if found < 9 {
		t.Errorf("only %d commands take one", found)
	}
}

// TestCompletionOfSilent: a daemon that does not answer keeps nobody's prompt.
func TestCompletionOfSilent(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		if _, asked := r.Message.(*imsg.Sessions); asked {
			family.Answer(r, &imsg.SessionList{Sessions: []imsg.LiveSession{{Number: 7, Client: netip.MustParseAddrPort("192.0.2.3:4444")}}})
		}
	})
	if got := completed(socket, "events", "--client", ""); len(got) != 2 || got[0] != "192.0.2.3" {
		t.Errorf("%q", got)
	}
}
