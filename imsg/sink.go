// The forms a record takes on its way out, by what stands behind the sink's
// descriptor. This file owns the formats; it must never change the descriptor's
// mode, which is shared with everyone else who has it, a terminal's shell too.

package imsg

import (
	"os"
	"strconv"
	"strings"
)

const ident = "smtp-gated"

// stamp is the time of RFC 3164 section 4.1.2: local, without a year.
const stamp = "Jan _2 15:04:05"

type sink struct {
	Sink
	file *os.File
	room Room
}

// write makes one write(2) of a record, so that lines of several rooms on one
// descriptor do not mix.
func (s *sink) write(r *record) error {
	b := make([]byte, 0, 512)
	switch s.Kind {
	case SinkJournal:
		b = s.appendJournal(b, r)
	case SinkSyslog, SinkSyslogStream:
		b = append(b, '<')
		b = strconv.AppendInt(b, int64(s.Facility<<3|severity(r.level)), 10)
		b = append(b, '>')
		b = s.appendTagged(b, r)
		if s.Kind == SinkSyslogStream {
			b = append(cut(b), 0)
		}
	default:
		if s.JSON {
			b = r.appendJSON(b, s.room, os.Getpid())
		} else {
			b = s.appendTagged(b, r)
		}
		b = append(cut(b), '\n')
	}
	_, err := s.file.Write(b)
	return err
}

func cut(b []byte) []byte { return b[:min(len(b), 2*maxText)] }

// appendTagged writes time, tag and text.
func (s *sink) appendTagged(b []byte, r *record) []byte {
	b = r.when.Local().AppendFormat(b, stamp)
	b = append(b, ' ')
	b = append(b, ident...)
	b = append(b, '[')
	b = strconv.AppendUint(b, r.number(), 10)
	b = append(b, "]: "...)
	return s.appendText(b, r)
}

func (s *sink) appendText(b []byte, r *record) []byte {
	if s.JSON {
		return r.appendJSON(b, s.room, os.Getpid())
	}
	return r.appendLegacy(b)
}

func (r *record) number() uint64 {
	if r.session != 0 {
		return r.session
	}
	return uint64(os.Getpid())
}

// appendJournal writes systemd's native form: one NAME=value a line, which is
// enough for values that are known to hold no newline.
func (s *sink) appendJournal(b []byte, r *record) []byte {
	line := func(key, value string) {
		b = append(b, key...)
		b = append(b, '=')
		b = append(b, value...)
		b = append(b, '\n')
	}
	line("PRIORITY", strconv.Itoa(severity(r.level)))
	line("SYSLOG_FACILITY", strconv.Itoa(s.Facility))
	line("SYSLOG_IDENTIFIER", ident)
	line("SYSLOG_PID", strconv.FormatUint(r.number(), 10))
	line("GATED_ROOM", s.room.String())
	if r.session != 0 {
		line("GATED_SESSION", strconv.FormatUint(r.session, 10))
	}
	b = append(b, "MESSAGE="...)
	b = append(s.appendText(b, r), '\n')
	for _, f := range r.fields {
		line("GATED_"+journalName(f.key), f.text)
	}
	return b
}

// journalName makes a key out of what the journal allows: A-Z, 0-9 and _.
func journalName(key string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, key)
}
