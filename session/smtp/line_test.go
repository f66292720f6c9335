package smtp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLineScanner(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name string
		scan LineScanner
		in   string
		line string
		n    int
		st   LineStatus
	}{
		{"empty", LineScanner{}, "", "", 0, LineMore},
		{"no end", LineScanner{}, "NOOP", "", 0, LineMore},
		{"half an end", LineScanner{}, "NOOP\r", "", 0, LineMore},
		{"line", LineScanner{}, "NOOP\r\nQUIT\r\n", "NOOP", 6, LineOK},
		{"empty line", LineScanner{}, "\r\n", "", 2, LineOK},
		{"tab", LineScanner{}, "MAIL\tFROM:<>\r\n", "MAIL\tFROM:<>", 14, LineOK},
		{"8 bit", LineScanner{}, "MAIL FROM:<\xc3\xa9>\r\n", "MAIL FROM:<\xc3\xa9>", 16, LineOK},
		{"bare LF", LineScanner{}, "NOOP\nQUIT\n", "NOOP", 5, LineOK},
		{"bare LF alone", LineScanner{}, "\n", "", 1, LineOK},
		{"bare LF, reject", LineScanner{Bare: RejectBare}, "NOOP\nQUIT\n", "NOOP", 5, LineBare},
		{"bare LF, pass", LineScanner{Bare: PassBare}, "NOOP\nQUIT\n", "NOOP", 5, LineOK},
		{"bare CR", LineScanner{}, "NOOP\rQUIT\r\n", "NOOP\rQUIT", 11, LineControl},
		{"bare CR at the end", LineScanner{}, "NOOP\r\r\n", "NOOP\r", 7, LineControl},
		{"bare CR, reject", LineScanner{Bare: RejectBare}, "\x00NOOP\r\r\n", "\x00NOOP\r", 8, LineBare},
		{"bare CR, pass", LineScanner{Bare: PassBare}, "NOOP\r\r\n", "NOOP\r", 7, LineControl},
		{"NUL", LineScanner{}, "NOOP\x00\r\n", "NOOP\x00", 7, LineControl},
		{"escape", LineScanner{}, "\x1b[2J\r\n", "\x1b[2J", 6, LineControl},
		{"delete", LineScanner{}, "NOOP\x7f\r\n", "NOOP\x7f", 7, LineControl},
		{"vertical tab", LineScanner{}, "MAIL\vFROM:<>\r\n", "MAIL\vFROM:<>", 14, LineControl},
		{"at the limit", LineScanner{}, x(2046) + "\r\n", x(2046), 2048, LineOK},
		{"over the limit", LineScanner{}, x(2047) + "\r\n", "", 2049, LineTooLong},
		{"bare LF, at the limit", LineScanner{}, x(2046) + "\n", x(2046), 2047, LineOK},
		{"bare LF, over the limit once it is CRLF", LineScanner{}, x(2047) + "\n", "", 2048, LineTooLong},
		{"over the limit, no end", LineScanner{}, x(2048), "", 2048, LineMore},
		{"below the limit, no end", LineScanner{}, x(2047), "", 0, LineMore},
		{"over the limit, reject", LineScanner{Bare: RejectBare}, x(5000) + "\n", "", 5001, LineBare},
		{"AUTH", LineScanner{}, "auth plain " + x(12275) + "\r\n", "auth plain " + x(12275), 12288, LineOK},
		{"AUTH over its limit", LineScanner{}, "AUTH PLAIN " + x(12276) + "\r\n", "", 12289, LineTooLong},
		{"AUTH behind blanks", LineScanner{}, " \tAUTH\t" + x(3000) + "\r\n", " \tAUTH\t" + x(3000), 3009, LineOK},
		{"not AUTH", LineScanner{}, "AUTHX " + x(3000) + "\r\n", "", 3008, LineTooLong},
		{"AUTH, not complete", LineScanner{}, "AUTH PLAIN " + x(3000), "", 0, LineMore},
		{"response", LineScanner{Limit: AuthLimit}, x(12286) + "\r\n", x(12286), 12288, LineOK},
		{"response over the limit", LineScanner{Limit: AuthLimit}, x(12287) + "\r\n", "", 12289, LineTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line, n, st := tt.scan.Next([]byte(tt.in))
			if string(line) != tt.line || n != tt.n || st != tt.st {
				t.Errorf("got %.40q, %d, %d, want %.40q, %d, %d", line, n, st, tt.line, tt.n, tt.st)
			}
		})
	}
}

func TestLineScannerReportsLongLineOnce(t *testing.T) {
	in := strings.Repeat("x", 100_000) + "\r\nNOOP\r\n"
	got := scanLines(t, LineScanner{}, []byte(in), []byte{200})
	if want := []string{fmt.Sprint(LineTooLong, ` ""`), fmt.Sprint(LineOK, ` "NOOP"`)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// scanLines reads all of in, arriving in pieces whose lengths cuts gives, over
// and over, as a session would with a buffer that keeps what is not consumed.
func scanLines(t *testing.T, s LineScanner, in, cuts []byte) []string {
	t.Helper()
	var got []string
	var buf []byte
	for i := 0; len(in) > 0; i++ {
		n := len(in)
		if len(cuts) > 0 {
			n = min(n, max(1, int(cuts[i%len(cuts)])))
		}
		buf = append(buf, in[:n]...)
		in = in[n:]
		for len(buf) > 0 {
			line, n, st := s.Next(buf)
			buf = buf[n:]
			if st == LineMore {
				if len(buf) >= AuthLimit {
					t.Fatalf("%d octets kept back", len(buf))
				}
				break
			}
			got = append(got, fmt.Sprintf("%d %q", st, line))
		}
	}
	return got
}

func FuzzLineScanner(f *testing.F) {
	f.Add([]byte("EHLO a\r\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\r\rDATA\r\n"), []byte{1}, false)
	f.Add([]byte(strings.Repeat("x", 2047)+"\r\nQUIT\r\n"), []byte{255}, true)
	f.Add([]byte("AUTH "+strings.Repeat("x", 12282)+"\r\nQUIT\n"), []byte{255, 7}, true)
	f.Add([]byte(strings.Repeat(" ", 2044)+"AUTH x\r\nQUIT\n"), []byte{200, 1}, false)
	f.Fuzz(func(t *testing.T, in, cuts []byte, long bool) {
		if long {
			in = append(bytes.Repeat([]byte("A"), 2040), in...)
		}
		for _, bare := range []BareNewline{NormalizeBare, RejectBare, PassBare} {
			s := LineScanner{Bare: bare}
			whole := scanLines(t, s, in, nil)
			if cut := scanLines(t, s, in, cuts); !slices.Equal(cut, whole) {
				t.Errorf("%q cut by %v:\n got %q\nwant %q", in, cuts, cut, whole)
			}
			if lf := bytes.Count(in, []byte("\n")); len(whole) != lf {
				t.Errorf("%q: %d events for %d lines", in, len(whole), lf)
			}
		}
	})
}
