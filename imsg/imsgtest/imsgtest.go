// Package imsgtest is the test house: how tests wait, and how they find a port.
// Nothing but tests imports it.
package imsgtest

import (
	"fmt"
	"iter"
	"testing"
	"time"
)

// Patience bounds each wait for what must happen. It says nothing about speed: a
// test that passes never waits so long, also where ten programs share a processor.
const Patience = 2 * time.Minute

// Deadline is the point in time at which patience ends, for connections.
func Deadline() time.Time { return time.Now().Add(Patience) }

// Eventually waits until something holds that has no other sign than being asked
// for, and returns an error with the complaint if it never does.
func Eventually(complaint string, is func() bool) error {
	pause := time.Millisecond
	for end := Deadline(); !is(); time.Sleep(pause) {
		if time.Now().After(end) {
			return fmt.Errorf("%s, for %v", complaint, Patience)
		}
		pause = min(2*pause, 20*time.Millisecond)
	}
	return nil
}

// Until is Eventually for what the test cannot go on without.
func Until(t testing.TB, what string, is func() bool) {
	t.Helper()
	if err := Eventually("in vain until "+what, is); err != nil {
		t.Fatal("waited ", err)
	}
}

// Receive waits for a value.
func Receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(Patience):
		t.Fatalf("waited in vain for %s, for %v", what, Patience)
	}
	return v
}

// Limits are time limits for a test of what ends when its time is over, where
// something else must have happened before: how long that takes is the machine's
// business. The test tries one after the other, each twice as long as the one
// before, until the limit was long enough.
func Limits(first time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for limit := first; limit <= Patience && yield(limit); limit *= 2 {
		}
	}
}
