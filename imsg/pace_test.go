package imsg

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	m := Meter{Pace: Pace{Burst: 3, Every: time.Second}}
	start := time.Now()
	for i, c := range []struct {
		n    int
		at   time.Duration
		want bool
	}{
		{1, 0, true},
		{2, 0, true},
		{1, 0, false},
		{1, 999 * time.Millisecond, false},
		{1, time.Second, true},
		{1, time.Second, false},
		{4, time.Hour, false}, // more than there ever is
		{3, time.Hour, true},
		{1, time.Hour, false},
	} {
		if got := m.Take(c.n, start.Add(c.at)); got != c.want {
			t.Errorf("%d: %d at %v: %t", i, c.n, c.at, got)
		}
	}
}
