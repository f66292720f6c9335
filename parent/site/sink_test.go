package site

import (
	"log/slog"
	"testing"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

// TestSinkIsTold: who writes to the log knows what the configuration says of it.
func TestSinkIsTold(t *testing.T) {
	c := config.Default()
	c.LogTarget, c.LogFacility, c.LogLevel = "stderr", 2, 4 // mail, warning
	s, err := (&Site{Config: c, Foreground: true}).OpenSink()
	if err != nil {
		t.Fatal(err)
	}
	defer s.File.Close()
	if s.Facility != 2 || s.Level != int(slog.LevelWarn) {
		t.Errorf("%+v", s.Sink)
	}
}

// TestLogTarget: where parsers of the old daemon's log may be at work the log goes to
// syslog, under systemd too.
func TestLogTarget(t *testing.T) {
	legacy, _, err := config.Parse("f", []byte("mode none\n"))
	if err != nil {
		t.Fatal(err)
	}
	toml, _, err := config.Parse("f", []byte("[log]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c                   *config.Config
		foreground, journal bool
		want                string
	}{
		{legacy, false, false, "syslog"},
		{legacy, true, false, "stderr"},
		{legacy, true, true, "syslog"},
		{legacy, false, true, "syslog"},
		{toml, false, false, "syslog"},
		{toml, true, false, "stderr"},
		{toml, true, true, "journal"},
		{toml, false, true, "syslog"},
	} {
		if got := (&Site{Config: tt.c, Foreground: tt.foreground}).destination(tt.journal); got != tt.want {
			t.Errorf("TOML %v, foreground %v, journal %v: %s, want %s", tt.c == toml, tt.foreground, tt.journal, got, tt.want)
		}
	}
	toml.LogTarget, legacy.LogTarget = "syslog", "journal"
	in := func(c *config.Config) string { return (&Site{Config: c, Foreground: true}).destination(true) }
	if a, b := in(toml), in(legacy); a != "syslog" || b != "journal" {
		t.Errorf("what is configured becomes %s and %s", a, b)
	}
}
