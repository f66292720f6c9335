package main

import (
	"net/netip"
	"slices"
	"testing"
)

// TestProcess: what a room looks like is read as proc(5) has it.
func TestProcess(t *testing.T) {
	var p process
	p.read("Name:\tsmtp-gated-scan\nVmHWM:\t   20 kB\nVmRSS:\t   12 kB\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n", "/var/spool")
	if *p.Memory != 12<<10 || *p.Peak != 20<<10 || !slices.Equal(p.Layers, []string{"chroot", "no_new_privs", "seccomp"}) {
		t.Errorf("%+v", p)
	}
	p = process{}
	p.read("NoNewPrivs:\t0\nSeccomp:\t0\nVmRSS:\tmuch\n", "/")
	if p.Memory != nil || len(p.Layers) != 0 || p.Layers == nil {
		t.Errorf("%+v", p)
	}
	// Whose root is not shown is not said to have none.
	p = process{}
	p.read("VmRSS:\t12 kB\nNoNewPrivs:\t1\nSeccomp:\t2\n", "")
	if p.Layers != nil || p.Memory == nil {
		t.Errorf("%+v", p)
	}
	if n := limit("Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n", "Max open files"); n == nil || *n != 1024 {
		t.Errorf("%v", n)
	}
	if n := limit("Max open files            unlimited            unlimited            files\n", "Max open files"); n != nil {
		t.Errorf("%d", *n)
	}
}

// TestCollide: addresses as the kernel writes them, and who keeps whom from listening.
func TestCollide(t *testing.T) {
	for _, tt := range []struct {
		held, wanted string
		want         bool
	}{
		{"127.0.0.1:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.1:25", "0.0.0.0:25", true},
		{"0.0.0.0:25", "127.0.0.1:25", true},
		{"[::]:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "[::]:25", false},
		{"0.0.0.0:25", "[::1]:25", false},
		{"[::1]:25", "[::]:25", true},
		{"127.0.0.1:25", "127.0.0.2:25", false},
	} {
		if got := collide(netip.MustParseAddrPort(tt.held), netip.MustParseAddrPort(tt.wanted)); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	for _, bad := range []string{"", "x", "0100007F", "0100007F:", "01:0019", "0100007F:10000"} {
		if a, err := parseProcAddress(bad); err == nil {
			t.Errorf("%q is %s", bad, a)
		}
	}
}
