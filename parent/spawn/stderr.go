// What a process writes to its stderr: the text of a crash, or why it could not
// start. This file owns how much of it is heard.

package spawn

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

const (
	maxLine   = 1000        // octets of one line
	lateCrash = time.Second // for the rest after the end
)

// lines is how many are heard: those of a crash at once, and what a process may have
// to say now and then in a long life.
var lines = imsg.Pace{Burst: 300, Every: time.Second}

// tooMuch is heard in place of what follows.
const tooMuch = "(more than is heard: the rest is lost)"

// crashLines is how many are read, if not heard, of one that the kernel has ended: at
// their end stands for which system call.
const crashLines = 64 << 10

// readLines reads until there is no more, which is true, or too much.
func readLines(stderr io.Reader, heard func(string)) bool {
	in := bufio.NewReaderSize(stderr, maxLine)
	meter := imsg.Meter{Pace: lines}
	var trap sandbox.Trap
	for unheard := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(line) == 0 {
			return true
		}
		text := strings.TrimRight(strings.ReplaceAll(string(line), "\t", "  "), "\n")
		_, news := trap.Line(text)
		if meter.Take(1, time.Now()) { // an empty one costs us as much
			if text != "" {
				heard(text)
			}
			continue
		}
		if unheard++; unheard == 1 {
			heard(tooMuch)
		}
		if news {
			heard(text)
		}
		if !trap.Sprung() || unheard > crashLines {
			return false
		}
	}
}
