package smtp

import (
	"bytes"
	"math"
	"testing"
)

func TestAddress(t *testing.T) {
	tests := []struct{ arg, addr, params string }{
		{"", "", ""},
		{"<>", "", ""},
		{" ", "", ""},
		{"<a@b>", "a@b", ""},
		{"a@b", "a@b", ""},
		{" \t <a@b>", "a@b", ""},
		{"<<a@b>>", "a@b", ""},
		{"< a@b >", "a@b", ">"},
		{"<a@b> SIZE=1 BODY=8BITMIME", "a@b", "SIZE=1 BODY=8BITMIME"},
		{"<a@b>SIZE=1", "a@b", "SIZE=1"},
		{"<> SIZE=1", "", "SIZE=1"},
		{"a@b\tSIZE=1", "a@b", "SIZE=1"},
		{"<a@b", "a@b", ""},
		{"<@x,@y:a@b>", "@x,@y:a@b", ""},
		{`<"a b"@c> SIZE=1`, `"a b"@c`, "SIZE=1"},
		{`<"a>b"@c> SIZE=1`, `"a>b"@c`, "SIZE=1"},
		{`<"a\"> b"@c> SIZE=1`, `"a\"> b"@c`, "SIZE=1"},
		{`<"a\\"@c> SIZE=1`, `"a\\"@c`, "SIZE=1"},
		{`<x."a b".y@c>`, `x."a b".y@c`, ""},
		{`<"a b@c> SIZE=1`, `"a`, "b@c> SIZE=1"},
		{`<"a\`, `"a\`, ""},
		{`<""@c>`, `""@c`, ""},
		{"<\xc3\xa9@b>", "\xc3\xa9@b", ""},
	}
	for _, tt := range tests {
		addr, params := Address([]byte(tt.arg))
		if string(addr) != tt.addr || string(params) != tt.params {
			t.Errorf("%q: got %q and %q, want %q and %q", tt.arg, addr, params, tt.addr, tt.params)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add([]byte(` <"a\" >b"@c> SIZE=1 "`))
	f.Add([]byte("<<a@b>> SIZE=99999999999999999999"))
	f.Fuzz(func(t *testing.T, arg []byte) {
		addr, params := Address(arg)
		if !bytes.Contains(arg, addr) || !bytes.HasSuffix(bytes.TrimRight(arg, " \t"), params) {
			t.Errorf("%q: got %q and %q", arg, addr, params)
		}
		again, rest := Address(append(append([]byte("<"), addr...), '>'))
		if !bytes.Equal(again, addr) || len(rest) != 0 {
			t.Errorf("%q: got %q, read again %q and %q", arg, addr, again, rest)
		}
		if size, _ := ParseSize(params); size < 0 {
			t.Errorf("%q: size %d", params, size)
		}
	})
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		params string
		size   int64
		ok     bool
	}{
		{"", 0, false},
		{"SIZE=1000", 1000, true},
		{"size=0", 0, true},
		{"BODY=8BITMIME  SIZE=7", 7, true},
		{"\tSIZE=7\tX", 7, true},
		{"SIZE=", 0, false},
		{"SIZE", 0, false},
		{"SIZE=abc", 0, false},
		{"SIZE=12x", 12, false},
		{"SIZE=-1", 0, false},
		{"XSIZE=5", 0, false},
		{"RET=SIZE=5", 0, false},
		{"SIZE=9223372036854775807", math.MaxInt64, true},
		{"SIZE=9223372036854775808", math.MaxInt64, true},
		{"SIZE=99999999999999999999", math.MaxInt64, true},
	}
	for _, tt := range tests {
		if size, ok := ParseSize([]byte(tt.params)); size != tt.size && tt.ok || ok != tt.ok {
			t.Errorf("%q: got %d, %v, want %d, %v", tt.params, size, ok, tt.size, tt.ok)
		}
	}
}
