package smtp

import (
	"bytes"
	"strings"
	"testing"
)

// endOfData is what goes out behind a text.
const endOfData = ".\r\n"

func TestBody(t *testing.T) {
	reject := Body{Bare: RejectBare}
	pass := Body{Bare: PassBare}
	noNUL := Body{NUL: RejectNUL}
	tests := []struct {
		name  string
		body  Body
		in    string
		wire  string
		spool string
		n     int // -1: all
		ev    BodyEvent
	}{
		{"empty message", Body{}, ".\r\n", "", "", -1, BodyEnd},
		{"nothing", Body{}, "", "", "", -1, BodyMore},
		{"one line", Body{}, "a\r\n.\r\n", "a\r\n", "a\r\n", -1, BodyEnd},
		{"commands behind the end", Body{}, "a\r\n.\r\nMAIL FROM:<>\r\n", "a\r\n", "a\r\n", 6, BodyEnd},
		{"second end is a command", Body{}, ".\r\n.\r\n", "", "", 3, BodyEnd},
		{"empty lines", Body{}, "\r\n\r\n.\r\n", "\r\n\r\n", "\r\n\r\n", -1, BodyEnd},
		{"stuffed", Body{}, "..\r\n..a\r\n.\r\n", "..\r\n..a\r\n", ".\r\n.a\r\n", -1, BodyEnd},
		{"not stuffed by its sender", Body{}, ".a\r\n.\r\n", "a\r\n", "a\r\n", -1, BodyEnd},
		{"three dots", Body{}, "...\r\n.\r\n", "...\r\n", "..\r\n", -1, BodyEnd},
		{"dot in a line", Body{}, "a.\r\n.\r\n", "a.\r\n", "a.\r\n", -1, BodyEnd},
		{"dot and blank", Body{}, ". \r\n.\r\n", " \r\n", " \r\n", -1, BodyEnd},

		{"bare LF", Body{}, "a\nb\r\n.\r\n", "a\r\nb\r\n", "a\r\nb\r\n", -1, BodyEnd},
		{"bare LFs", Body{}, "\n\n\n.\r\n", "\r\n\r\n\r\n..\r\n", "\r\n\r\n\r\n.\r\n", -1, BodyMore},
		{"LF dot LF", Body{}, "a\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n", -1, BodyEnd},
		{"LF dot CRLF", Body{}, "a\n.\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n", -1, BodyEnd},
		{"CRLF dot LF", Body{}, "a\r\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n", -1, BodyEnd},
		{"dot LF at the start", Body{}, ".\nb\r\n.\r\n", "..\r\nb\r\n", ".\r\nb\r\n", -1, BodyEnd},
		{"LF, two dots", Body{}, "a\n..\r\n.\r\n", "a\r\n..\r\n", "a\r\n.\r\n", -1, BodyEnd},
		{"LF, two dots, text", Body{}, "a\n..b\r\n.\r\n", "a\r\n..b\r\n", "a\r\n.b\r\n", -1, BodyEnd},
		{"LF, two dots, LF", Body{}, "a\n..\n.\r\n", "a\r\n..\r\n..\r\n", "a\r\n.\r\n.\r\n", -1, BodyMore},
		{"LF, three dots", Body{}, "a\n...\r\n.\r\n", "a\r\n...\r\n", "a\r\n..\r\n", -1, BodyEnd},
		{"LF, dot, blank, dot", Body{}, "a\n. .\r\n.\r\n", "a\r\n.. .\r\n", "a\r\n. .\r\n", -1, BodyEnd},
		{"LF, dot NUL dot", Body{}, "a\n.\x00.\r\n.\r\n", "a\r\n...\r\n", "a\r\n..\r\n", -1, BodyEnd},
		{"LF, NUL, two dots", Body{}, "a\n\x00..\r\n.\r\n", "a\r\n...\r\n", "a\r\n..\r\n", -1, BodyEnd},
		{"LF, dot at the end of input", Body{}, "a\n.", "a\r\n", "a\r\n", -1, BodyMore},
		{"stripped CR LF, two dots", Body{}, "a\r\x00\n..\r\n.\r\n", "a \r\n..\r\n", "a \r\n.\r\n", -1, BodyEnd},
		{"pass: CR NUL LF is CRLF", pass, "a\r\x00\n.\r\nNOOP\r\n", "a\r\n", "a\r\n", 7, BodyEnd},
		{"pass: LF, two dots", pass, "a\n..b\r\n.\r\n", "a\n..b\r\n", "a\n..b\r\n", -1, BodyEnd},
		{"LF dot text", Body{}, "a\n.b\r\n.\r\n", "a\r\n..b\r\n", "a\r\n.b\r\n", -1, BodyEnd},
		{"stuffed, ended by LF", Body{}, "..\na\r\n.\r\n", "..\r\na\r\n", ".\r\na\r\n", -1, BodyEnd},
		{"CRLF dot LF dot CRLF", Body{}, "\r\n.\n.\r\n", "\r\n..\r\n..\r\n", "\r\n.\r\n.\r\n", -1, BodyMore},

		{"bare CR", Body{}, "a\rb\r\n.\r\n", "a b\r\n", "a b\r\n", -1, BodyEnd},
		{"CR CRLF", Body{}, "a\r\r\n.\r\n", "a \r\n", "a \r\n", -1, BodyEnd},
		{"CR dot CR", Body{}, "a\r.\rb\r\n.\r\n", "a . b\r\n", "a . b\r\n", -1, BodyEnd},
		{"CRLF dot CR", Body{}, "a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n", "a\r\n b\r\n", -1, BodyEnd},
		{"CRLF dot CR CRLF", Body{}, "\r\n.\r\r\nb\r\n.\r\n", "\r\n \r\nb\r\n", "\r\n \r\nb\r\n", -1, BodyEnd},
		{"LF CR dot", Body{}, "a\n\r.\r\n.\r\n", "a\r\n .\r\n", "a\r\n .\r\n", -1, BodyEnd},
		{"CR at the end of input", Body{}, "a\r", "a", "a", -1, BodyMore},
		{"dot at the end of input", Body{}, "a\r\n.", "a\r\n", "a\r\n", -1, BodyMore},
		{"dot CR at the end of input", Body{}, "a\r\n.\r", "a\r\n", "a\r\n", -1, BodyMore},

		{"NUL in a line", Body{}, "a\x00b\r\n.\r\n", "ab\r\n", "ab\r\n", -1, BodyEnd},
		{"dot NUL", Body{}, "a\r\n.\x00\r\n.\r\n", "a\r\n\r\n", "a\r\n\r\n", -1, BodyEnd},
		{"dot NUL dot", Body{}, ".\x00.\r\n.\r\n", "..\r\n", ".\r\n", -1, BodyEnd},
		{"dot NUL text", Body{}, ".\x00a\r\n.\r\n", "a\r\n", "a\r\n", -1, BodyEnd},
		{"NUL dot", Body{}, "\x00.\r\n.\r\n", "..\r\n", ".\r\n", -1, BodyEnd},
		{"NUL dot NUL", Body{}, "a\r\n\x00.\x00\r\n.\r\n", "a\r\n..\r\n", "a\r\n.\r\n", -1, BodyEnd},
		{"NUL dot dot", Body{}, "\x00..\r\n.\r\n", "...\r\n", "..\r\n", -1, BodyEnd},
		{"CR NUL LF", Body{}, "a\r\x00\n.\r\n", "a \r\n..\r\n", "a \r\n.\r\n", -1, BodyMore},
		{"dot CR NUL LF", Body{}, ".\r\x00\nb\r\n.\r\n", " \r\nb\r\n", " \r\nb\r\n", -1, BodyEnd},
		{"dot NUL LF", Body{}, ".\x00\nb\r\n.\r\n", "\r\nb\r\n", "\r\nb\r\n", -1, BodyEnd},

		{"reject: clean", reject, "a\r\n.\r\n", "a\r\n", "a\r\n", -1, BodyEnd},
		{"reject: LF", reject, "a\nb", "a", "a", 2, BodyBare},
		{"reject: CR", reject, "a\rb", "a", "a", 2, BodyBare},
		{"reject: dot LF", reject, "\r\n.\nb", "\r\n", "\r\n", 4, BodyBare},
		{"reject: dot CR", reject, "\r\n.\rb", "\r\n", "\r\n", 4, BodyBare},
		{"reject: CR NUL", reject, "a\r\x00\n", "a", "a", 2, BodyBare},

		{"pass: LF and CR", pass, "a\nb\rc\r\n.\r\n", "a\nb\rc\r\n", "a\nb\rc\r\n", -1, BodyEnd},
		{"pass: LF dot LF", pass, "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "a\n.\nb\r\n", -1, BodyEnd},
		{"pass: LF dot CRLF", pass, "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "a\n.\r\nb\r\n", -1, BodyEnd},
		{"pass: dot LF", pass, ".\nb\r\n.\r\n", "\nb\r\n", "\nb\r\n", -1, BodyEnd},
		{"pass: dot CR", pass, ".\rb\r\n.\r\n", "\rb\r\n", "\rb\r\n", -1, BodyEnd},

		{"no NUL: clean", noNUL, "a\r\n.\r\n", "a\r\n", "a\r\n", -1, BodyEnd},
		{"no NUL: in a line", noNUL, "a\x00b\r\n.\r\n", "a", "a", 2, BodyNUL},
		{"no NUL: behind a dot", noNUL, ".\x00\r\n.\r\n", "", "", 2, BodyNUL},
		{"no NUL: behind CR", noNUL, "a\r\x00", "a ", "a ", 3, BodyNUL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.body
			n, wire, spool, ev := body.Next([]byte(tt.in), nil, nil)
			want := tt.n
			if want < 0 {
				want = len(tt.in)
			}
			if string(wire) != tt.wire || string(spool) != tt.spool || n != want || ev != tt.ev {
				t.Errorf("%q:\n got wire %q, spool %q, n %d, event %d\nwant wire %q, spool %q, n %d, event %d",
					tt.in, wire, spool, n, ev, tt.wire, tt.spool, want, tt.ev)
			}
			checkCuts(t, tt.body, []byte(tt.in), []byte{1})
		})
	}
}

func TestBodyNoSpool(t *testing.T) {
	body := Body{NoSpool: true}
	_, wire, spool, ev := body.Next([]byte("a\n.\nb\rc\x00\r\n..\r\n.\r\n"), nil, nil)
	if string(wire) != "a\r\n..\r\nb c\r\n..\r\n" || spool != nil || ev != BodyEnd {
		t.Errorf("wire %q, spool %q, event %d", wire, spool, ev)
	}
}

func TestBodySpan(t *testing.T) {
	tests := []struct {
		in string
		n  int
	}{
		{"", 0},
		{"abc", 3},
		{"a\r\nb\r\n", 6},
		{"a\r\nb\r\n.", 6},
		{"a\r\n..", 3},
		{"a\r", 1},
		{"a\nb", 1},
		{"a\rb", 1},
		{"a\x00", 1},
		{".", 0},
		{"a.b\r\n\r\nc", 8},
	}
	for _, tt := range tests {
		var body, other Body
		in := []byte(tt.in)
		n := body.Span(in)
		if n != tt.n {
			t.Errorf("Span(%q) = %d, want %d", tt.in, n, tt.n)
		}
		if _, wire, spool, _ := other.Next(in[:n], nil, nil); string(wire) != tt.in[:n] || string(spool) != tt.in[:n] || other != body {
			t.Errorf("Span(%q) = %d, but Next makes wire %q, spool %q of it", tt.in, n, wire, spool)
		}
	}
	held := Body{}
	held.Next([]byte("a\r"), nil, nil)
	if n := held.Span([]byte("\nb")); n != 0 {
		t.Errorf("Span = %d with a CR held back, want 0", n)
	}
}

// result is all that reading one message tells.
type result struct {
	wire, spool string
	n           int
	ev          BodyEvent
}

// readBody gives in to a copy of body in pieces, whose lengths cuts gives, over
// and over. Every second piece is offered to Span first.
func readBody(t *testing.T, body Body, in, cuts []byte) result {
	t.Helper()
	var wire, spool []byte
	var r result
	for i := 0; r.n < len(in) && r.ev == BodyMore; i++ {
		piece := in[r.n:]
		if len(cuts) > 0 {
			piece = piece[:min(len(piece), max(1, int(cuts[i%len(cuts)])))]
		}
		if i%2 == 1 {
			n := body.Span(piece)
			wire, spool = append(wire, piece[:n]...), append(spool, piece[:n]...)
			r.n += n
			piece = piece[n:]
		}
		before, beforeSpool := len(wire), len(spool)
		var n int
		n, wire, spool, r.ev = body.Next(piece, wire, spool)
		if grown := max(len(wire)-before, len(spool)-beforeSpool); grown > 2*len(piece)+2 {
			t.Errorf("%d octets became %d", len(piece), grown)
		}
		if r.ev == BodyMore && n != len(piece) {
			t.Fatalf("no event, but %d of %d octets consumed", n, len(piece))
		}
		r.n += n
	}
	r.wire, r.spool = string(wire), string(spool)
	return r
}

func checkCuts(t *testing.T, body Body, in, cuts []byte) result {
	t.Helper()
	whole := readBody(t, body, in, nil)
	if cut := readBody(t, body, in, cuts); cut != whole {
		t.Errorf("%q cut by %v:\n got %#v\nwant %#v", in, cuts, cut, whole)
	}
	return whole
}

// slowBody reads a message line by line, as wire.md's rules say it in words, for
// NormalizeBare and StripNUL. It returns false if in does not end the message.
func slowBody(in string) (result, bool) {
	var wire, spool strings.Builder
	n, afterCRLF := 0, true
	for {
		lf := strings.IndexByte(in[n:], '\n')
		if lf < 0 {
			return result{}, false
		}
		content, crlf := strings.CutSuffix(in[n:n+lf], "\r")
		n += lf + 1
		if content == "." && afterCRLF && crlf {
			return result{wire.String(), spool.String(), n, BodyEnd}, true
		}
		text := content
		if afterCRLF && len(content) > 1 && content[0] == '.' || !afterCRLF && strings.HasPrefix(content, "..") {
			text = text[1:]
		}
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", " "), "\x00", "")
		spool.WriteString(text + "\r\n")
		if strings.HasPrefix(text, ".") {
			wire.WriteByte('.')
		}
		wire.WriteString(text + "\r\n")
		afterCRLF = crlf
	}
}

// A server reads the text of a message from what it is sent, and returns it with
// CRLF line ends and how many octets it took for it; -1 if it saw no end.
type server struct {
	name string
	read func(string) (string, int)
}

// servers are the ways mail servers have been seen to read a message.
var servers = []server{
	{"strict", func(s string) (string, int) {
		return readLines(s, cutCRLF, plainDot)
	}},
	{"LF-lenient", func(s string) (string, int) {
		return readLines(s, cutLF, plainDot)
	}},
	{"CR-lenient", func(s string) (string, int) {
		return readLines(s, func(s string) (line string, n int) {
			i := strings.IndexAny(s, "\r\n")
			if i < 0 {
				return "", 0
			}
			if strings.HasPrefix(s[i:], "\r\n") {
				return s[:i], i + 2
			}
			return s[:i], i + 1
		}, plainDot)
	}},
	{"NUL-truncating", func(s string) (string, int) {
		return readLines(s, func(s string) (line string, n int) {
			line, n = cutLF(s)
			line, _, _ = strings.Cut(line, "\x00")
			return line, n
		}, plainDot)
	}},
	{"blank-trimming", func(s string) (string, int) {
		return readLines(s, cutLF, func(line string) (string, bool) {
			return strings.TrimPrefix(line, "."), strings.TrimRight(line, " \t\r") == "."
		})
	}},
	{"two-dots-only", func(s string) (string, int) {
		return readLines(s, cutCRLF, func(line string) (string, bool) {
			if strings.HasPrefix(line, "..") {
				return line[1:], false
			}
			return line, line == "."
		})
	}},
}

func cutCRLF(s string) (line string, n int) {
	i := strings.Index(s, "\r\n")
	if i < 0 {
		return "", 0
	}
	return s[:i], i + 2
}

func cutLF(s string) (line string, n int) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return "", 0
	}
	return strings.TrimSuffix(s[:i], "\r"), i + 1
}

func plainDot(line string) (text string, end bool) {
	return strings.TrimPrefix(line, "."), line == "."
}

func readLines(s string, next func(string) (string, int), dot func(string) (string, bool)) (string, int) {
	var text strings.Builder
	for at := 0; ; {
		line, n := next(s[at:])
		if n == 0 {
			return text.String(), -1
		}
		at += n
		line, end := dot(line)
		if end {
			return text.String(), at
		}
		text.WriteString(line + "\r\n")
	}
}

func bodySeeds(f *testing.F) {
	for _, end := range []string{
		"\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n",
		"\r\n.\r\x00\n", "\r\x00\n.\r\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\n\r.\n\r", "\r\n..\n", "\n..\r\n",
		"\n..head\r\n", "\n...\n", "\n.\x00.\n", "\n\x00..\n", "\n..\r\n.\r\n",
		"\r\n.\n.\r\n", "\r\n.\r.\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\x00\n.\n\x00", "\r\n.\x00\n", "\r\n\x00\x00..\r\n",
	} {
		f.Add([]byte("Subject: a\r\n\r\nb"+end+"MAIL FROM:<x@example.org>\r\nDATA\r\nc\r\n.\r\n"), []byte{1})
		f.Add([]byte(end), []byte{2, 1, 5})
	}
}

// FuzzBody holds the machine against slowBody and against itself, cut and read again.
func FuzzBody(f *testing.F) {
	bodySeeds(f)
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		for _, body := range []Body{{}, {Bare: RejectBare}, {Bare: PassBare}, {NUL: RejectNUL}, {Bare: RejectBare, NUL: RejectNUL}} {
			checkCuts(t, body, in, cuts)
		}
		in = append(bytes.Clone(in), "\r\n.\r\n.\r\n"...)
		got := checkCuts(t, Body{}, in, cuts)
		want, ok := slowBody(string(in))
		if !ok {
			t.Fatalf("%q does not end", in)
		}
		if got != want {
			t.Fatalf("%q:\n got %#v\nwant %#v", in, got, want)
		}
		again := readBody(t, Body{Bare: RejectBare, NUL: RejectNUL}, []byte(got.wire+endOfData), cuts)
		if again.wire != got.wire || again.spool != got.spool || again.ev != BodyEnd || again.n != len(got.wire+endOfData) {
			t.Fatalf("%q read again:\n got %#v\nwant %#v", got.wire, again, got)
		}
	})
}

// FuzzServers proves that what goes out is one message to every kind of server,
// and is the message that was spooled.
func FuzzServers(f *testing.F) {
	bodySeeds(f)
	f.Fuzz(func(t *testing.T, in, _ []byte) {
		body := Body{}
		in = append(bytes.Clone(in), "\r\n.\r\n.\r\n"...)
		n, wire, spool, ev := body.Next(in, nil, nil)
		if ev != BodyEnd {
			t.Fatalf("%q does not end", in)
		}
		for _, s := range servers {
			if _, n := s.read(string(wire)); n >= 0 {
				t.Errorf("%q: %s server ends the message before it is released: %q", in, s.name, wire[:n])
			}
			sent := string(wire) + endOfData
			if text, n := s.read(sent); text != string(spool) || n != len(sent) {
				t.Errorf("%q: %s server takes %q (%d of %d octets), scanned was %q", in, s.name, text, n, len(sent), spool)
			}
		}
		if _, end := servers[0].read(string(in)); end != n {
			t.Errorf("%q: the message ends at %d, for a strict server at %d", in, n, end)
		}
	})
}

func bodyText(line string, size int) []byte {
	return []byte(strings.Repeat(line, size/len(line)))
}

var bodyTexts = []struct {
	name string
	line string
}{
	{"text", "The quick brown fox jumps over the lazy dog, and then once more to fill line.\r\n"},
	{"base64", "SGVsbG8gd29ybGQhIFRoaXMgaXMgYSBsb25nIGxpbmUgb2YgYmFzZTY0IGVuY29kZWQgdGV4dC4u\r\n"},
	{"short", "ab\r\n"},
	{"dots", "..\r\n"},
	{"bareLF", "text with a bare line feed\n"},
	{"bareCR", "\rx"},
	{"onlyLF", "\n"},
	{"NUL", "\x00x"},
	{"oneline", strings.Repeat("x", 1<<20)},
}

// BenchmarkBody feeds 64 KiB at a time, as a session does with a fast client.
func BenchmarkBody(b *testing.B) {
	const chunk = 64 << 10
	wire, spool := make([]byte, 0, 3*chunk), make([]byte, 0, 3*chunk)
	for _, tt := range bodyTexts {
		in := bodyText(tt.line, 1<<20)
		b.Run("Next/"+tt.name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				body := Body{}
				for rest := in; len(rest) > 0; {
					n, _, _, _ := body.Next(rest[:min(len(rest), chunk)], wire, spool)
					rest = rest[n:]
				}
			}
		})
	}
	in := bodyText(bodyTexts[0].line, 1<<20)
	b.Run("Span/text", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			body := Body{}
			for rest := in; len(rest) > 0; {
				piece := rest[:min(len(rest), chunk)]
				n := body.Span(piece)
				if n < len(piece) {
					m, _, _, _ := body.Next(piece[n:], wire, spool)
					n += m
				}
				rest = rest[n:]
			}
		}
	})
}

func TestBodyAllocs(t *testing.T) {
	in := []byte("a line\r\n..dot\r\nbare\nLF\rCR\x00NUL\r\n.\r\n")
	wire, spool := make([]byte, 0, 128), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		body := Body{}
		body.Span(in)
		body.Next(in, wire, spool)
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
