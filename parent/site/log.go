// The family's log: the parent's own records, and the sink that all rooms write to.

package site

import (
	"context"
	"log/slog"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// Log is where the parent writes. It keeps what comes before the first Use.
type Log struct {
	*slog.Logger
	Sink *host.Sink // in use; nil before the first Use

	output *logs.Log
}

// NewLog makes the parent's log.
func NewLog() *Log {
	output := logs.New(imsg.Parent)
	return &Log{Logger: output.Logger(), output: output}
}

// Use has the parent write to a sink from now on, and returns the one before.
func (l *Log) Use(s *host.Sink) (old *host.Sink) {
	old, l.Sink = l.Sink, s
	if own, err := s.Own(); err == nil {
		l.output.SetSink(&s.Sink, own)
	}
	return old
}

// Flush waits, at most for a second, for what is queued to be written.
func (l *Log) Flush() { l.output.Flush() }

// Lost is how many of the parent's own lines were lost.
func (l *Log) Lost() uint64 { return l.output.Lost() }

// Say logs at one of the levels slog has no method for.
func (l *Log) Say(level slog.Level, text string, args ...any) {
	l.Log(context.Background(), level, text, args...)
}

// Warnings logs what is odd about a configuration.
func (l *Log) Warnings(all []config.Warning) {
	for _, w := range all {
		l.Warn(w.String())
	}
}
