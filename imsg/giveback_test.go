package imsg

import (
	"testing"
	"time"
)

// TestGivingBackIsNeverRefused: a lockd that is held up hears of everybody who left
// meanwhile, however many those are. Who it did not hear of it would count for ever.
func TestGivingBackIsNeverRefused(t *testing.T) {
	const leaving = 4 * maxQueue
	session, lockd := link(t, Session, Lockd)
	for number := range uint64(leaving) {
		if err := session.Send(&Leave{Number: number}); err != nil {
			t.Fatalf("leave %d: %v", number, err)
		}
	}
	heard := make(chan uint64, leaving)
	serve(lockd, func(r Request) { heard <- r.Message.(*Leave).Number })
	for number := range uint64(leaving) {
		if n := wait(t, heard); n != number {
			t.Fatalf("heard of %d, not of %d", n, number)
		}
	}
}

// TestReportPassesFullQueue: that a client was caught is not lost because much else
// waits to be said.
func TestReportPassesFullQueue(t *testing.T) {
	session, lockd := link(t, Session, Lockd)
	for session.Send(&Counts{Add: []uint64{1}}) == nil {
	}
	if _, err := session.Call(&Offence{Number: 7, Found: FoundVirus}, time.Millisecond); err != Timeout {
		t.Fatalf("reported: %v", err)
	}
	heard := make(chan uint64, 1)
	serve(lockd, func(r Request) {
		if m, ok := r.Message.(*Offence); ok {
			heard <- m.Number
		}
	})
	if n := wait(t, heard); n != 7 {
		t.Errorf("heard of %d", n)
	}
}
