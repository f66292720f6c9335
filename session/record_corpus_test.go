// The streams of the differential test, recorded too: pipelined as far as it goes,
// against servers that answer by a rule.

package session

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// recordedWays are those of ways that differ most.
var recordedWays = []string{"normalize, strip, scan", "reject, reject, filter", byXclient}

// A text that is refused on its way has come as far as it had arrived by then: how
// much the server has heard of it and how big it was found to be is left out.
var (
	strayOctet  = regexp.MustCompile(`\n554 .*gate\.example msg_proto_error\r\n$`)
	hurriedSize = regexp.MustCompile(`message too large size=\d+, src`)
)

// recordedStream is what is recorded of a stream but for its log.
type recordedStream struct {
	name   string
	long   bool
	client string // hears
	server string // hears
	scans  string
}

// text is what is recorded with the log.
func (r *recordedStream) text(log string) string {
	before, _, found := strings.Cut(r.server, "\r\nDATA\r\n")
	if found && r.long && (strayOctet.MatchString(r.client) || hurriedSize.MatchString(log)) {
		r.server = before + "\r\nDATA\r\n(and text)"
	}
	log = hurriedSize.ReplaceAllString(log, "message too large size=N, src")
	return fmt.Sprintf("client hears:\n%s\nserver hears:\n%s\n%s\nlog:\n%s\n", r.client, r.server, r.scans, log)
}

// recordCorpus plays the streams in one piece and adds what is recorded of each. A
// client that vanishes in the middle may be heard more of or less, and hear more or
// less of what it is owed; one that does not wait for the greeting may come behind
// it: they are left out. Who of two that have gone was the first is left out too,
// which CLOSE says.
func recordCorpus(t *testing.T, texts map[string]string) {
	for _, r := range readings {
		streams := corpus()
		if r.early != nil {
			streams = earlyCorpus()
			slices.SortFunc(streams, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
		} else if r.name != "strict" && r.name != "no chunking" {
			continue
		}
		for i, way := range ways {
			if !slices.Contains(recordedWays, way.name) || imsgtest.Brief() && i > 0 {
				continue
			}
			t.Run(r.name+": "+way.name, func(t *testing.T) {
				x := newMX(t, r)
				recordStreams(newLab(t, x.addr, way.change), x, streams, fmt.Sprintf("%s, way %d", r.name, i), texts)
			})
		}
	}
}

// recordStreams adds what is recorded of streams that pass a lab.
func recordStreams(l *lab, x *mx, streams []hostile, name string, texts map[string]string) {
	var mu sync.Mutex
	bySource := make(map[string]*recordedStream)
	l.set(func() { l.number = firstNumber })
	l.run(streams, inOnePiece, func(h hostile, tag string, p *passage) (s score) {
		c := x.call(l.t, tag)
		l.scans(p)
		if h.abort || h.early || h.group == "cut off" {
			return s
		}
		if c == nil || p.err != nil {
			l.t.Errorf("%s, %s: the server was called: %t; %v", h.group, h.name, c != nil, p.err)
			return s
		}
		var i int
		fmt.Sscanf(tag, "%d.", &i)
		mu.Lock()
		defer mu.Unlock()
		bySource[p.src] = &recordedStream{
			name: fmt.Sprintf("%s, %s %03d", name, h.group, i), long: len(strings.Join(h.talk, "")) > tooLongToDrip,
			client: p.heard, server: string(c.heard), scans: fmt.Sprintf("clean: %q\ncaught: %q", p.clean, p.caught),
		}
		return s
	}, name, new(table))
	l.Parent.Close()
	err := wait(l.t, l.Ended)
	l.Ended <- err
	for number, lines := range sessionLogs(l.Text()) {
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "CLOSE") })
		log := strings.Join(lines, "\n")
		src := clientOf(log)
		same := sameEachTime(number, src, l.addr, x.addr)
		if r, ok := bySource[src]; ok {
			texts[r.name] = same(r.text(log)) + unnamed(fmt.Sprintf("offences: %+v\n", l.offencesOf(number)))
		}
	}
}

var accepted = regexp.MustCompile(`(?m)^ACCEPT: from=([\d.:]+)`)

// clientOf is whose session a log is about.
func clientOf(log string) string {
	if m := accepted.FindStringSubmatch(log); m != nil {
		return m[1]
	}
	return ""
}

func (h *house) offencesOf(number uint64) (list []imsg.Found) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.offences {
		if o.Number == number {
			list = append(list, o.Found)
		}
	}
	return list
}
