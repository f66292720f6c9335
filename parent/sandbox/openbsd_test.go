package sandbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// recorder is an OpenBSD that writes down what it hears, and refuses one call.
func recorder(refuses string) (*OpenBSD, *[]string) {
	heard := new([]string)
	call := func(words ...string) error {
		line := strings.Join(words, " ")
		*heard = append(*heard, line)
		if refuses != "" && strings.HasPrefix(line, refuses) {
			return errors.New("refused")
		}
		return nil
	}
	return &OpenBSD{
		Unveil:      func(path, permissions string) error { return call("unveil", path, permissions) },
		UnveilBlock: func() error { return call("block") },
		Pledge:      func(promises string) error { return call("pledge", promises) },
	}, heard
}

// TestOpenBSD: each word adds what it stands for, and nothing else.
func TestOpenBSD(t *testing.T) {
	for _, c := range []struct{ words, want string }{
		{"stdio", "pledge stdio"},
		{"stdio stdio-sync stdio-splice", "pledge stdio"},
		{"stdio inet-serve pf", "pledge stdio inet pf"},
		{"stdio inet-udp inet-tcp", "pledge stdio inet"},
		{"stdio unix-accept", "pledge stdio unix"},
		{"stdio unix-connect", "unveil . w, block, pledge stdio unix"},
		{"stdio rpath", "unveil . r, block, pledge stdio rpath"},
		{"stdio rpath-stat", "unveil . r, block, pledge stdio rpath"},
		{"stdio wpath", "unveil . w, block, pledge stdio wpath"},
		{"stdio cpath", "unveil . c, block, pledge stdio cpath"},
		{"stdio cpath wpath rpath flock", "unveil . rwc, block, pledge stdio cpath wpath rpath flock"},
	} {
		o, heard := recorder("")
		err := o.Confine(&Rights{Words: strings.Fields(c.words)})
		if got := strings.Join(*heard, ", "); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.words, got, err, c.want)
		}
	}
}

// TestOpenBSDRefuses: what is refused is an error, and nothing comes after it.
func TestOpenBSDRefuses(t *testing.T) {
	all := []string{"unveil . r", "block", "pledge stdio rpath"}
	for i, line := range all {
		o, heard := recorder(line)
		err := o.Confine(&Rights{Words: []string{"stdio", "rpath"}})
		if err == nil || !slices.Equal(*heard, all[:i+1]) {
			t.Errorf("without %q: %v, heard %q", line, err, *heard)
		}
	}
}
