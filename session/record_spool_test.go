// Dialogues in houses whose spool cannot be made, or not be written, or is lost.

package session

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// recordSpools adds what is recorded of such dialogues.
func recordSpools(t *testing.T, texts map[string]string) {
	for i, ignored := range []bool{false, true} {
		change := func(c *imsg.SessionConfig) { c.ScanChunks, c.IgnoreErrors = true, ignored }
		name := func(what string) string { return fmt.Sprintf("%s, errors ignored: %t", what, ignored) }
		if imsgtest.Brief() && !ignored {
			continue
		}
		t.Run(name("no spool"), func(t *testing.T) {
			p := plan{name: name("no spool"), chunks: true, waits: true, change: change}
			h := newRecordHouse(t, p)
			h.loseSpool()
			var list []*dialogue
			for n := range 100 {
				list = append(list, draw(drawnDialogues+100*i+n, &p))
			}
			maps.Copy(texts, h.run(list))
		})
		t.Run(name("full spool"), func(t *testing.T) {
			signal.Ignore(syscall.SIGXFSZ)
			defer signal.Reset(syscall.SIGXFSZ)
			h := newRecordHouse(t, plan{name: name("full spool"), chunks: true, change: change})
			fileLimit(t, true)
			defer fileLimit(t, false)
			maps.Copy(texts, h.run(spoolDialogues(&h.plan, fill, fillSize)))
		})
		t.Run(name("lost spool"), func(t *testing.T) {
			h := newRecordHouse(t, plan{name: name("lost spool"), chunks: true, change: func(c *imsg.SessionConfig) {
				change(c)
				c.SpoolLeaveOn = imsg.LeaveAlways
			}})
			maps.Copy(texts, h.run(spoolDialogues(&h.plan, (*play).loseFile, 0)))
		})
	}
}

// loseSpool takes the directory away in which the worker is.
func (h *recordHouse) loseSpool() {
	dir, err := os.Getwd()
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// loseFile takes a session's spool file away.
func (p *play) loseFile() {
	names, err := filepath.Glob(fmt.Sprintf("*.%d.part", p.number))
	if err == nil && len(names) == 1 {
		err = os.Remove(names[0])
	}
	if err != nil || len(names) != 1 {
		p.house.t.Errorf("%s: the spool is %q; %v", p.name, names, err)
	}
}

// passing says part of a text and waits until the server has it, or the client has
// its answer.
func passing(piece string) func(*play) {
	return func(p *play) {
		n := p.heardReplies()
		p.says(piece)
		p.await(func() bool {
			return len(p.replies) > n || p.server.over || bytes.HasSuffix(p.server.heard, []byte(piece[len(piece)-20:]))
		})
	}
}

// fill says a text that is more than a file may hold. The last piece is the one too
// many: it is so small that it arrives as one.
func fill(p *play) {
	for i, size := range fillSizes {
		line := fmt.Sprintf("%014d\r\n", i)
		passing(strings.Repeat(line, size/len(line)))(p)
	}
}

var (
	fillSizes = append(slices.Repeat([]int{16 << 10}, 15), 15<<10, 2<<10)
	fillSize  = 15*(16<<10) + 15<<10 + 2<<10
)

// endText ends a text; there is an answer if there was none yet.
func endText(p *play) {
	n := 0
	if p.code(-1) == "354" {
		n = 1
	}
	onGoing("the end\r\n.\r\n", n)(p)
}

// spoolDialogues are those in which something befalls the spool in a message. That
// takes size octets of it.
func spoolDialogues(p *plan, befalls func(*play), size int) (list []*dialogue) {
	const (
		ehlo  = "EHLO client.example\r\n"
		from  = "MAIL FROM:<a@client.example>\r\n"
		to    = "RCPT TO:<b@mx.example>\r\n"
		first = "Subject: first\r\n\r\nthe first line of all\r\n"
		rest  = "and this is behind it all\r\n"
	)
	add := func(name string, turns ...func(*play)) {
		turns = append(turns, one("NOOP\r\n", from, to, "DATA\r\n", ehlo, from, to, chunkOf(first, " LAST"), "QUIT\r\n"))
		list = append(list, calm(p.name+", "+name, p, turns...))
	}
	text := []func(*play){one(ehlo, from, to), onGoing("DATA\r\n", 1), passing(first), befalls}
	chunk := func(more int, last string) []func(*play) {
		bdat := fmt.Sprintf("BDAT %d%s\r\n", len(first)+size+more, last)
		return []func(*play){one(ehlo, from, to), passing(bdat + first), befalls}
	}
	add("text", append(text, endText)...)
	add("text goes on", append(text, passing(rest), endText)...)
	add("text, the client goes", append(text, (*play).leave)...)
	add("the last chunk", append(chunk(len(rest), " LAST"), onGoing(rest, 1))...)
	add("a chunk", append(chunk(len(rest), ""), onGoing(rest, 1), one(chunkOf(rest, " LAST")))...)
	add("a chunk, then none", append(chunk(len(rest), ""), onGoing(rest, 1), one("BDAT 0\r\n", "BDAT 0 LAST\r\n"))...)
	add("a chunk, then RSET", append(chunk(len(rest), ""), onGoing(rest, 1), one("RSET\r\n"))...)
	add("a chunk, then DATA", append(chunk(len(rest), ""), onGoing(rest, 1), one("DATA\r\n", "NOOP\r\n"))...)
	return list
}
