package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// settler is a FreeBSD that writes down what it hears while a process settles, and answers
// one call with an error.
type settler struct {
	heard   []string
	refuses string
	err     error
}

func (s *settler) call(words ...any) error {
	line := strings.TrimSpace(fmt.Sprintln(words...))
	s.heard = append(s.heard, line)
	if line == s.refuses {
		return s.err
	}
	return nil
}

func (s *settler) system() *system {
	kernel := FreeBSD{CapEnter: func() error { return s.call("cap_enter") }}
	return &system{
		chdir:            func(to string) error { return s.call("chdir", to) },
		dropBoundingSet:  func() error { return s.call("bounding set") },
		fence:            func(*Rights) error { return s.call("fence") },
		chroot:           func(to string) error { return s.call("chroot", to) },
		become:           func(i Identity) error { return s.call("become", i.UID, i.GID) },
		setDumpable:      func(yes bool) error { return s.call("dumps", yes) },
		dropCapabilities: func(uint32) error { return s.call("capabilities") },
		openRoot: func(name string) (*os.Root, error) {
			if err := s.call("open", name); err != nil {
				return nil, err
			}
			return os.OpenRoot(os.TempDir())
		},
		seal: kernel.Confine,
	}
}

const (
	lockdWords = "stdio recvfd sendfd rpath wpath cpath flock stdio-sync unix-accept"
	settling   = "chdir /a, bounding set, fence, chroot ., chdir /, become 5 6, dumps false, capabilities"
)

func spec(words string) *Spec {
	s := New()
	s.RootDir, s.Chroot, s.Identity, s.Words = "/a", true, Identity{UID: 5, GID: 6}, strings.Fields(words)
	return s
}

// TestFreeBSD: who connects to nothing, answers no address, asks no device and starts
// nothing goes into capability mode: as the last step, when it is where it will live and
// who it will be, and, if it opens anything, with its root directory open. Each word there
// is has its say.
func TestFreeBSD(t *testing.T) {
	alone := lockdWords + " stdio-splice"
	keeps := map[string]bool{}
	for word := range strings.FieldsSeq(alone) {
		keeps[word] = true
	}
	type row struct {
		words string
		in    bool
	}
	rows := []row{{"", false}, {"stdio", true}, {lockdWords, true}, {alone, true}}
	for _, w := range Words {
		rows = append(rows, row{"stdio " + w.Word, keeps[w.Word]}, row{lockdWords + " " + w.Word, keeps[w.Word]})
	}
	for _, c := range rows {
		want := settling
		opens := c.in && strings.Contains(c.words, "path")
		if opens {
			want += ", open ."
		}
		if c.in {
			want += ", cap_enter"
		}
		if c.words == "" {
			want = strings.Replace(want, "bounding set, fence, ", "", 1)
		}
		var k settler
		root, err := spec(c.words).settle(k.system())
		if got := strings.Join(k.heard, ", "); err != nil || got != want || (root != nil) != opens {
			t.Errorf("%q: root %v, %v, heard\n%s, want\n%s", c.words, root, err, got, want)
		}
		if root != nil {
			root.Close()
		}
	}
}

// TestFreeBSDRefuses: what is refused is an error, and nothing comes after it; but a kernel
// without Capsicum lacks a layer, no more.
func TestFreeBSDRefuses(t *testing.T) {
	all := strings.Split(settling+", open ., cap_enter", ", ")
	for i, line := range all {
		k := settler{refuses: line, err: errors.New("refused")}
		root, err := spec(lockdWords).settle(k.system())
		if err == nil || root != nil || !slices.Equal(k.heard, all[:i+1]) {
			t.Errorf("without %q: root %v, %v, heard %q", line, root, err, k.heard)
		}
	}
	k := settler{refuses: "cap_enter", err: unix.ENOSYS}
	root, err := spec(lockdWords).settle(k.system())
	if err != nil || root == nil {
		t.Errorf("without Capsicum: root %v, %v", root, err)
	}
}
