// The forms a record takes on its way out, by what stands behind the sink's
// descriptor. This file owns the formats; it must never change the descriptor's
// mode, which is shared with everyone else who has it, a terminal's shell too.

package logs

import (
	"os"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const ident = "smtp-gated"

// stamp is the time of RFC 3164 section 4.1.2: local, without a year.
const stamp = "Jan _2 15:04:05"

type sink struct {
	imsg.Sink
	file *os.File
	room imsg.Room
}

// maxWrite is what one write(2) may hold: a pipe keeps so much together
// (PIPE_BUF), so that lines of several rooms on one descriptor do not mix.
const maxWrite = 4096

// write writes records and returns how many were lost. Onto a stream several
// lines go with one write(2); a socket takes each as a datagram or message.
func (s *sink) write(batch []*record) (lost int) {
	var buf []byte
	held := 0
	flush := func() {
		if _, err := s.file.Write(buf); err != nil {
			lost += held
		}
		buf, held = buf[:0], 0
	}
	for _, r := range batch {
		// What was kept for the first sink has not been held against its
		// level yet.
		if int(r.level) < s.Level {
			continue
		}
		before := len(buf)
		buf = s.appendRecord(buf, r)
		if held > 0 && len(buf) > maxWrite {
			line := append([]byte(nil), buf[before:]...)
			buf = buf[:before]
			flush()
			buf = append(buf, line...)
		}
		if held++; s.Kind != imsg.SinkStream {
			flush()
		}
	}
	if held > 0 {
		flush()
	}
	return lost
}

// appendRecord appends one record in the sink's form, complete with its end.
func (s *sink) appendRecord(b []byte, r *record) []byte {
	switch s.Kind {
	case imsg.SinkJournal:
		return s.appendJournal(b, r)
	case imsg.SinkSyslog, imsg.SinkSyslogStream:
		line := append(make([]byte, 0, 512), '<')
		line = strconv.AppendInt(line, int64(s.Facility<<3|severity(r.level)), 10)
		line = append(line, '>')
		line = cut(s.appendTagged(line, r))
		if s.Kind == imsg.SinkSyslogStream {
			line = append(line, 0)
		}
		return append(b, line...)
	}
	var line []byte
	if s.JSON {
		line = r.appendJSON(make([]byte, 0, 512), s.room, os.Getpid())
	} else {
		line = s.appendTagged(make([]byte, 0, 512), r)
	}
	return append(append(b, cut(line)...), '\n')
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
	b = s.appendText(b, r)
	if r.session != 0 && !s.JSON {
		// The journal shows the process in the tag.
		b = strconv.AppendUint(append(b, ", session="...), r.session, 10)
	}
	b = append(b, '\n')
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
