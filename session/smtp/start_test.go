package smtp

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestStart(t *testing.T) {
	name := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		in          string
		text, chunk Start // the chunk is whole
	}{
		{"Subject: x\r\n", StartField, StartField},
		{"Subject:x", StartField, StartField},
		{"Subject \t : x\r\n", StartField, StartField},
		{"x:\r\n", StartField, StartField},
		{"!~:\r\n", StartField, StartField},
		{"only text\r\n", StartText, StartText},
		{"word\r\n", StartText, StartText},
		{"word \r\n", StartText, StartText},
		{"word\n", StartText, StartText},
		{"From a Mon Jan  1 00:00:00 2024\r\n", StartText, StartText},
		{": x\r\n", StartText, StartText},
		{" folded: x\r\n", StartText, StartText},
		{"\tfolded\r\n", StartText, StartText},
		{" : x\r\n", StartText, StartText},
		{"Gr\xc3\xbc\xc3\x9fe: x\r\n", StartText, StartText},
		{"a\x7fb: x\r\n", StartText, StartText},
		{"\r\ntext\r\n", StartField, StartField},
		{".\r\n", StartField, StartText},
		{".\r\nMAIL FROM:<a>\r\n", StartField, StartText},
		{"", StartUnknown, StartText},
		{"Subject", StartUnknown, StartText},
		{"Subject  ", StartUnknown, StartText},
		{"\r", StartUnknown, StartText},
		{".", StartUnknown, StartText},
		{".\r", StartUnknown, StartText},
		// What becomes of dots, bare ends and NUL counts, not what was sent.
		{"..x: y\r\n", StartField, StartField},
		{".x: y\r\n", StartField, StartField},
		{".: y\r\n", StartText, StartField},
		{"..: y\r\n", StartField, StartField},
		{".\n", StartText, StartText},
		{"..\r\n", StartText, StartText},
		{"\nx: y\r\n", StartField, StartText},
		{"\rx: y\r\n", StartText, StartText},
		{"a\r: y\r\n", StartField, StartText},
		{"Sub\x00ject: y\r\n", StartField, StartText},
		{"\x00\r\n", StartField, StartText},
		{".\x00\r\n", StartField, StartText},
		{name(996) + ": y", StartField, StartField},
		{name(997) + ":", StartField, StartField},
		{name(998) + ":", StartText, StartText},
		{name(997), StartUnknown, StartText},
		{name(998), StartText, StartText},
		{"x" + strings.Repeat(" ", 997) + ":", StartText, StartText},
	} {
		if got := (Body{}).Start([]byte(tt.in), nil); got != tt.text {
			t.Errorf("%.40q: %d, want %d", tt.in, got, tt.text)
		}
		if got := ChunkStart([]byte(tt.in), true); got != tt.chunk {
			t.Errorf("%.40q as a chunk: %d, want %d", tt.in, got, tt.chunk)
		}
	}
	for _, in := range []string{"a\n", "a\r:", "\n", ".\n"} {
		if got := (Body{Bare: RejectBare}).Start([]byte(in), nil); got != StartField {
			t.Errorf("reject: %q: %d: what is refused needs no more octets", in, got)
		}
	}
	for in, want := range map[string]Start{"\nx: y\r\n": StartText, "a\r: y\r\n": StartText, "\r\n": StartField} {
		if got := (Body{Bare: PassBare}).Start([]byte(in), nil); got != want {
			t.Errorf("pass: %q: %d, want %d", in, got, want)
		}
	}
}

// fieldOrNone is how a message begins that needs nothing before it.
var fieldOrNone = regexp.MustCompile(`^([!-9;-~]+[ \t]*:|\r\n|$)`)

// FuzzStart holds the answer against the text the message becomes, and itself for
// every cutting: who asks with less hears the same, or is to ask again.
func FuzzStart(f *testing.F) {
	for _, s := range []string{"Subject: x\r\n\r\n", "text\r\n", ".\x00: \r\n", "..\n", "\r", "a \t:", strings.Repeat("x", 997) + ":"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, body := range []Body{{}, {Bare: RejectBare}, {Bare: PassBare}, {NUL: RejectNUL}} {
			told := StartUnknown
			for n := range min(len(in), StartLimit+2) + 1 {
				got := body.Start(in[:n], nil)
				if told != StartUnknown && got != told {
					t.Fatalf("%q: %d with %d octets, %d before", in, got, n, told)
				}
				told = got
			}
		}
		told := StartUnknown
		for n := range min(len(in), StartLimit+2) + 1 {
			got := ChunkStart(in[:n], false)
			if told != StartUnknown && got != told {
				t.Fatalf("%q as a chunk: %d with %d octets, %d before", in, got, n, told)
			}
			told = got
		}
		if want := fieldOrNone.Match(in[:min(len(in), StartLimit)]); len(in) > 0 && (ChunkStart(in, true) == StartField) != want {
			t.Fatalf("%q as a chunk: want a field: %v", in, want)
		}
		in = append(bytes.Clone(in), "\r\n.\r\n.\r\n"...)
		body := Body{}
		_, _, spool, _ := body.Next(in, nil, nil)
		want := StartText
		if fieldOrNone.Match(spool) {
			want = StartField
		}
		if got := (Body{}).Start(in, nil); got != want && len(in) < StartLimit {
			t.Fatalf("%q, a message of %q: %d, want %d", in, spool, got, want)
		}
	})
}

func TestStartAllocs(t *testing.T) {
	in, scratch := []byte("..Subject \x00: a line\r\n"), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		if (Body{}).Start(in, scratch) != StartField || ChunkStart(in, false) != StartText {
			t.Error("another answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
