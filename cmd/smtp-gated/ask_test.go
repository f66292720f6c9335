package main

import (
	"strings"
	"testing"
)

// TestStateIsPrintable: what lockd has written is shown as text, whoever wrote it.
func TestStateIsPrintable(t *testing.T) {
	var b strings.Builder
	in := "a: b\n\x1b[2J\r\x9b\x00\xc3\xa9\n"
	if n, err := (printable{&b}).Write([]byte(in)); n != len(in) || err != nil || b.String() != "a: b\n#[2J#####\n" {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
}
