package spawn

import (
	"fmt"
	"strings"
	"testing"
)

// TestReadLines: of what a process writes, lines are heard that hold something, none
// longer than a log takes, and not for ever.
func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for text, want := range map[string][]string{
		"":                   nil,
		"a\n\n\tb\nc":        {"a", "  b", "c"},
		long + "y\nz\n":      {long, "y", "z"},
		"\n\n" + long + "\n": {long},
	} {
		var got []string
		readLines(strings.NewReader(text), func(line string) { got = append(got, line) })
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %q", text, got)
		}
	}
	n := 0
	readLines(strings.NewReader(strings.Repeat("a\n", 2*maxLines)), func(string) { n++ })
	if n != maxLines {
		t.Errorf("%d lines", n)
	}
}
