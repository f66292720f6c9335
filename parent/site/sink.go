// Where the log goes. This file owns the choice.

package site

import (
	"fmt"
	"os"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// OpenSink opens what log_target says.
func (s *Site) OpenSink() (*host.Sink, error) {
	target := s.destination(host.StderrIsJournal())
	path := target
	if strings.HasPrefix(target, "/") {
		path = s.Inside(target)
	}
	sink, err := host.OpenSink(path, s.sinkSettings())
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Called("log_target"), target, err)
	}
	return sink, nil
}

// openAnySink does without a log daemon that is away: that is no reason not to run.
// Who asks the sink whether it has moved finds it when it is back.
func (s *Site) openAnySink() (*host.Sink, error) {
	sink, err := s.OpenSink()
	if err == nil || strings.HasPrefix(s.LogTarget, "/") {
		return sink, err
	}
	if s.Log.Sink != nil {
		s.Log.Warn("log is not open", "error", err)
	} else {
		fmt.Fprintln(os.Stderr, "smtp-gated: warning:", err)
	}
	return host.NullSink(s.destination(host.StderrIsJournal()), s.sinkSettings())
}

func (s *Site) sinkSettings() imsg.Sink {
	return imsg.Sink{Level: int(logs.LevelOf(s.LogLevel)), Facility: s.LogFacility, JSON: s.LogJSON}
}

// destination is what log_target auto amounts to. Who comes from the old daemon has
// parsers of its log, which tell sessions by the number in the tag; in the journal
// that is a process.
func (s *Site) destination(journal bool) string {
	switch {
	case s.LogTarget != "auto":
		return s.LogTarget
	case !s.Foreground, journal && !s.InTOML():
		return "syslog"
	case journal:
		return "journal"
	}
	return "stderr"
}
