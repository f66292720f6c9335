package link

import (
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestGivingBackIsNeverRefused: a lockd that is held up hears of everybody who left
// meanwhile, however many those are. Who it did not hear of it would count for ever.
func TestGivingBackIsNeverRefused(t *testing.T) {
	const leaving = 4 * maxQueue
	session, lockd := link(t, imsg.Session, imsg.Lockd)
	for number := range uint64(leaving) {
		if err := session.Send(&imsg.Leave{Number: number}); err != nil {
			t.Fatalf("leave %d: %v", number, err)
		}
	}
	heard := make(chan uint64, leaving)
	serve(lockd, func(r Request) { heard <- r.Message.(*imsg.Leave).Number })
	for number := range uint64(leaving) {
		if n := wait(t, heard); n != number {
			t.Fatalf("heard of %d, not of %d", n, number)
		}
	}
}

// TestReportPassesFullQueue: that a client was caught is not lost because much else
// waits to be said.
func TestReportPassesFullQueue(t *testing.T) {
	session, lockd := link(t, imsg.Session, imsg.Lockd)
	for session.Send(&imsg.Counts{Add: []uint64{1}}) == nil {
	}
	if _, err := Ask(session, &imsg.Offence{Number: 7, Transaction: 1, Found: imsg.FoundVirus}, time.Millisecond); err != imsg.Timeout {
		t.Fatalf("reported: %v", err)
	}
	heard := make(chan uint64, 1)
	serve(lockd, func(r Request) {
		if m, ok := r.Message.(*imsg.Offence); ok {
			heard <- m.Number
		}
	})
	if n := wait(t, heard); n != 7 {
		t.Errorf("heard of %d", n)
	}
}
