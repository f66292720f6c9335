package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	tests := []struct {
		in   string
		code int
		last bool
		text string
		line string // "=" means as in
	}{
		{"220 mx.example.org ESMTP", 220, true, "mx.example.org ESMTP", "="},
		{"250-PIPELINING", 250, false, "PIPELINING", "="},
		{"250 ", 250, true, "", "="},
		{"250-", 250, false, "", "="},
		{"354", 354, true, "", "="},
		{"599 x", 599, true, "x", "="},
		{"200 x", 200, true, "x", "="},
		{"250  two blanks ", 250, true, " two blanks ", "="},
		{"250 a\rb\x00c", 250, true, "a b c", "250 a b c"},
		{"250 a\r", 250, true, "a ", "250 a "},
		{"250 \xc3\xa9\tx", 250, true, "\xc3\xa9\tx", "="},
	}
	for _, tt := range tests {
		r, err := ParseReply([]byte(tt.in))
		want := tt.line
		if want == "=" {
			want = tt.in
		}
		if err != nil || r.Code != tt.code || r.Last != tt.last || string(r.Text) != tt.text || string(r.Line) != want {
			t.Errorf("%q: got %d, %v, text %q, line %q, %v", tt.in, r.Code, r.Last, r.Text, r.Line, err)
		}
	}
}

func TestParseReplyRefuses(t *testing.T) {
	for _, in := range []string{
		"", "2", "25", "25 ok", "2500 ok", "250ok", "250\tok", "250+ok", " 250 ok", "-50 ok", "abc", "100 x", "600 x", "000", "2a0 x", "25\x00 x",
		"250\r", "EHLO x", "\xd9\xa2\xd9\xa5\xd9\xa0 x",
	} {
		if r, err := ParseReply([]byte(in)); !errors.Is(err, ErrReplySyntax) {
			t.Errorf("%q: got %q, %v, want %v", in, r.Line, err, ErrReplySyntax)
		}
	}
}

func TestReplyScanner(t *testing.T) {
	long := strings.Repeat("x", ReplyLimit-6)
	tests := []struct {
		name string
		in   string
		want []string
		err  error
	}{
		{"nothing", "", nil, nil},
		{"half a line", "250 o", nil, nil},
		{"one", "250 ok\r\n", []string{"250 first last ok"}, nil},
		{"LF", "250 ok\n", []string{"250 first last ok"}, nil},
		{"two replies", "250 a\r\n550 b\r\n", []string{"250 first last a", "550 first last b"}, nil},
		{"three lines", "250-a\r\n250-b\n250 c\r\n", []string{"250 first a", "250 b", "250 last c"}, nil},
		{"lines, then another", "250-a\r\n250 b\r\n354 c\r\n", []string{"250 first a", "250 last b", "354 first last c"}, nil},
		{"another code within", "250-a\r\n251 b\r\n", []string{"250 first a"}, ErrReplyCode},
		{"421 within", "250-a\r\n421 b\r\n", []string{"250 first a", "421 first last b"}, nil},
		{"421 of two lines within", "250-a\r\n421-b\r\n421 c\r\n", []string{"250 first a", "421 first b", "421 last c"}, nil},
		{"421 interrupted", "421-a\r\n250 b\r\n", []string{"421 first a"}, ErrReplyCode},
		{"empty line", "250-a\r\n\r\n250 b\r\n", []string{"250 first a"}, ErrReplySyntax},
		{"at the limit", "250 " + long + "\r\n", []string{"250 first last " + long}, nil},
		{"over the limit", "250 " + long + "x\r\n", nil, ErrReplyTooLong},
		{"over the limit, no end", "250 " + long + "xx", nil, ErrReplyTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, cuts := range [][]byte{nil, {1}} {
				if got, err := scanReplies([]byte(tt.in), cuts); !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
					t.Errorf("got %.60q, %v, want %.60q, %v", got, err, tt.want, tt.err)
				}
			}
		})
	}
}

// A challenge may be longer than other replies, and nothing else while AUTH is open.
func TestReplyScannerAuth(t *testing.T) {
	line := func(code string, n int) []byte {
		return []byte(code + " " + strings.Repeat("x", n-len(code)-3) + "\r\n")
	}
	for _, tt := range []struct {
		auth bool
		code string
		n    int
		err  error
	}{
		{true, "334", AuthLimit, nil},
		{true, "334", AuthLimit + 1, ErrReplyTooLong},
		{true, "235", ReplyLimit, nil},
		{true, "235", ReplyLimit + 1, ErrReplyTooLong},
		{false, "334", ReplyLimit, nil},
		{false, "334", ReplyLimit + 1, ErrReplyTooLong},
	} {
		s := ReplyScanner{Auth: tt.auth}
		if _, n, err := s.Next(line(tt.code, tt.n)); err != tt.err || err == nil && n != tt.n {
			t.Errorf("%v: %d, %v", tt, n, err)
		}
	}
}

func TestReplyScannerOpen(t *testing.T) {
	var s ReplyScanner
	if s.Open() {
		t.Error("open before the first line")
	}
	s.Next([]byte("250-a\r\n"))
	if !s.Open() {
		t.Error("not open within a reply")
	}
	s.Next([]byte("250 b\r\n"))
	if s.Open() {
		t.Error("open behind a reply")
	}
}

func scanReplies(in, cuts []byte) (got []string, err error) {
	var s ReplyScanner
	var buf []byte
	for i := 0; len(in) > 0; i++ {
		n := len(in)
		if len(cuts) > 0 {
			n = min(n, max(1, int(cuts[i%len(cuts)])))
		}
		buf = append(buf, in[:n]...)
		in = in[n:]
		for {
			r, n, err := s.Next(buf)
			if err != nil {
				return got, err
			}
			if n == 0 {
				break
			}
			words := fmt.Sprint(r.Code)
			if r.First {
				words += " first"
			}
			if r.Last {
				words += " last"
			}
			got = append(got, words+" "+string(r.Text))
			buf = buf[n:]
		}
	}
	return got, nil
}

// FuzzReplyScanner checks that cutting changes nothing, and that replies as
// forwarded read the same again, for clients that end lines at CR or NUL too.
func FuzzReplyScanner(f *testing.F) {
	f.Add([]byte("220 a\r\n250-b\n250-SIZE 1\r\r\n250 c\x00\r\n"), []byte{1})
	f.Add([]byte("250-a\r250 b\r\n250 c\r\n"), []byte{3, 1})
	f.Add([]byte("250-a\r\n421 b\r\n"), []byte{7})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		whole, err := scanReplies(bytes.Clone(in), nil)
		cut, cutErr := scanReplies(bytes.Clone(in), cuts)
		if !slices.Equal(whole, cut) || !errors.Is(cutErr, err) {
			t.Errorf("%q cut by %v:\n got %q, %v\nwant %q, %v", in, cuts, cut, cutErr, whole, err)
		}
		var out []byte
		var s ReplyScanner
		lines := 0
		for rest := bytes.Clone(in); ; lines++ {
			r, n, err := s.Next(rest)
			if err != nil || n == 0 {
				break
			}
			out = append(append(out, r.Line...), "\r\n"...)
			rest = rest[n:]
		}
		again, err := scanReplies(bytes.Clone(out), nil)
		if err != nil && !errors.Is(err, ErrReplyTooLong) || err == nil && !slices.Equal(again, whole) {
			t.Errorf("%q:\n got %q, %v\nwant %q", out, again, err, whole)
		}
		if n := bytes.Count(out, []byte("\r")); n != lines || bytes.IndexByte(out, 0) >= 0 {
			t.Errorf("%q: %d lines went out as %q", in, lines, out)
		}
	})
}

var benchReplies = []byte("220 mx.example.org ESMTP\r\n250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n" +
	"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 DSN\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n" +
	"250 2.0.0 Ok: queued as 1234567890\r\n")

func readReplies(buf, out []byte) (lines int) {
	var s ReplyScanner
	offer := Offer{NoChunking: true, NoStartTLS: true, SizeLimit: 5000}
	for len(buf) > 0 {
		r, n, _ := s.Next(buf)
		offer.Append(out, &r)
		buf = buf[n:]
		lines++
	}
	return lines
}

func TestReplyAllocs(t *testing.T) {
	out := make([]byte, 0, ReplyLimit)
	if n := testing.AllocsPerRun(100, func() { readReplies(benchReplies, out) }); n != 0 {
		t.Errorf("%v allocations for %d lines", n, readReplies(benchReplies, out))
	}
}

func BenchmarkReply(b *testing.B) {
	lines := 0
	b.SetBytes(int64(len(benchReplies)))
	b.ReportAllocs()
	for b.Loop() {
		var s ReplyScanner
		lines = 0
		for buf := benchReplies; len(buf) > 0; lines++ {
			_, n, _ := s.Next(buf)
			buf = buf[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}

func BenchmarkOffer(b *testing.B) {
	out := make([]byte, 0, ReplyLimit)
	lines := readReplies(benchReplies, out)
	b.ReportAllocs()
	for b.Loop() {
		readReplies(benchReplies, out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}
