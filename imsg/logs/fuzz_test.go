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

// FuzzRecord: whatever is logged is one line of printable ASCII, and one JSON object. A
// long text is a short one many times: a find is made smaller octet by octet before
// the next is looked for.
func FuzzRecord(f *testing.F) {
	f.Add("NEW", "src", "192.0.2.7", uint16(1), 0.5)
	f.Add("a\nb", "k\r\n", "\x00\x1b[2J\x9b\u202e\u2028\"\\", uint16(2), math.Inf(-1))
	f.Add("", "", "\xff", uint16(maxText+1), math.NaN())
	f.Fuzz(func(t *testing.T, text, key, once string, times uint16, number float64) {
		value := strings.Repeat(once, min(int(times), 1+2*maxText/max(1, len(once))))
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
