package logs

import (
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// FuzzRecord: whatever is logged is one line of printable ASCII, and one JSON object.
func FuzzRecord(f *testing.F) {
	f.Add("NEW", "src", "192.0.2.7", 0.5)
	f.Add("a\nb", "k\r\n", "\x00\x1b[2J\x9b\u202e\u2028\"\\", math.Inf(-1))
	f.Add("", "", strings.Repeat("\xff", maxText+1), math.NaN())
	f.Fuzz(func(t *testing.T, text, key, value string, number float64) {
		r := &record{when: time.Now(), text: clean(text)}
		for _, a := range []slog.Attr{slog.String(key, value), slog.Float64(key, number), slog.Any(key, []string{value}), slog.Group(key, slog.String(value, text))} {
			r.fields = appendAttr(r.fields, &r.session, key, a)
		}
		for _, line := range []string{string(r.appendLegacy(nil)), string(r.appendJSON(nil, imsg.Session, 7))} {
			if strings.ContainsFunc(line, unprintable) {
				t.Errorf("%q", line)
			}
		}
		if line := r.appendJSON(nil, imsg.Session, 7); !json.Valid(line) {
			t.Errorf("%s is no JSON", line)
		}
	})
}
