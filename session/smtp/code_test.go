package smtp

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendReply(t *testing.T) {
	tests := []struct {
		code       Code
		enhanced   bool
		name, text string
		want       string
	}{
		{CodeRefused, true, "gate.example.org", "virus found (Eicar)", "550 5.7.1 gate.example.org virus found (Eicar)"},
		{CodeRefused, false, "gate.example.org", "virus found (Eicar)", "550 gate.example.org virus found (Eicar)"},
		{CodeOK, true, "", "OK", "250 2.0.0 OK"},
		{CodeGreeting, true, "gate", "SMTP", "220 gate SMTP"},
		{CodeTakeover, true, "gate", "100% \xc3\xa9", "451 4.3.2 gate 100% \xc3\xa9"},
		{CodeTakeover, false, "ga\rte", "a\r\n250 ok\x00\x7f", "451 ga#te a##250 ok##"},
		{CodeBye, false, "", "", "221 "},
	}
	for _, tt := range tests {
		if got := string(AppendReply([]byte("^"), tt.code, tt.enhanced, tt.name, tt.text, "")); got != "^"+tt.want+"\r\n" {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestAppendReplyCut(t *testing.T) {
	for pad := range 4 {
		got := AppendReply([]byte("^"), CodeOK, false, "", strings.Repeat("x", pad)+strings.Repeat("\u20ac", 300), "")[1:]
		if len(got) > OwnReplyLimit || len(got) < OwnReplyLimit-2 || !utf8.Valid(got) || !strings.HasSuffix(string(got), "\r\n") {
			t.Errorf("%d octets: %q", len(got), got)
		}
	}
	const id = "1700000000.7"
	for pad := range 8 {
		got := AppendReply(nil, CodeRefused, false, "", strings.Repeat("x", 480+pad)+"\u20ac\u20ac", id)
		if len(got) > OwnReplyLimit || !utf8.Valid(got) || !strings.HasSuffix(string(got), " ("+id+")\r\n") {
			t.Errorf("%d octets: %q", len(got), got)
		}
	}
	if got := AppendReply(nil, CodeOK, false, "", strings.Repeat("\x80", 1000), ""); len(got) > OwnReplyLimit || len(got) < OwnReplyLimit-3 {
		t.Errorf("%d octets", len(got))
	}
}

// The classes of the two codes must agree: RFC 3463, 2.
func TestCodes(t *testing.T) {
	for c := CodeGreeting; c <= CodeRejected; c++ {
		number := strconv.Itoa(c.Number())
		if enhanced := codes[c].enhanced; enhanced != "" && enhanced[0] != number[0] {
			t.Errorf("%s goes with %s", number, enhanced)
		}
		r, err := ParseReply(AppendReply(nil, c, true, "name", "text", ""))
		if err != nil || r.Code != c.Number() {
			t.Errorf("%s reads as %d, %v", number, r.Code, err)
		}
	}
}

func TestAppendAllocs(t *testing.T) {
	buf := make([]byte, 0, 4*OwnReplyLimit)
	in := []byte("a\r\nb c\xff")
	if n := testing.AllocsPerRun(100, func() {
		AppendReply(buf, CodeRefused, true, "gate.example.org", "virus found", "1700000000.7")
		AppendPrintable(buf, in)
		AppendHeader(buf, in)
		AppendXtext(buf, in)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
