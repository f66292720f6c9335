package main

import (
	"testing"
	"time"
)

// TestLasting reads what a flag may say of how long something is to last.
func TestLasting(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "12h": 12 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "3650d": 3650 * day, "1s": time.Second,
		"": 0, "0": 0, "0d": 0, "d": 0, "-1h": 0, "1d-25h": 0, "1d-1h": 0, "3651d": 0, "3650d1s": 0, "99999999d": 0, "1w": 0, "1h1d": 0, "1.5d": 0,
		"9999999h": 0, "1ms": 0, "-1d": 0, "+1d": 0, "1d1d": 0,
	} {
		l := lasting{most: 3650 * day}
		if err := l.Set(text); l.Duration != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %v, %v", text, l.Duration, err)
		}
	}
}
