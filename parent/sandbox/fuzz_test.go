package sandbox

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse: arguments that are taken make a sandbox that Args tells as it is, confined
// if they speak of words, and of numbers that the kernel knows.
func FuzzParse(f *testing.F) {
	whole := New()
	whole.Name, whole.RootDir, whole.Chroot, whole.Dumps = "smtp-gated", "/a b", true, true
	whole.MaxFiles, whole.CoreSize, whole.FileSize, whole.Nice = 7, 0, 1<<40, -5
	whole.Identity = Identity{1, 2, []int{3, 4}}
	whole.Words, whole.Connect, whole.Bind = []string{"stdio", "inet-tcp"}, []uint16{25, 465}, []uint16{}
	for _, args := range [][]string{whole.Args(), New().Args(), {"-root", "/a", "-may", ""}, {"-root=/", "--", "x"}, {"-root", "/", "-uid", "-7", "-gid", "-1"}} {
		f.Add(strings.Join(args, "\x00"))
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		s, err := Parse(args)
		if err != nil {
			if s != nil {
				t.Errorf("%q: %+v and %v", args, s, err)
			}
			return
		}
		if s.Words != nil && len(s.Words) == 0 {
			t.Errorf("%q: not confined", args)
		}
		if i := s.Identity; i.UID < -1 || int64(i.UID) >= math.MaxUint32 || i.GID < -1 || int64(i.GID) >= math.MaxUint32 || (i.UID < 0) != (i.GID < 0) {
			t.Errorf("%q: %+v", args, i)
		}
		if n := len(s.Words) + len(s.Connect) + len(s.Bind) + len(s.Identity.Groups); n > len(joined) {
			t.Errorf("%q: %d words, ports and groups", args, n)
		}
		s.CoreSize, s.FileSize = max(s.CoreSize, -1), max(s.FileSize, -1) // all that is less says the same
		if again, err := Parse(s.Args()); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q reads back as %+v, %v", s.Args(), again, err)
		}
	})
}

// FuzzTrap: whatever a process writes, what comes of it is one short printable word for
// each time that it says the kernel has ended it.
func FuzzTrap(f *testing.F) {
	f.Add("SIGSYS: bad system call\nPC=0x1 m=0 sigcode=1\n" + callRegister + "    0x65\n")
	f.Add("SIGSYS: bad system call\nPC=0x1 m=0 sigcode=0\n" + callRegister + "    0x65\n")
	f.Add("SIGSYS: bad system call\n" + callRegister + "    0xffffffff\n" + callRegister + " 1\n")
	f.Add("SIGSYS: bad system call\n" + callRegister + "    \x1b[2J\n")
	f.Fuzz(func(t *testing.T, text string) {
		var trap Trap
		news := 0
		for line := range strings.SplitSeq(text, "\n") {
			before := trap.Sprung()
			call, ok := trap.Line(line)
			if ok != (call != "") || ok && (!before || trap.Sprung()) || len(call) > 32 || strings.ContainsFunc(call, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q: %q, %v", line, call, ok)
			}
			if ok {
				news++
			}
			if strings.HasSuffix(line, " sigcode=0") && strings.HasPrefix(line, "PC=") && trap.Sprung() {
				t.Error("a signal that was sent is taken for the kernel's")
			}
		}
		if news > strings.Count(text, "SIGSYS: ") {
			t.Errorf("%d times", news)
		}
	})
}
