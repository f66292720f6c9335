package version

import (
	"runtime/debug"
	"testing"
)

func TestArchived(t *testing.T) {
	for text, want := range map[string][2]string{
		"$Format:%h$\n$Format:%h$\n$Format:%ct$\n": {"", ""}, // in a checkout
		"":                                  {"", ""},
		"v2.0.0\n1a74ae9\n1796060100\n":     {"v2.0.0", "2026-11-30T17:35:00Z"},
		"v2.0.0-3-g1a74ae9\n1a74ae9\nx\n":   {"v2.0.0-3-g1a74ae9", ""},
		"\n1a74ae9\n1796060100\n":           {"1a74ae9", "2026-11-30T17:35:00Z"}, // there is no tag
		"%(describe:tags=true)\n1a74ae9\n0": {"1a74ae9", "1970-01-01T00:00:00Z"},
	} {
		if name, date := archived(text); name != want[0] || date != want[1] {
			t.Errorf("%q reads as %q, %q", text, name, date)
		}
	}
}

func TestRecorded(t *testing.T) {
	at := []debug.BuildSetting{{Key: "vcs.revision", Value: "1a74ae9"}, {Key: "vcs.time", Value: "2026-11-30T17:35:00Z"}}
	for _, tt := range []struct {
		version    string
		settings   []debug.BuildSetting
		name, date string
	}{
		{"v2.0.0", nil, "v2.0.0", ""},
		{"v2.0.0+dirty", at, "v2.0.0+dirty", "2026-11-30T17:35:00Z"},
		{"v2.0.1-0.20261130173500-1a74ae9b2c3d", nil, "v2.0.1-0.20261130173500-1a74ae9b2c3d", "2026-11-30T17:35:00Z"},
		{"v0.0.0-20261130173500-1a74ae9b2c3d+dirty", nil, "v0.0.0-20261130173500-1a74ae9b2c3d+dirty", "2026-11-30T17:35:00Z"},
		{"(devel)", at, "", "2026-11-30T17:35:00Z"},
		{"(devel)", nil, "", ""},
		{"", nil, "", ""},
	} {
		b := &debug.BuildInfo{Settings: tt.settings}
		b.Main.Version = tt.version
		if name, date := recorded(b); name != tt.name || date != tt.date {
			t.Errorf("%q reads as %q, %q", tt.version, name, date)
		}
	}
}
