package smtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseCommand(t *testing.T) {
	tests := []struct {
		in   string
		verb Verb
		line string // "=" means as in
		arg  string
	}{
		{"", Other, "=", ""},
		{" \t ", Other, "", ""},
		{"HELO a", HELO, "=", "a"},
		{"ehlo [127.0.0.1]", EHLO, "=", "[127.0.0.1]"},
		{"EHLO", EHLO, "=", ""},
		{"EHLO a b", EHLO, "=", "a b"},
		{"EHLO a  b", EHLO, "=", "a  b"},
		{"MAIL FROM:<a@b>", MAIL, "=", "<a@b>"},
		{"MaIl fRoM: <a@b>", MAIL, "=", " <a@b>"},
		{"MAIL FROM:<a@b> SIZE=1  BODY=8BITMIME", MAIL, "=", "<a@b> SIZE=1  BODY=8BITMIME"},
		{"MAIL  FROM:<a@b>", MAIL, "MAIL FROM:<a@b>", "<a@b>"},
		{"MAIL\tFROM:<a@b>", MAIL, "MAIL FROM:<a@b>", "<a@b>"},
		{"MAIL \t \t FROM:<a@b>", MAIL, "MAIL FROM:<a@b>", "<a@b>"},
		{" MAIL FROM:<a@b>", MAIL, "MAIL FROM:<a@b>", "<a@b>"},
		{"\t mail \t from:<a@b> \t", MAIL, "mail from:<a@b>", "<a@b>"},
		{"MAIL FROM:\t<a@b>", MAIL, "MAIL FROM: <a@b>", " <a@b>"},
		{"MAIL FROM: \t <a@b>", MAIL, "MAIL FROM:   <a@b>", "   <a@b>"},
		{"MAIL FROM :<a@b>", MAIL, "=", "<a@b>"},
		{"MAIL FROM  : <a@b>", MAIL, "=", " <a@b>"},
		{"MAIL FROM <a@b>", MAIL, "=", "<a@b>"},
		{"MAIL FROM<a@b>", MAIL, "=", "<a@b>"},
		{"MAIL FROM", MAIL, "=", ""},
		{"MAIL FROM:", MAIL, "=", ""},
		{"MAIL FROM: ", MAIL, "MAIL FROM:", ""},
		{"MAIL", MAIL, "=", ""},
		{"MAIL <a@b>", MAIL, "=", "<a@b>"},
		{"MAIL FROMAGE:<a@b>", MAIL, "=", "FROMAGE:<a@b>"},
		{"MAIL TO:<a@b>", MAIL, "=", "TO:<a@b>"},
		{"RCPT TO:<a@b> NOTIFY=NEVER", RCPT, "=", "<a@b> NOTIFY=NEVER"},
		{"rcpt\t\tto: a@b", RCPT, "rcpt to: a@b", " a@b"},
		{"RCPT", RCPT, "=", ""},
		{"DATA", DATA, "=", ""},
		{"data ", DATA, "data", ""},
		{"DATA x", DATA, "=", "x"},
		{"BDAT 10 LAST", BDAT, "=", "10 LAST"},
		{"BDAT   10", BDAT, "BDAT 10", "10"},
		{"bdat10 LAST", BDAT, "=", "LAST"},
		{"BDA 10", Other, "=", "10"},
		{"RSET", RSET, "=", ""},
		{"QuIt", QUIT, "=", ""},
		{"NOOP", NOOP, "=", ""},
		{"AUTH PLAIN AGEAYg==", AUTH, "=", "PLAIN AGEAYg=="},
		{"STARTTLSX", Other, "=", ""},
		{"X-ANONYMOUSTLS", Masked, "=", ""},
		{"X-ANONYMOUSTLSX", Other, "=", ""},
		{"VERBS", Other, "=", ""},
		{"STARTTLS", STARTTLS, "=", ""},
		{"starttls\t", STARTTLS, "starttls", ""},
		{"XCLIENT ADDR=1.2.3.4", XCLIENT, "=", "ADDR=1.2.3.4"},
		{"XEXCH50 1 2", Masked, "=", "1 2"},
		{"BURL imap://x LAST", Masked, "=", "imap://x LAST"},
		{"VRFY  a", Other, "VRFY a", "a"},
		{"MAILFROM:<a@b>", Other, "=", ""},
		{"MAI FROM:<a@b>", Other, "=", "FROM:<a@b>"},
		{"DATAX", Other, "=", ""},
		{"\xc5\xbfTARTTLS", Other, "=", ""}, // U+017F folds to S in Unicode
		{"EHLO \xc3\xa9", EHLO, "=", "\xc3\xa9"},
		{strings.Repeat("X", 2000), Other, "=", ""},
	}
	for _, tt := range tests {
		cmd, err := ParseCommand([]byte(tt.in))
		want := tt.line
		if want == "=" {
			want = tt.in
		}
		if err != nil || cmd.Verb != tt.verb || string(cmd.Line) != want || string(cmd.Arg) != tt.arg {
			t.Errorf("%q: got %v, line %q, argument %q, %v; want %v, %q, %q",
				tt.in, cmd.Verb, cmd.Line, cmd.Arg, err, tt.verb, want, tt.arg)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	for _, in := range []string{
		"NOOP\x00", "\x00NOOP", "NOOP\rQUIT", "NO\nOP", "NOOP \x1b[2J", "NOOP\x7f", "MAIL\vFROM:<a@b>", "MAIL\fFROM:<a@b>",
		"MAIL FROM:<a\tb>", "MAIL FROM:<a@b>\tSIZE=1", "MAIL FROM\t:<a@b>", "EHLO a\tb", "AUTH PLAIN\tAGEAYg==",
	} {
		if cmd, err := ParseCommand([]byte(in)); !errors.Is(err, ErrControl) {
			t.Errorf("%q: got %q, %v, want %v", in, cmd.Line, err, ErrControl)
		}
	}
}

// FuzzParseCommand checks that a command as forwarded has one reading: it parses
// to itself, and servers that skip other blanks than we do find the same verb.
func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{
		"MAIL  FROM:<a@b>", " \tRCPT\tTO:\t<a@b>\t", "MAIL FROM : <a>", "mail from<a>", "DATA\x0b", "bdat 5 last", "", " ", "\xc5\xbfTARTTLS", "RCPT TO:  ",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		cmd, err := ParseCommand(bytes.Clone(in))
		if err != nil {
			return
		}
		if bytes.ContainsFunc(cmd.Line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q: control character in %q", in, cmd.Line)
		}
		if !bytes.HasSuffix(cmd.Line, cmd.Arg) {
			t.Errorf("%q: argument %q is no end of %q", in, cmd.Arg, cmd.Line)
		}
		again, err := ParseCommand(bytes.Clone(cmd.Line))
		if err != nil || again.Verb != cmd.Verb || !bytes.Equal(again.Line, cmd.Line) || !bytes.Equal(again.Arg, cmd.Arg) {
			t.Errorf("%q: %v %q %q, read again: %v %q %q, %v",
				in, cmd.Verb, cmd.Line, cmd.Arg, again.Verb, again.Line, again.Arg, err)
		}
		line := string(cmd.Line)
		first, _, _ := strings.Cut(line, " ")
		if fields := strings.Fields(line); len(fields) > 0 && first != fields[0] && isASCII(line) {
			t.Errorf("%q: a server that cuts at one blank sees %q, one that skips blanks %q", in, first, fields[0])
		}
		if want := lookupVerb([]byte(first)); want != cmd.Verb {
			t.Errorf("%q: a server that cuts at one blank sees %v, we saw %v", in, want, cmd.Verb)
		}
	})
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func TestVerbString(t *testing.T) {
	for v := HELO; v <= XCLIENT; v++ {
		if got := lookupVerb([]byte(strings.ToLower(v.String()))); got != v {
			t.Errorf("%v is read as %v", v, got)
		}
	}
	if Other.String() != "other" || Verb(200).String() != "invalid" {
		t.Errorf("got %q and %q", Other, Verb(200))
	}
}

var benchCommands = []byte("EHLO mail.example.org\r\nMAIL FROM:<alice@example.org> SIZE=12345 BODY=8BITMIME\r\n" +
	"RCPT TO:<bob@example.net> NOTIFY=FAILURE\r\nrcpt  to: <carol@example.net>\r\nDATA\r\nRSET\r\nNOOP\r\nQUIT\r\n")

func readCommands(buf []byte) (lines int) {
	var s LineScanner
	for len(buf) > 0 {
		line, n, _ := s.Next(buf)
		cmd, _ := ParseCommand(line)
		if cmd.Verb == MAIL || cmd.Verb == RCPT {
			_, params := Address(cmd.Arg)
			ParseSize(params)
		}
		buf = buf[n:]
		lines++
	}
	return lines
}

func TestCommandAllocs(t *testing.T) {
	buf := bytes.Clone(benchCommands)
	if n := testing.AllocsPerRun(100, func() { readCommands(buf) }); n != 0 {
		t.Errorf("%v allocations for %d commands", n, readCommands(buf))
	}
}

func BenchmarkCommand(b *testing.B) {
	buf := bytes.Clone(benchCommands)
	lines := readCommands(buf)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		readCommands(buf)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/command")
}
