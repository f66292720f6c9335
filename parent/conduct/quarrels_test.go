package conduct

import (
	"slices"
	"testing"
	"time"
)

// hearing is a quarrel of two rooms, and who has to go.
type hearing struct {
	a, b, want *Record
}

func hear(t *testing.T, now time.Time, hearings ...hearing) {
	t.Helper()
	for i, h := range hearings {
		if got := Quarrel(h.a, h.b, now); got != h.want {
			t.Errorf("%d: %s and %s: %v, want %v", i, h.a.who, h.b.who, got, h.want)
		}
	}
}

// TestBothConvicted: one report ends one room, and an opponent is not counted twice.
func TestBothConvicted(t *testing.T) {
	liar, lookupd := New("scand 1", 2, false), New("lookupd 1", 3, false)
	a, b, c := New("session 1", 4, false), New("session 2", 4, false), New("session 3", 4, false)
	hear(t, time.Now(), []hearing{
		{liar, a, nil},
		{a, liar, nil},
		{lookupd, b, nil},
		{b, liar, b}, // both have their second
		{liar, c, liar},
	}...)
	if got, want := liar.Opponents(), []string{"session 1", "session 2", "session 3"}; !slices.Equal(got, want) {
		t.Errorf("the liar's opponents are %v, want %v", got, want)
	}
}

// TestLongAgo: a room that all others share, and that lives for months, is not ended for
// what those have said who are gone since long.
func TestLongAgo(t *testing.T) {
	lockd, now := New("lockd 1", 0, true), time.Now()
	workers := make([]*Record, 2*maxOpponentsShared)
	for i := range workers {
		workers[i] = New("session "+string(rune('a'+i)), 4, false)
		for n := range maxFreshLinks + 1 {
			var want *Record
			if n == maxFreshLinks {
				want = workers[i]
			}
			hear(t, now, hearing{lockd, workers[i], want})
		}
		now = now.Add(memory/(maxOpponentsShared-1) + time.Second)
	}
	now = now.Add(memory)
	for i, w := range workers {
		var want *Record
		if i == maxOpponentsShared-1 {
			want = lockd
		}
		if i < maxOpponentsShared {
			hear(t, now, hearing{w, lockd, want})
		}
	}
}
