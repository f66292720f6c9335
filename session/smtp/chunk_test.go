package smtp

import (
	"errors"
	"math"
	"testing"
)

func TestParseBDAT(t *testing.T) {
	tests := []struct {
		arg  string
		size int64
		last bool
		ok   bool
	}{
		{"0", 0, false, true},
		{"10", 10, false, true},
		{"0010", 10, false, true},
		{"10 LAST", 10, true, true},
		{"10  last ", 10, true, true},
		{"0 Last", 0, true, true},
		{"", 0, false, false},
		{"LAST", 0, false, false},
		{"x", 0, false, false},
		{"-1", 0, false, false},
		{"+1", 0, false, false},
		{"0x10", 0, false, false},
		{"10x", 10, false, false},
		{"10LAST", 10, false, false},
		{"10 LASTING", 10, false, false},
		{"10 LAST LAST", 10, false, false},
		{"10 20", 10, false, false},
		{"1.5", 1, false, false},
		{"9223372036854775806", math.MaxInt64 - 1, false, true},
		{"9223372036854775807", math.MaxInt64, false, false},
		{"18446744073709551626", math.MaxInt64, false, false},
		{"99999999999999999999999 LAST", math.MaxInt64, false, false},
	}
	for _, tt := range tests {
		size, last, err := ParseBDAT([]byte(tt.arg))
		if size != tt.size || last != tt.last || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrChunk) {
			t.Errorf("%q: got %d, %v, %v, want %d, %v, %v", tt.arg, size, last, err, tt.size, tt.last, tt.ok)
		}
	}
}

func FuzzParseBDAT(f *testing.F) {
	f.Add([]byte("10 LAST"))
	f.Add([]byte("99999999999999999999 LAST"))
	f.Fuzz(func(t *testing.T, arg []byte) {
		size, last, err := ParseBDAT(arg)
		if size < 0 || err != nil && last || err == nil && size == math.MaxInt64 {
			t.Errorf("%q: got %d, %v, %v", arg, size, last, err)
		}
	})
}

func TestAppendBDAT(t *testing.T) {
	for _, size := range []int64{0, 7, math.MaxInt64 - 1} {
		line := AppendBDAT(nil, size)
		cmd, err := ParseCommand(line)
		got, last, chunkErr := ParseBDAT(cmd.Arg)
		if err != nil || chunkErr != nil || got != size || last || cmd.Verb != BDAT {
			t.Errorf("%d written as %q", size, line)
		}
	}
}
