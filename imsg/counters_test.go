package imsg

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCounterTable: a counter is complete, or it is not there; and one that is not exposed
// is the sum of others.
func TestCounterTable(t *testing.T) {
	seen := make(map[string]bool)
	for c := range Counters {
		row := reflect.ValueOf(CounterTable[c])
		for i := range row.NumField() {
			field := row.Type().Field(i)
			if field.Type.Kind() == reflect.String && row.Field(i).String() == "" && field.Name != "State" {
				t.Errorf("counter %d, %q, has no %s in CounterTable", c, CounterTable[c].Name, field.Name)
			}
		}
		r := CounterTable[c]
		if !slices.Contains(CounterGroups, r.Group) {
			t.Errorf("%s is shown nowhere: there is no group %q", c, r.Group)
		}
		if sum := slices.Contains([]Counter{CountTotal, CountScanFailed, CountDNSBLAnswered, CountDNSBLSilent}, c); sum != (r.Metric == NoMetric) {
			t.Errorf("%s is no metric: %v", c, r.Metric == NoMetric)
		}
		for _, name := range []string{"name " + r.Name, "state " + r.State, metricKey(r.Metric, r.Labels)} {
			if seen[name] && name != "state " && r.Metric != NoMetric {
				t.Errorf("two counters have the %s", name)
			}
			seen[name] = true
		}
		if m := MetricTable[r.Metric]; r.Metric != NoMetric && (m.Kind != CounterMetric || len(m.Labels) != len(r.Labels)) {
			t.Errorf("%s, with labels %v, does not fit %+v", c, r.Labels, m)
		}
	}
	for h := range Histograms {
		r := HistogramTable[h]
		if m := MetricTable[r.Metric]; r.Name == "" || m.Kind != HistogramMetric || len(m.Labels) != len(r.Labels) {
			t.Errorf("%+v does not fit %+v", r, m)
		}
		if key := metricKey(r.Metric, r.Labels); seen[key] {
			t.Errorf("two histograms are %s", key)
		} else {
			seen[key] = true
		}
	}
}

func metricKey(m Metric, labels []string) string {
	return fmt.Sprint("metric ", MetricTable[m].Name, labels)
}

// TestMetricTable: names follow the rules of their kind, and each metric has its help.
func TestMetricTable(t *testing.T) {
	for m := NoMetric + 1; m < Metrics; m++ {
		r := MetricTable[m]
		if !strings.HasPrefix(r.Name, "smtp_gated_") || !strings.HasSuffix(r.Help, ".") {
			t.Errorf("metric %d is %+v", m, r)
		}
		if total := strings.HasSuffix(r.Name, "_total"); total != (r.Kind == CounterMetric) {
			t.Errorf("%s is a %s", r.Name, r.Kind)
		}
		if seconds := strings.HasSuffix(r.Name, "_seconds"); r.Kind == HistogramMetric && !seconds {
			t.Errorf("%s has no unit", r.Name)
		}
	}
}

// TestCounterOf: what is numbered in the order of something else is.
func TestCounterOf(t *testing.T) {
	is := func(c Counter, name string) {
		t.Helper()
		if c.String() != name {
			t.Errorf("%s in place of %s", c, name)
		}
	}
	for e := range EngineKinds {
		name := cmpOr(Engine(e), ObjectScand)
		is(CountEngine(Engine(e), Failed), "engine_"+name+"_failed")
		is(CountEngine(Engine(e), TimedOut), "engine_"+name+"_timeout")
		if e > 0 && TimeScan(Engine(e)).String() != "scan_"+name {
			t.Errorf("scans of %s are timed as %s", name, TimeScan(Engine(e)))
		}
	}
	for r := range RateCounters {
		is(CountQuota(r), "quota_"+r.String())
	}
	is(CountQuota(RateTargets), "quota_targets")
	is(CountLock(0), "locked_operator")
	for f := FoundVirus; f.known(); f++ {
		is(CountLock(f), "locked_"+f.Rule().String())
	}
	for r := range PolicyRules {
		if PolicyRuleTable[r].Monitor {
			is(CountWould(r), "would_"+r.String())
		}
		if PolicyRuleTable[r].Monitor != (r != NoRule && monitored.Has(r)) {
			t.Errorf("policy.monitor may name %s, or not", r)
		}
	}
	for _, object := range []string{ObjectDNSBL, ObjectSPF} {
		is(CountDNS(object, DNSAnswered, false), "dns_"+object+"_answered")
		is(CountDNS(object, DNSSilent, false), "dns_"+object+"_silent")
		is(CountDNS(object, DNSNotAsked, true), "dns_"+object+"_failed")
	}
	for _, cause := range []string{UnscannedSize, UnscannedLoad, UnscannedEngine, UnscannedAuth, UnscannedExempt, UnscannedTLS} {
		c, ok := CountUnscannedFor(cause)
		if is(c, "unscanned_"+cause); !ok {
			t.Errorf("%s is not counted", cause)
		}
	}
	if _, ok := CountUnscannedFor(UnscannedIgnored); ok {
		t.Error("what ignore_errors lets pass is counted twice")
	}
}

func cmpOr(e Engine, none string) string {
	if e == EngineOff {
		return none
	}
	return e.String()
}

// TestHistogramSlots: a time is in the first range that it is not too long for; no slot is
// another's.
func TestHistogramSlots(t *testing.T) {
	if !slices.IsSorted(TimeBounds[:]) || TimeBounds[0] != time.Millisecond || TimeBounds[len(TimeBounds)-1] != time.Minute {
		t.Error(TimeBounds)
	}
	slots := make([]uint64, Slots)
	for h := range Histograms {
		for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Millisecond + 1, 20 * time.Millisecond, time.Minute, time.Minute + 1, 1 << 62} {
			count, sum := h.Slots(d)
			slots[count]++
			slots[sum] += 2
		}
	}
	for h := range Histograms {
		counts, sum := h.Of(slots)
		if len(counts) != len(TimeBounds)+1 || counts[0] != 3 || counts[1] != 1 || counts[5] != 1 || counts[16] != 1 || counts[17] != 2 || sum != 16*time.Microsecond {
			t.Errorf("%s: %v, sum %v", h, counts, sum)
		}
	}
	if slices.ContainsFunc(slots[:Counters], func(n uint64) bool { return n > 0 }) {
		t.Error("a time is counted where counters are")
	}
	slots[len(slots)-1] = 1<<64 - 1
	if _, sum := (Histograms - 1).Of(slots); sum < 0 {
		t.Error("a sum too large is negative")
	}
	if counts, _ := TimeSession.Of(slots[:Counters]); counts != nil {
		t.Errorf("of none: %v", counts)
	}
	if n := testing.AllocsPerRun(10, func() { TimeAdded.Slots(time.Second) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
