package parent

import (
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestTicketKeys: each hour there is a new key, and the two before it are kept; who is
// told of them once does not see them change.
func TestTicketKeys(t *testing.T) {
	var all tickets
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	first := all.current(noon).Keys
	if len(first) != 1 || len(first[0].ID) != imsg.TicketIDLen || len(first[0].Secret) != imsg.TicketSecretLen {
		t.Fatalf("%d keys", len(first))
	}
	if again := all.current(noon.Add(ticketLife - time.Second)).Keys; len(again) != 1 || again[0] != first[0] {
		t.Error("a key is given up too early")
	}
	second := all.current(noon.Add(ticketLife)).Keys
	if len(second) != 2 || second[1] != first[0] || second[0] == first[0] || len(first) != 1 {
		t.Error("the key before the newest is not kept")
	}
	for hour := range 5 {
		all.current(noon.Add(time.Duration(hour+2) * ticketLife))
	}
	last := all.current(noon.Add(6 * ticketLife)).Keys
	if len(last) != maxTicketKeys || last[1] == last[0] || last[2] == last[1] || last[2] == second[0] {
		t.Errorf("%d keys are kept", len(last))
	}
}
