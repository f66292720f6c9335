package site

import (
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFilterRemedy(t *testing.T) {
	absent := &fs.PathError{Op: "open", Path: "/dev/pf", Err: unix.ENOENT}
	for _, c := range []struct {
		system string
		err    error
		want   string
	}{
		{"openbsd", absent, "use divert-to in pf.conf, and mode getsockname"},
		{"openbsd", &fs.PathError{Err: unix.EACCES}, "start as root"},
		{"freebsd", &fs.PathError{Err: unix.EPERM}, "start as root"},
		{"freebsd", absent, "load the packet filter, as with kldload pf or kldload ipl"},
		{"linux", absent, "Linux has no such packet filter, use mode netfilter"},
		{"plan9", absent, "this system has no such packet filter, use another mode"},
	} {
		if got := filterRemedy(c.system, c.err); got != c.want {
			t.Errorf("%s, %v: %s", c.system, c.err, got)
		}
	}
}
