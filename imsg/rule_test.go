package imsg

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestRules: each field of what anybody but the parent says has a rule, or a reason
// to have none.
func TestRules(t *testing.T) {
	for i := range Table {
		e := &Table[i]
		if e.From == set(Parent) {
			continue
		}
		if _, err := e.rules(); err != nil {
			t.Error(err)
		}
	}
}

// TestExtremes sets each field of each message to each extreme of its type. What the
// rules let pass is harmless by what this test says, whatever the receiver does.
func TestExtremes(t *testing.T) {
	for i := range Table {
		e := &Table[i]
		if e.From == set(Parent) {
			continue
		}
		m := e.New()
		imsgtest.Honest(reflect.ValueOf(m).Elem())
		if err := e.Check(m); err != nil {
			t.Errorf("%s: what is honest is refused: %v", e.Name, err)
		}
		tried, refused := 0, 0
		imsgtest.Each(reflect.ValueOf(m).Elem(), e.Name, "", func(at, rule string, v reflect.Value) {
			before := reflect.New(v.Type()).Elem()
			before.Set(v)
			for _, x := range imsgtest.Extremes(v.Type()) {
				v.Set(x)
				tried++
				if e.Check(m) != nil {
					refused++
				} else if why := harm(v, rule); why != "" {
					t.Errorf("%s = %.80q passes: %s", at, fmt.Sprint(x), why)
				}
			}
			v.Set(before)
		})
		if tried > 0 && refused == 0 && !strings.Contains("GiveUp Sessions Snapshot Leave Locks Locked", e.Name) {
			t.Errorf("%s: none of %d extremes is refused", e.Name, tried)
		}
	}
}

// harm says what is wrong with a value that passed, empty if nothing is.
func harm(v reflect.Value, rule string) string {
	explained := strings.Contains(rule, "any: ") || strings.Contains(rule, "free: ") || strings.Contains(rule, "lines: ")
	switch p := v.Addr().Interface().(type) {
	case *netip.AddrPort:
		return harmZone(p.Addr())
	case *netip.Addr:
		return harmZone(*p)
	case enumeration:
		if !p.known() {
			return "nobody knows it"
		}
		return ""
	}
	switch {
	case v.CanFloat():
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) > 1e6 {
			return "it is no score and no load"
		}
	case v.CanInt():
		if v.Int() < -1 && !explained {
			return "it is negative"
		}
	case v.CanUint():
		if v.Uint() > 1<<63 && !explained {
			return "it overflows what adds it"
		}
	case v.Kind() == reflect.String:
		s := v.String()
		if len(s) > 4096 {
			return "it is over-long"
		}
		switch {
		case explained:
		case strings.HasSuffix(rule, " readable"):
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				return "it is not readable"
			}
		case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }):
			return "it is not printable"
		}
		if !explained && (strings.HasSuffix(rule, " name") || strings.HasSuffix(rule, " login")) && strings.ContainsAny(s, "/") {
			return "it leads out of its folder"
		}
	case v.Kind() == reflect.Slice:
		if v.Len() > 1024 {
			return "it is over-long"
		}
	}
	return ""
}

func harmZone(a netip.Addr) string {
	if len(a.Zone()) > MaxZone || strings.ContainsFunc(a.Zone(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "its zone could hold anything"
	}
	return ""
}

// TestServer: what lookupd calls a server is one, in the form that our own addresses
// are compared with.
func TestServer(t *testing.T) {
	for a, good := range map[string]bool{
		"192.0.2.1:25": true, "[2001:db8::1]:25": true, "127.0.0.1:2525": true,
		"0.0.0.0:25": false, "[::]:25": false, "192.0.2.1:0": false, "224.0.0.1:25": false, "[ff02::1]:25": false,
		"[::ffff:192.0.2.1]:25": false, "[fe80::1%eth0]:25": false, "[fe80::1%a\r\nb]:25": false,
	} {
		m := &TargetResult{Target: netip.MustParseAddrPort(a)}
		if err := Row(m).Check(m); (err == nil) != good {
			t.Errorf("%q: %v", a, err)
		}
	}
	if m := new(TargetResult); Row(m).Check(m) == nil {
		t.Error("no server is one")
	}
}

// TestRuleLanguage: a rule that says nothing is none.
func TestRuleLanguage(t *testing.T) {
	for _, tt := range []struct {
		of   any
		rule string
	}{
		{"", ""},
		{"", "..8"},
		{"", "1.. word"},
		{"", "..8 free"},
		{"", "..8 word: why"},
		{"", "any"},
		{"", "any: "},
		{"", "..8 letters"},
		{"", "login"},
		{0, ""},
		{0, "1"},
		{0, "..Nothing"},
		{uint64(0), "any"},
		{0.0, ""},
		{[]string(nil), "..8"},
		{[]uint64(nil), ""},
		{[]uint64(nil), "..8 each any"},
		{netip.Addr{}, "plain"},
		{struct{ N int }{}, ""},
	} {
		if _, err := ruleOf(reflect.TypeOf(tt.of), tt.rule); err == nil {
			t.Errorf("%T with rule %q has one", tt.of, tt.rule)
		}
	}
}

// TestPrintable: nothing that a program shows of an answer reaches a terminal raw.
func TestPrintable(t *testing.T) {
	for i := range Table {
		m := Table[i].New()
		imsgtest.Honest(reflect.ValueOf(m).Elem())
		imsgtest.Each(reflect.ValueOf(m).Elem(), Table[i].Name, "", func(at, rule string, v reflect.Value) {
			if v.Kind() != reflect.String {
				return
			}
			var all []byte
			for c := range 256 {
				all = append(all, byte(c))
			}
			v.SetString(string(all))
			MakePrintable(m)
			lines := 1
			if strings.Contains(rule, " lines: ") {
				lines = 2
			}
			got := v.String()
			if len(got) != 256 || strings.Count(got, "\n") != lines-1 || strings.ContainsFunc(got, func(r rune) bool { return (r < ' ' || r > '~') && r != '\n' }) {
				t.Errorf("%s: %q", at, got)
			}
		})
	}
	if got := Printable("a\nb\x80c", 4); got != "a#b#" {
		t.Errorf("%q", got)
	}
}
