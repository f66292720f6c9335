package spawn

import (
	"testing"
	"time"
)

func TestBrake(t *testing.T) {
	var b Brake
	for _, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		if got := b.Pause(); got != want {
			t.Errorf("%d early deaths: a pause of %v, want %v", b, got, want)
		}
		b = b.After(settled)
	}
	if got := Brake(1000).Pause(); got != longPause {
		t.Errorf("the longest pause is %v", got)
	}
	if b = b.After(settled + 1); b != 0 {
		t.Errorf("after one that has lived long the brake is %d", b)
	}
}
