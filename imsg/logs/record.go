// One record of the log: what slog hands over, as flat, clean text. This file
// owns the cleaning: what a client sent leaves it without control characters.

package logs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// maxText bounds one record. Syslog daemons cut lines of this length or earlier.
const maxText = 8 << 10

type record struct {
	when    time.Time
	level   slog.Level
	session uint64 // 0: about none
	text    string
	fields  []field
}

// field is an attribute. Bare ones are numbers and truth values, which JSON
// does not quote.
type field struct {
	key, text string
	bare      bool
}

// handler implements slog.Handler.
type handler struct {
	log     *Log
	session uint64
	fields  []field
	prefix  string
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return h.log.enabled(l) }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	root := h.log.root()
	out := &record{when: r.Time, level: r.Level, session: h.session, text: clean(r.Message)}
	if out.when.IsZero() {
		out.when = time.Now()
	}
	out.fields = make([]field, len(h.fields), len(h.fields)+r.NumAttrs())
	copy(out.fields, h.fields)
	unknown := false
	r.Attrs(func(a slog.Attr) bool {
		out.fields = appendAttr(out.fields, &out.session, h.prefix, whole(a, root))
		unknown = unknown || missing(a.Value)
		return true
	})
	h.log.put(out)
	if unknown {
		h.log.sayMissing()
	}
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.fields = slices.Clip(n.fields)
	for _, a := range attrs {
		n.fields = appendAttr(n.fields, &n.session, n.prefix, a)
	}
	return &n
}

func (h *handler) WithGroup(name string) slog.Handler {
	n := *h
	if name != "" {
		n.prefix += name + "."
	}
	return &n
}

// whole gives an error the name of its file as the administrator knows it: a room
// uses names below its root only.
func whole(a slog.Attr, root string) slog.Attr {
	err := failure(a.Value)
	p, ok := errors.AsType[*fs.PathError](err)
	if !ok || root == "" || path.IsAbs(p.Path) {
		return a
	}
	known := fs.PathError{Op: p.Op, Path: path.Join(root, p.Path), Err: p.Err}
	return slog.String(a.Key, strings.Replace(err.Error(), p.Error(), known.Error(), 1))
}

// failure is the error that a value is, if it is one. Any would make a copy of a number.
func failure(v slog.Value) (err error) {
	if v.Kind() == slog.KindAny {
		err, _ = v.Any().(error)
	}
	return err
}

func appendAttr(fields []field, session *uint64, prefix string, a slog.Attr) []field {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return fields
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			fields = appendAttr(fields, session, prefix, m)
		}
		return fields
	}
	if a.Key == imsg.SessionKey {
		switch v.Kind() {
		case slog.KindUint64:
			*session = v.Uint64()
			return fields
		case slog.KindInt64:
			*session = uint64(v.Int64())
			return fields
		}
	}
	f := field{key: clean(prefix + a.Key)}
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		f.text, f.bare = v.String(), true
	case slog.KindFloat64:
		// As C prints %f: log parsers know scores and loads in this form.
		f.text, f.bare = strconv.FormatFloat(v.Float64(), 'f', 6, 64), true
	case slog.KindTime:
		f.text = v.Time().Format(time.RFC3339)
	default:
		f.text = clean(v.String())
	}
	return append(fields, f)
}

// clean replaces what could forge a line or upset a terminal.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c >= 0x7f {
			b[i] = '#'
		}
	}
	return string(b)
}

func unprintable(r rune) bool { return r < ' ' || r >= 0x7f }

// appendLegacy writes the record as log parsers know it: the message, a blank,
// key=value joined by a comma and a blank.
func (r *record) appendLegacy(b []byte) []byte {
	b = append(b, r.text...)
	for i, f := range r.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, ' ')
		b = append(b, f.key...)
		b = append(b, '=')
		b = append(b, f.text...)
	}
	return b
}

// appendJSON writes the record as one object. Everything in it is clean ASCII,
// so that only quotes and backslashes need an escape. What every record has goes
// under names that no attribute takes.
func (r *record) appendJSON(b []byte, room imsg.Room, pid int) []byte {
	b = append(b, `{"ts":"`...)
	b = r.when.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, Severities[severity(r.level)]...)
	b = append(b, `","process":"`...)
	b = append(b, room.String()...)
	b = append(b, `","pid":`...)
	b = strconv.AppendInt(b, int64(pid), 10)
	if r.session != 0 {
		b = append(b, `,"session":`...)
		b = strconv.AppendUint(b, r.session, 10)
	}
	b = append(b, `,"message":`...)
	b = strconv.AppendQuote(b, r.text)
	for _, f := range r.fields {
		b = append(b, ',')
		b = strconv.AppendQuote(b, f.key)
		b = append(b, ':')
		if f.bare && f.text != "NaN" && !strings.HasSuffix(f.text, "Inf") {
			b = append(b, f.text...)
		} else {
			b = strconv.AppendQuote(b, f.text)
		}
	}
	return append(b, '}')
}
