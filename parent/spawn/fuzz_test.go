package spawn

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// FuzzParseArgs: whatever follows -x, it is a room's name and a sandbox, or an error.
func FuzzParseArgs(f *testing.F) {
	for _, args := range []string{"session -root /a", "parent -root /a", "control -root /", "", "lockd", "scand -may stdio -root / x"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		room, spec, err := parseArgs(strings.Split(joined, " "))
		if (err == nil) != (spec != nil) || err == nil && (room <= imsg.Parent || room >= imsg.Control) {
			t.Errorf("%q: room %d, %+v, %v", joined, room, spec, err)
		}
	})
}

// FuzzReadLines: whatever a process writes, the lines heard have no end in them, are no
// longer than a log takes and no more than its reader bears; of one that says little
// nothing is lost. It is read with one buffer of maxLine octets.
func FuzzReadLines(f *testing.F) {
	const trap = "SIGSYS: bad system call\nrax    0x65\n"
	f.Add([]byte("panic: x\n\n\tmain.go:1\n"), uint16(1))
	f.Add([]byte(trap), uint16(400))
	f.Add([]byte("\t\x00\xff"), uint16(2*maxLine))
	f.Add([]byte("\n"), uint16(1000))
	f.Fuzz(func(t *testing.T, once []byte, times uint16) {
		text := strings.Repeat(string(once), min(int(times), 1+(64<<10)/max(1, len(once))))
		var got []string
		whole := readLines(strings.NewReader(text), func(line string) { got = append(got, line) })
		for _, line := range got {
			if line == "" || strings.ContainsAny(line, "\n\t") || len(line) > 2*maxLine {
				t.Errorf("heard %q", line)
			}
		}
		// A few more come in while it is read.
		if len(got) > 2*lines.Burst+strings.Count(text, "SIGSYS") {
			t.Errorf("%d lines", len(got))
		}
		heard, said := strings.Join(got, ""), strings.NewReplacer("\n", "", "\t", "  ").Replace(text)
		if few := strings.Count(text, "\n")+len(text)/maxLine < lines.Burst; few && (heard != said || !whole) {
			t.Errorf("%q: heard %q, to the end: %v", text, heard, whole)
		}
	})
}
