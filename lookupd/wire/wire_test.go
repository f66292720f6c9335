package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var (
	client4 = netip.MustParseAddrPort("192.0.2.10:49152")
	proxy4  = netip.MustParseAddrPort("192.0.2.1:9199")
	target4 = netip.MustParseAddrPort("198.51.100.25:25")
	client6 = netip.MustParseAddrPort("[2001:db8::10]:49152")
	proxy6  = netip.MustParseAddrPort("[2001:db8::1]:9199")
	target6 = netip.MustParseAddrPort("[2001:db8:1::25]:25")
)

func TestLine(t *testing.T) {
	if got := AppendQuestion(nil, 49152, 9199); string(got) != "49152 , 9199\r\n" {
		t.Errorf("question %q", got)
	}
	for _, tt := range []struct {
		answer Answer
		want   string
	}{
		{Answer{target4, "alice"}, "49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n"},
		{Answer{target4, ""}, "49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : \r\n"},
		{Answer{target4, strings.Repeat("x", 30)}, "49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : xxxxxxxxxxxxxxxxxxxx\r\n"},
		{Answer{target6, strings.Repeat("f", 32)}, "49152 , 9199 : ORIGIN : [2001:db8:1::25] : 25 : ffffffffffffffffffffffffffffffff\r\n"},
	} {
		got := AppendAnswer(nil, 49152, 9199, tt.answer)
		if string(got) != tt.want || len(got) > MaxLine {
			t.Errorf("answer %q, want %q", got, tt.want)
		}
	}
}

func TestParseQuestion(t *testing.T) {
	for line, want := range map[string][2]uint16{
		"49152 , 9199\r\n": {49152, 9199},
		"49152,9199\n":     {49152, 9199},
		"1\t,\t65535":      {1, 65535},
		"0 , 1":            {},
		"1 , 0":            {},
		"1 , 65536":        {},
		"+1 , 2":           {},
		"1 , 2 , 3":        {},
		"1 2":              {},
		"":                 {},
		",":                {},
	} {
		c, p, err := ParseQuestion([]byte(line))
		if (err != nil) != (want == [2]uint16{}) || err == nil && [2]uint16{c, p} != want {
			t.Errorf("%q: %d, %d, %v", line, c, p, err)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	for _, tt := range []struct {
		line  string
		want  Answer
		error error
	}{
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n", Answer{target4, "alice"}, nil},
		{"49152,9199:ORIGIN:198.51.100.25:25:alice", Answer{target4, "alice"}, nil},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : \n", Answer{target4, ""}, nil},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 25\n", Answer{target4, ""}, nil},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : a:b c\x01\xff", Answer{target4, "a:b#c##"}, nil},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : abcdefghijklmnopqrstuvwxyz", Answer{target4, "abcdefghijklmnopqrst"}, nil},
		{"49152 , 9199 : ORIGIN : [2001:db8:1::25] : 25 : abcdefghijklmnopqrstuvwxyz\r\n", Answer{target6, "abcdefghijklmnopqrstuvwxyz"}, nil},
		{"49152 , 9199 : ERROR : NO-USER\r\n", Answer{}, ErrNotFound},
		{"49153 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n", Answer{}, ErrMismatch},
		{"49152 , 9198 : ORIGIN : 198.51.100.25 : 25 : alice\r\n", Answer{}, ErrMismatch},
		{"49152 , 9199 : USERID : UNIX : alice\r\n", Answer{}, ErrMismatch},
		{"49152 , 9199\r\n", Answer{}, ErrMismatch},
		{"", Answer{}, ErrMismatch},
		{"49152 , 9199 : ORIGIN", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : 198.51.100 : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : 0.0.0.0 : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : 224.0.0.1 : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 0 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : 198.51.100.25 : 65561 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : [198.51.100.25] : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : [::ffff:198.51.100.25] : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : [fe80::1%eth0] : 25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : [2001:db8::25]25 : x", Answer{}, ErrMalformed},
		{"49152 , 9199 : ORIGIN : [2001:db8::25", Answer{}, ErrMalformed},
	} {
		got, err := ParseAnswer([]byte(tt.line), 49152, 9199)
		if got != tt.want || err != tt.error {
			t.Errorf("%q: %v, %v, want %v, %v", tt.line, got, err, tt.want, tt.error)
		}
	}
}

const (
	query4 = "52504844" + "01020304" + "0a0b0c0d" + "0402" + "0001" + "c000020a" + "c0000201" + "c000" + "23ef" +
		"0000000000000000000000000000000000000000000000000000000000000000" + "000000000000"
	found4 = "52504844" + "01020304" + "0a0b0c0d" + "0402" + "0012" + "c000020a" + "c6336419" + "c000" + "0019" +
		"616c696365000000000000000000000000000000000000000000000000000000" + "000000000000"
	unknown4 = "52504844" + "01020304" + "0a0b0c0d" + "0402" + "0022" + "c000020a" + "c0000201" + "c000" + "23ef" +
		"0000000000000000000000000000000000000000000000000000000000000000" + "000000000000"
	found6 = "52504844" + "01020304" + "0a0b0c0d" + "0601" + "0012" + "20010db8000000000000000000000010" + "20010db8000100000000000000000025" + "c000" + "0019" +
		"616c696365000000000000000000000000000000000000000000000000000000" + "000000000000"
)

var (
	asked4 = Query{Cookie: 0x01020304, Secret: 0x0a0b0c0d, Client: client4, Proxy: proxy4}
	asked6 = Query{Cookie: 0x01020304, Secret: 0x0a0b0c0d, Client: client6, Proxy: proxy6}
)

func TestDatagram(t *testing.T) {
	for name, tt := range map[string]struct {
		got  []byte
		want string
		size int
	}{
		"query":     {asked4.Append(nil), query4, 66},
		"found":     {asked4.AppendFound(nil, Answer{target4, "alice"}), found4, 66},
		"not found": {asked4.AppendNotFound(nil), unknown4, 66},
		"IPv6":      {asked6.AppendFound(nil, Answer{target6, "alice"}), found6, 90},
	} {
		if hex.EncodeToString(tt.got) != tt.want || len(tt.got) != tt.size {
			t.Errorf("%s: %x, want %s", name, tt.got, tt.want)
		}
	}
	for _, q := range []Query{asked4, asked6} {
		got, err := ParseQuery(q.Append(nil), q.Secret)
		if err != nil || got != q {
			t.Errorf("%v, %v, want %v", got, err, q)
		}
		if _, err := ParseQuery(q.Append(nil), 1); err != ErrIgnore {
			t.Errorf("wrong secret: %v", err)
		}
		if _, err := ParseQuery(q.AppendNotFound(nil), q.Secret); err != ErrIgnore {
			t.Errorf("a reply taken for a question: %v", err)
		}
	}
	long := asked4.AppendFound(nil, Answer{target4, strings.Repeat("i", 40)})
	if a, err := asked4.ParseReply(long); len(long) != 66 || err != nil || a.Ident != strings.Repeat("i", 32) {
		t.Errorf("long ident: %v, %v", a, err)
	}
}

func TestParseReply(t *testing.T) {
	// with returns found4 with one change.
	with := func(at int, octets ...byte) []byte {
		d, _ := hex.DecodeString(found4)
		copy(d[at:], octets)
		return d
	}
	for _, tt := range []struct {
		name  string
		d     []byte
		error error
	}{
		{"right", with(0), nil},
		{"unused octets", with(60, 1, 2, 3, 4, 5, 6), nil},
		{"other flags too", with(14, 0xff, 0xff), nil},
		{"wrong magic", with(0, 'X'), ErrIgnore},
		{"wrong cookie", with(4, 9), ErrIgnore},
		{"wrong secret", with(8, 9), ErrIgnore},
		{"short", with(0)[:15], ErrIgnore},
		{"empty", nil, ErrIgnore},
		{"other version", with(12, 4, 1), ErrMismatch},
		{"IPv6 version", with(12, 6, 1), ErrMismatch},
		{"no reply flag", with(14, 0, 0x11), ErrMismatch},
		{"cut", with(0)[:65], ErrMismatch},
		{"too long", append(with(0), 0), ErrMismatch},
		{"not found", with(14, 0, 0x22), ErrNotFound},
		{"neither", with(14, 0, 0x02), ErrNotFound},
		{"no address", with(20, 0, 0, 0, 0), ErrMalformed},
		{"no port", with(26, 0, 0), ErrMalformed},
	} {
		a, err := asked4.ParseReply(tt.d)
		if !errors.Is(err, tt.error) || err == nil && a != (Answer{target4, "alice"}) {
			t.Errorf("%s: %v, %v, want %v", tt.name, a, err, tt.error)
		}
	}
	mapped := asked6.AppendFound(nil, Answer{target6, ""})
	copy(mapped[headerLen+16:], netip.MustParseAddr("::ffff:198.51.100.25").AsSlice())
	if _, err := asked6.ParseReply(mapped); err != ErrMalformed {
		t.Errorf("mapped target: %v", err)
	}
}

// FuzzLine: an answer that is taken is one we could have written.
func FuzzLine(f *testing.F) {
	f.Add([]byte("49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n"))
	f.Add([]byte("49152 , 9199 : ORIGIN : [2001:db8::25] : 25 : \r\n"))
	f.Add([]byte("49152 , 9199 : ERROR : NO-USER\r\n"))
	f.Add([]byte("1 , 2"))
	f.Fuzz(func(t *testing.T, line []byte) {
		ParseQuestion(line)
		a, err := ParseAnswer(line, 49152, 9199)
		if err != nil {
			return
		}
		again := AppendAnswer(nil, 49152, 9199, a)
		if b, err := ParseAnswer(again, 49152, 9199); err != nil || a != b || len(again) > MaxLine {
			t.Errorf("%q: %v, again %q: %v, %v", line, a, again, b, err)
		}
	})
}

// FuzzDatagram: what is taken is what we would have written, but for octets
// without use and flags we do not know.
func FuzzDatagram(f *testing.F) {
	for _, s := range []string{query4, found4, unknown4, found6} {
		d, _ := hex.DecodeString(s)
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d []byte) {
		if q, err := ParseQuery(d, asked4.Secret); err == nil {
			again := q.Append(nil)
			if !bytes.Equal(again[:14], d[:14]) || !bytes.Equal(again[16:len(again)-38], d[16:len(d)-38]) {
				t.Errorf("%x: %x", d, again)
			}
		}
		for _, q := range []Query{asked4, asked6} {
			a, err := q.ParseReply(d)
			if err != nil {
				continue
			}
			if b, err := q.ParseReply(q.AppendFound(nil, a)); err != nil || a != b {
				t.Errorf("%x: %v, again %v, %v", d, a, b, err)
			}
		}
	})
}
