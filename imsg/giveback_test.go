package imsg

import "testing"

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
