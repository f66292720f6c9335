package spawn

import (
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	for args, ok := range map[string]bool{
		"session -root /a": true, "scand -root /a": true, "": false, "parent -root /a": false, "control -root /a": false, "session": false,
	} {
		if _, _, err := parseArgs(strings.Fields(args)); (err == nil) != ok {
			t.Errorf("%q: error %v", args, err)
		}
	}
}
