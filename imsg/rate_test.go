package imsg

import "testing"

func TestRateNames(t *testing.T) {
	seen := make(map[string]bool)
	for r := range RateCounters {
		name := r.String()
		if again, ok := ParseRate(name); !ok || again != r || seen[name] || name == "" {
			t.Errorf("%d is called %q, which is %d", r, name, again)
		}
		seen[name] = true
	}
	if r, ok := ParseRate(RateCounters.String()); ok {
		t.Errorf("no counter's name is that of %d", r)
	}
	if s := RateSet(1 << RateBytes); !s.Has(RateBytes) || s.Has(RateMessages) {
		t.Errorf("%b", s)
	}
}
