// What is recorded of a dialogue: a text in which nothing is left that is another
// one each time. Log lines are sorted: two goroutines write them, in an order that
// means nothing. So are quotas that replies are charged to apart from the rest.

package session

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	spent    = regexp.MustCompile(`\btime=\d+`)
	ourChunk = regexp.MustCompile(`\bBDAT \d+\r\nX-Nat-`)
	ourSize  = regexp.MustCompile(`\bSIZE (9999\d+|48\d\d)\r\n`)
)

// record returns it.
func (p *play) record(logs []string, kept string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	part := func(name string, said ...string) {
		fmt.Fprintf(&text, "%s:\n", name)
		for _, s := range said {
			for line := range strings.Lines(p.same(s)) {
				fmt.Fprintf(&text, "  %s\n", strings.Trim(fmt.Sprintf("%q", line), `"`))
			}
		}
	}
	part("client says", p.said...)
	part("client hears", string(p.client.heard))
	part("server hears", string(p.server.heard))
	part("rooms hear", p.asked...)
	part("lockd is told of refusals", p.charged...)
	part("kept", kept)
	part("log", logs...)
	return text.String()
}

// same takes out what differs from one time to the next.
func (p *play) same(s string) string {
	src := ""
	if p.client.conn != nil {
		src = p.client.conn.LocalAddr().String()
	}
	return sameEachTime(p.number, src, p.house.addr, p.house.server)(s)
}

// sameEachTime returns what takes a session's number and addresses out of a text, and
// times.
func sameEachTime(number uint64, src, gate, server string) func(string) string {
	id := regexp.MustCompile(fmt.Sprintf(`\d{10}\.%d\b`, number))
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	pairs := []string{gate, "GATE", " DESTPORT=" + port(gate), " DESTPORT=P", server, "SERVER"}
	if src != "" {
		pairs = append(pairs, src, "CLIENT", "[127.0.0.1]:"+port(src), "[CLIENT]", " PORT="+port(src), " PORT=P")
	}
	names := strings.NewReplacer(pairs...)
	return func(s string) string {
		s = names.Replace(id.ReplaceAllString(s, "START.N"))
		s = ourChunk.ReplaceAllString(s, "BDAT N\r\nX-Nat-")
		s = ourSize.ReplaceAllString(s, "SIZE LOWERED\r\n")
		return spent.ReplaceAllString(s, "time=T")
	}
}

var sessionLine = regexp.MustCompile(`smtp-gated\[(\d+)\]: (.*)\n`)

// sessionLogs are the lines of a log by session, sorted.
func sessionLogs(text string) map[uint64][]string {
	logs := make(map[uint64][]string)
	for line := range strings.Lines(text) {
		if m := sessionLine.FindStringSubmatch(line); m != nil {
			number, _ := strconv.ParseUint(m[1], 10, 64)
			logs[number] = append(logs[number], m[2])
		}
	}
	for _, list := range logs {
		slices.Sort(list)
	}
	return logs
}
