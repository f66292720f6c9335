//go:build linux

// What makes a curve flat. This file owns the rules, and how a curve is drawn.

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rule tells what is wrong with a curve, whose first quarter is warm-up. What is unknown of
// it is not judged.
type rule func(curve []int) error

// flat curves do not rise by more than a part and a constant: neither from the second
// quarter to the last, in both of which what is sampled is young, for all is replaced again
// and again; nor from the begin of the third quarter to its end, while it grows old.
func flat(percent, constant int) rule {
	return func(curve []int) error {
		n := len(curve) / 4
		for _, c := range []struct {
			when          string
			before, after []int
		}{
			{"over many lives", curve[n : 2*n], curve[3*n:]},
			{"in one life", curve[2*n : 2*n+n/2], curve[3*n-n/2 : 3*n]},
		} {
			before, after := median(c.before), median(c.after)
			if before == unknown || after == unknown {
				continue
			}
			if most := before + before*percent/100 + constant; after > most {
				return fmt.Errorf("rises %s from %d to %d, more than to %d", c.when, before, after, most)
			}
		}
		return nil
	}
}

// back is for curves that always come back to where they were first after warm-up, but for
// a constant.
func back(constant int) rule {
	return func(curve []int) error {
		first := unknown
		for _, n := range curve[len(curve)/4:] {
			if first == unknown {
				first = n
			}
			if n > first+constant {
				return fmt.Errorf("does not come back to %d: %d", first, n)
			}
		}
		return nil
	}
}

// median returns that of what is known, or unknown.
func median(all []int) int {
	all = known(all)
	if len(all) == 0 {
		return unknown
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func known(all []int) []int {
	return slices.DeleteFunc(slices.Clone(all), func(n int) bool { return n == unknown })
}

// extremes are the least and the largest of what is known.
func extremes(all []int) (low, high int) {
	all = known(all)
	if len(all) == 0 {
		return unknown, unknown
	}
	return slices.Min(all), slices.Max(all)
}

// sparkline draws a curve from its least to its largest.
func sparkline(curve []int) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	low, high := extremes(curve)
	var line strings.Builder
	for _, n := range curve {
		if n == unknown {
			line.WriteByte(' ')
			continue
		}
		line.WriteRune(blocks[(n-low)*(len(blocks)-1)/max(1, high-low)])
	}
	return line.String()
}

// TestCurves: what grows without an end is not flat, and what only wavers is.
func TestCurves(t *testing.T) {
	curve := func(f func(n int) int) []int {
		all := make([]int, soakPeriods)
		for i := range all {
			all[i] = f(i)
		}
		return all
	}
	for name, c := range map[string]struct {
		curve  []int
		rule   rule
		says   string
		draws  string
		median int
	}{
		"constant":          {curve(func(int) int { return 7 }), back(0), "", strings.Repeat("▁", 20), 7},
		"warm-up":           {curve(func(n int) int { return 100 * min(n, 5) }), flat(0, 0), "", "▁▂▃▅▆" + strings.Repeat("█", 15), 500},
		"comes to stay":     {curve(func(n int) int { return n / 8 }), back(1), "does not come back to 0: 2", strings.Repeat("▁", 8) + strings.Repeat("▄", 8) + strings.Repeat("█", 4), 1},
		"wavers":            {curve(func(n int) int { return 1000 + n%2*400 }), flat(25, 200), "", strings.Repeat("▁█", 10), 1400},
		"rises":             {curve(func(n int) int { return 1000 + 100*n }), flat(25, 200), "rises over many lives from 1700 to 2700, more than to 2325", "▁▁▁▂▂▂▃▃▃▄▄▅▅▅▆▆▆▇▇█", 2000},
		"rises in one life": {curve(func(n int) int { return 1000 + max(0, n%15-9)*200 }), flat(25, 200), "rises in one life from 1400 to 2000, more than to 1950", strings.Repeat("▁", 10) + "▂▃▅▆█▁▁▁▁▁", 1000},
		"unknown":           {curve(func(int) int { return unknown }), flat(0, 0), "", strings.Repeat(" ", 20), unknown},
		"known late":        {curve(func(n int) int { return max(unknown, n-20) }), back(0), "", strings.Repeat(" ", 20), unknown},
	} {
		said := ""
		if err := c.rule(c.curve); err != nil {
			said = err.Error()
		}
		if line, m := sparkline(c.curve), median(c.curve); said != c.says || line != c.draws || m != c.median {
			t.Errorf("%s: %q, %s, %d, want %q, %s, %d", name, said, line, m, c.says, c.draws, c.median)
		}
	}
}
