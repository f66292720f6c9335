// What a process writes to its stderr: the text of a crash, or why it could not
// start. This file owns how much of it is heard.

package spawn

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	maxLines  = 300         // that are heard
	maxLine   = 1000        // octets of one
	lateCrash = time.Second // for the rest after the end
)

// readLines reads until there is no more.
func readLines(stderr io.Reader, heard func(string)) {
	in := bufio.NewReaderSize(stderr, maxLine)
	for n := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(line) == 0 {
			return
		}
		text := strings.TrimRight(strings.ReplaceAll(string(line), "\t", "  "), "\n")
		if text == "" {
			continue
		}
		if n++; n <= maxLines {
			heard(text)
		}
	}
}
