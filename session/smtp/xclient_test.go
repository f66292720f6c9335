package smtp

import (
	"slices"
	"strings"
	"testing"
)

func TestXclientOffer(t *testing.T) {
	for _, tt := range []struct {
		text  string
		names []string
		ok    bool
	}{
		{"XCLIENT NAME ADDR", []string{"NAME", "ADDR"}, true},
		{"xclient  name\tPort ", []string{"NAME", "PORT"}, true},
		{"XCLIENT", nil, true},
		{"XCLIENTS NAME", nil, false},
		{"SIZE XCLIENT", nil, false},
		{"", nil, false},
	} {
		names, ok := XclientOffer(Reply{Text: []byte(tt.text)})
		if !slices.Equal(names, tt.names) || ok != tt.ok {
			t.Errorf("%q: got %q, %v", tt.text, names, ok)
		}
	}
	if _, ok := XclientOffer(Reply{First: true, Text: []byte("XCLIENT NAME")}); ok {
		t.Error("the server's name is taken for a keyword")
	}
}

func TestHasWord(t *testing.T) {
	for text, want := range map[string]bool{
		"mx.example ESMTP Postfix": true, "mx.example esmtp": true, "ESMTP": true, "mx SMTP": false, "mx ESMTPS": false, "": false,
	} {
		if HasWord([]byte(text), "ESMTP") != want {
			t.Errorf("%q: not %v", text, want)
		}
	}
}

func FuzzXclientOffer(f *testing.F) {
	f.Add([]byte("XCLIENT NAME ADDR PORT"))
	f.Add([]byte(" \txclient\x00 \xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		names, ok := XclientOffer(Reply{Text: text})
		if len(names) > 0 && !ok {
			t.Errorf("%q: names without an offer", text)
		}
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, " \tabcdefghijklmnopqrstuvwxyz") {
				t.Errorf("%q: attribute %q", text, name)
			}
		}
	})
}
