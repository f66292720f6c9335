package action

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// TestLimits: a script, and what it starts, meets limit_virt_size,
// limit_data_size and limit_fsize; the room does not.
func TestLimits(t *testing.T) {
	const wait = `
until grep -q 'Max address space *268435456 *268435456' /proc/self/limits; do :; done
until grep -q 'Max file size *1048576 *1048576' /proc/self/limits; do :; done
grep 'Max data size *134217728 *134217728' /proc/self/limits > out.part
echo >> out.part
mv out.part out
`
	s := open(t, wait, imsg.ActionConfig{Virtual: 256 << 20, Data: 128 << 20, File: 1 << 20})
	s.run(example())
	if out := s.file("out"); !strings.Contains(out, "Max data size") {
		t.Error("the data segment is not limited")
	}

	s = open(t, "grep -c -E 'Max (address space|data size|file size) *unlimited' /proc/self/limits > out\n", imsg.ActionConfig{})
	s.run(example())
	if out := s.file("out"); out != "3" {
		t.Skipf("these tests run under a limit already: %s", out)
	}
}
