package keys

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestTickets: what one key has sealed it opens, as long as it is kept, and no other; a
// ticket that was changed opens nothing.
func TestTickets(t *testing.T) {
	a, b := freshKey(), freshKey()
	ticket := newTickets([]imsg.TicketKey{a}).seal("state")
	for name, tc := range map[string]struct {
		keys []imsg.TicketKey
		want string
	}{
		"the same":   {[]imsg.TicketKey{a}, "state"},
		"kept":       {[]imsg.TicketKey{b, a}, "state"},
		"gone":       {[]imsg.TicketKey{b}, ""},
		"none":       {nil, ""},
		"its name":   {[]imsg.TicketKey{{ID: a.ID, Secret: b.Secret}}, ""},
		"no key":     {[]imsg.TicketKey{{ID: a.ID, Secret: "short"}}, ""},
		"name wrong": {[]imsg.TicketKey{{ID: a.ID[:4], Secret: a.Secret}}, ""},
	} {
		if got := newTickets(tc.keys).open(ticket); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	all := newTickets([]imsg.TicketKey{a})
	for i := range ticket {
		changed := ticket[:i] + string(ticket[i]^1) + ticket[i+1:]
		if all.open(changed) != "" || all.open(ticket[:i]) != "" {
			t.Fatalf("octet %d may be another, or the last", i)
		}
	}
	if all.seal("state") == ticket {
		t.Error("two tickets are the same")
	}
	longest := strings.Repeat("x", imsg.MaxTicketState)
	if sealed := all.seal(longest); len(sealed) > imsg.MaxTicket || all.open(sealed) != longest {
		t.Errorf("the longest state makes a ticket of %d octets", len(sealed))
	}
}

// FuzzTickets: octets that no key has sealed open nothing.
func FuzzTickets(f *testing.F) {
	key := imsg.TicketKey{ID: "01234567", Secret: strings.Repeat("s", imsg.TicketSecretLen)}
	all := newTickets([]imsg.TicketKey{key})
	f.Add("")
	f.Add("01234567")
	f.Add("01234567" + strings.Repeat("\x00", 28))
	f.Fuzz(func(t *testing.T, octets string) {
		if state := all.open(octets); state != "" {
			t.Errorf("they open %q", state)
		}
	})
}
