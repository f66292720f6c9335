// The levels of the log. This file owns how syslog's severities and slog's
// levels stand for each other.

package logs

import "log/slog"

// The levels slog has no name for. Its own Debug, Info, Warn and Error are
// syslog's debug, info, warning and err.
const (
	LevelNotice slog.Level = 2
	LevelCrit   slog.Level = 12
	LevelAlert  slog.Level = 16
	LevelEmerg  slog.Level = 20

	// LevelAlways is above what any log_level keeps back. What is beyond it is the
	// severity: by itself it is info, LevelAlways+LevelNotice is notice.
	LevelAlways slog.Level = 1000
)

// levels are the slog levels by syslog severity (RFC 3164 section 4.1.1).
var levels = [8]slog.Level{LevelEmerg, LevelAlert, LevelCrit, slog.LevelError, slog.LevelWarn, LevelNotice, slog.LevelInfo, slog.LevelDebug}

// Severities are the severities' names, by their numbers.
var Severities = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// SeverityErr is the severity of an error.
const SeverityErr = 3

// LevelOf returns the level of a syslog severity, 0 (emerg) to 7 (debug).
func LevelOf(severity int) slog.Level { return levels[min(max(severity, 0), 7)] }

// SeverityName is the name of the severity that a level stands for.
func SeverityName(level int) string { return Severities[severity(slog.Level(level))] }

func severity(l slog.Level) int {
	if l >= LevelAlways {
		l -= LevelAlways
	}
	for s, have := range levels {
		if l >= have {
			return s
		}
	}
	return 7
}
