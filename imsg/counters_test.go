package imsg

import (
	"reflect"
	"slices"
	"testing"
)

// TestCounterTable: a counter is complete, or it is not there.
func TestCounterTable(t *testing.T) {
	seen := make(map[string]bool)
	for c := range Counters {
		row := reflect.ValueOf(CounterTable[c])
		for i := range row.NumField() {
			if field := row.Type().Field(i).Name; row.Field(i).String() == "" && field != "State" {
				t.Errorf("counter %d, %q, has no %s in CounterTable", c, CounterTable[c].Name, field)
			}
		}
		r := CounterTable[c]
		if !slices.Contains(CounterGroups, r.Group) {
			t.Errorf("%s is shown nowhere: there is no group %q", c, r.Group)
		}
		for _, name := range []string{"name " + r.Name, "state " + r.State, "metric " + r.Metric} {
			if seen[name] && name != "state " {
				t.Errorf("two counters have the %s", name)
			}
			seen[name] = true
		}
	}
}
