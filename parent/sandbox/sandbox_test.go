package sandbox

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"-root /a", true},
		{"-root /a -chroot -nofile 100 -uid 1 -gid 2", true},
		{"-root /a -core 0 -file 8192 -nice -5", true},
		{"-root /a -core 1x", false},
		{"-root /a -chroot -uid 1 -gid 2 -group 3 -group 4", true},
		{"-root /a -name smtp-gated-acti -dumps", true},
		{"-root /a -may stdio -connect 25 -bind 0", true},
		{"-root /a -may stdio -kernel 5.10", runtime.GOOS == "linux"},
		{"-root /a -may stdoi", false},
		{"-root /a -connect 65536", false},
		{"-root /a -kernel 2.2", false},
		{"", false},
		{"-root a", false},
		{"-root /a -uid 1", false},
		{"-root /a -gid 1", false},
		{"-root /a -uid -2 -gid -2", false},
		{"-root /a -uid 4294967295 -gid 1", false},
		{"-root /a -uid 1 -gid 4294967296", false},
		{"-root /a -group 1", false},
		{"-root /a -uid x -gid 1", false},
		{"-root /a -uid 1 -gid 1 -group x", false},
		{"-root /a -uid 1 -gid 1 -group 4294967295", false},
		{"-root /a -nofile -1", false},
		{"-root /a -else 1", false},
		{"-root /a more", false},
	} {
		s, err := Parse(strings.Fields(c.args))
		if (err == nil) != c.ok {
			t.Errorf("%q: error %v", c.args, err)
		}
		if err != nil {
			continue
		}
		again, err := Parse(s.Args())
		if err != nil || !slices.Equal(again.Args(), s.Args()) {
			t.Errorf("%q reads back as %v, %v", s.Args(), again, err)
		}
	}
}
