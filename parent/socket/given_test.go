package socket

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestGivenNames(t *testing.T) {
	for _, tt := range []struct {
		fds, names string
		want       []string
		ok         bool
	}{
		{"", "smtp", nil, true},
		{"0", "", []string{}, true},
		{"2", "smtp", []string{"smtp", "LISTEN_FD_4"}, true},
		{"2", ":submission:more", []string{"LISTEN_FD_3", "submission"}, true},
		{"-1", "", nil, false},
		{"one", "", nil, false},
		{"1025", "", nil, false},
		{"9223372036854775808", "", nil, false},
	} {
		got, err := givenNames(tt.fds, tt.names)
		if !slices.Equal(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%q, %q: %q, %v", tt.fds, tt.names, got, err)
		}
	}
}

// TestGivenToUs: what is for another process is not ours, and a script learns of none;
// what is for us, and makes no sense, is said.
func TestGivenToUs(t *testing.T) {
	us := strconv.Itoa(os.Getpid())
	for pid, ok := range map[string]bool{"": true, "1": true, "+" + us: true, us: false} {
		t.Setenv("LISTEN_PID", pid)
		t.Setenv("LISTEN_FDS", "9999999999")
		all, err := given()
		if len(all) > 0 || (err == nil) != ok {
			t.Errorf("for process %q: %d, %v", pid, len(all), err)
		}
		if v := os.Getenv("LISTEN_PID") + os.Getenv("LISTEN_FDS"); v != "" {
			t.Errorf("the environment still says %q", v)
		}
	}
}

// FuzzGivenNames: whatever the environment says, there is one name for each socket, no
// more than a service manager gives, none is empty, and those it names are first.
func FuzzGivenNames(f *testing.F) {
	f.Add("2", "smtp:submission")
	f.Add("3", "::")
	f.Add("18446744073709551615", "a")
	f.Add("0x10", "\x00\xff")
	f.Fuzz(func(t *testing.T, fds, fdnames string) {
		names, err := givenNames(fds, fdnames)
		if len(names) > maxGiven || slices.Contains(names, "") || err != nil && names != nil {
			t.Errorf("%q, %v", names, err)
		}
		for i, want := range strings.Split(fdnames, ":") {
			if i < len(names) && want != "" && names[i] != want {
				t.Errorf("socket %d is %q", i, names[i])
			}
		}
	})
}
