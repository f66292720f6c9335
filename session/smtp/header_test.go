package smtp

import (
	"testing"
)

func TestHeader(t *testing.T) {
	const both = FieldMessageID | FieldSubject
	for text, want := range map[string][2]string{
		"Subject: a\r\nMessage-ID: <b@c>\r\n\r\nSubject: d\r\n":                                           {"<b@c>", "a"},
		"MESSAGE-ID:<b@c>\r\nX: Subject: no\r\nsubject:\r\n folded\r\n\tagain\r\nSubject: second\r\n\r\n": {"<b@c>", "folded\tagain"},
		"\r\nSubject: body\r\n":                {"", ""},
		"Subject:\r\n\r\n":                     {"", ""},
		"Subject: a":                           {"", ""}, // not known to be whole
		"Message-ID : no\r\nMessage-I: no\r\n": {"", ""},
		"Received: x\r\n Subject: no\r\nSubject: yes\n\nMessage-ID: body": {"", "yes"},
	} {
		for size := 1; size <= len(text)+1; size++ {
			h := Header{Want: both}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				h.Show([]byte(rest[:n]))
				rest = rest[n:]
			}
			if id, subject := string(h.Value(FieldMessageID)), string(h.Value(FieldSubject)); id != want[0] || subject != want[1] {
				t.Errorf("%q in pieces of %d: %q and %q", text, size, id, subject)
			}
		}
	}
	h := Header{Want: FieldMessageID}
	h.Show([]byte("Subject: a\r\nMessage-ID: <b@c>\r\n"))
	if h.Value(FieldSubject) != nil || string(h.Value(FieldMessageID)) != "<b@c>" {
		t.Errorf("%q and %q", h.Value(FieldSubject), h.Value(FieldMessageID))
	}
}

// FuzzHeader: what is found depends neither on how the text is cut, nor is it ever more
// than a field may have.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("Subject: a\r\n b\r\nMessage-ID: <b@c>\r\n\r\ntext"), uint8(3))
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		whole, parts := Header{Want: FieldMessageID | FieldSubject}, Header{Want: FieldMessageID | FieldSubject}
		whole.Show(text)
		for rest := text; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			parts.Show(rest[:n])
			rest = rest[n:]
		}
		for _, field := range []Fields{FieldMessageID, FieldSubject} {
			a, b := whole.Value(field), parts.Value(field)
			if string(a) != string(b) || len(a) > FieldLimit {
				t.Errorf("%q and %q", a, b)
			}
		}
	})
}

// TestHeaderAllocs: text behind a header costs nothing.
func TestHeaderAllocs(t *testing.T) {
	h := Header{Want: FieldMessageID}
	h.Show([]byte("Message-ID: <b@c>\r\n\r\n"))
	text := []byte("Subject: not any more\r\n")
	if n := testing.AllocsPerRun(100, func() { h.Show(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
