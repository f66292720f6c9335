// Dialogues in the middle of which the worker's generation must end, each in a house
// of its own.

package session

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// calm is a dialogue with a server that refuses nothing.
func calm(name string, p *plan, turns ...func(*play)) *dialogue {
	d := &dialogue{name: name, plan: p, turns: turns}
	d.verdicts = []func(link.Request, *imsg.Scan){tell(clean, hammy)}
	d.msa = msa{
		Rand: rand.New(rand.NewPCG(1, 1)), mode: (*msa).command, greeting: "220 mx.example ESMTP\r\n",
		offers: []string{"PIPELINING", "CHUNKING", "AUTH PLAIN LOGIN", "STARTTLS", "XCLIENT ADDR PORT", "ENHANCEDSTATUSCODES"},
	}
	return d
}

// mustEnd has the generation end, and waits until the worker knows. The server does
// not answer the QUIT that the gateway says now: nobody may read that any more.
func (p *play) mustEnd() {
	p.mu.Lock()
	p.said = append(p.said, "(the generation must end)")
	p.msa.speedy = true
	p.mu.Unlock()
	p.house.Tell(&imsg.Drain{End: true})
	wait(p.house.t, p.house.drains)
}

// isOut waits until the server has heard this.
func (p *play) isOut(text string) {
	p.await(func() bool { return strings.Contains(string(p.server.heard), text) })
}

// one says lines one by one.
func one(lines ...string) func(*play) {
	return func(p *play) {
		for _, line := range lines {
			p.group(false, line)
		}
	}
}

// owed says lines in one go; the answers come behind the end of the generation. The
// last line is one that the server hears.
func owed(lines ...string) func(*play) {
	return func(p *play) {
		n, had := p.heardReplies(), p.hadHeard()
		p.hold()
		p.says(strings.Join(lines, ""))
		p.awaitHeard(n, had, lines[len(lines)-1])
		p.mustEnd()
		p.release()
		p.awaitReplies(n + len(lines))
	}
}

// unended says what is not to be answered before the end, and awaits that the server
// hears this of it.
func unended(text, heard string) func(*play) {
	return func(p *play) {
		p.says(text)
		p.isOut(heard)
		p.mustEnd()
	}
}

// onGoing says the rest, and waits for n replies to it.
func onGoing(text string, n int) func(*play) {
	return func(p *play) {
		had := p.heardReplies()
		p.says(text)
		p.awaitReplies(had + n)
	}
}

// introduced has the server answer n times before the generation must end.
func introduced(heard ...string) func(*play) {
	return func(p *play) {
		for _, words := range heard {
			p.mu.Lock()
			p.msa.release()
			p.msa.hold = true
			p.mu.Unlock()
			p.isOut(words)
		}
		p.mustEnd()
		p.awaitEnd()
	}
}

// atScan has the generation end while a message is scanned.
func atScan(virus, spam imsg.Finding) func(*play) {
	return func(p *play) {
		p.verdicts = []func(link.Request, *imsg.Scan){func(r link.Request, m *imsg.Scan) {
			p.mustEnd()
			tell(virus, spam)(r, m)
		}}
	}
}

// askedAtEnd has the generation end while lookupd is asked.
func askedAtEnd(m imsg.Message, h *recordHouse) imsg.Message {
	h.mu.Lock()
	p := h.now
	h.mu.Unlock()
	p.mustEnd()
	return policies(m)
}

// recordEnds adds what is recorded of such dialogues.
func recordEnds(t *testing.T, texts map[string]string) {
	const (
		ehlo  = "EHLO client.example\r\n"
		from  = "MAIL FROM:<a@client.example>\r\n"
		to    = "RCPT TO:<b@mx.example>\r\n"
		data  = "DATA\r\n"
		noop  = "NOOP\r\n"
		end   = ".\r\n"
		piece = "Subject: x\r\n\r\none\r\n"
		next  = "NOOP next\r\n"
	)
	whole := func(c *imsg.SessionConfig) { c.ScanChunks = false }
	small := func(c *imsg.SessionConfig) { c.SizeLimit, c.NatHeaderType = 40, imsg.NatNone }
	bad := func(c *imsg.SessionConfig) { c.RejectHelo = "bad" }
	spf := func(c *imsg.SessionConfig) { c.SPF, c.SPFFixedIP = imsg.SPFFixed, netip.MustParseAddr("192.0.2.7") }
	skip := func(c *imsg.SessionConfig) { c.AuthSkip = imsg.SkipDirect }
	chunk := chunkOf(piece, "")
	rest := strings.Repeat("x", 30-len(piece))
	last := chunkOf(piece, " LAST")
	for i, c := range []struct {
		name   string
		change func(*imsg.SessionConfig)
		turns  []func(*play)
	}{
		{"greeted", nil, []func(*play){(*play).mustEnd}},
		{"not greeted", nil, []func(*play){introduced()}},
		{"idle", nil, []func(*play){one(ehlo), (*play).mustEnd}},
		{"half a command", nil, []func(*play){one(ehlo, noop), unended("NO", noop)}},
		{"half an end of line", nil, []func(*play){one(ehlo, noop), unended("NOOP\r", noop)}},
		{"a sender", nil, []func(*play){one(ehlo, from), (*play).mustEnd}},
		{"an envelope", nil, []func(*play){one(ehlo, from, to), (*play).mustEnd}},
		{"replies are owed", nil, []func(*play){one(ehlo), owed(noop, "BURL x\r\n", "VRFY a\r\n")}},
		{"an envelope is owed", nil, []func(*play){one(ehlo), owed(from, to)}},
		{"EHLO is owed", nil, []func(*play){owed(ehlo)}},
		{"AUTH", nil, []func(*play){one(ehlo), owed("AUTH LOGIN\r\n")}},
		{"AUTH with a response", nil, []func(*play){one(ehlo), owed("AUTH PLAIN AGEAYg==\r\n")}},
		{"a challenge", nil, []func(*play){one(ehlo), onGoing("AUTH LOGIN\r\n", 1), (*play).mustEnd}},
		{"a second challenge", nil, []func(*play){one(ehlo), onGoing("AUTH LOGIN\r\n", 1), owed("dXNlcg==\r\n")}},
		{"a last response", nil, []func(*play){one(ehlo), onGoing("AUTH PLAIN\r\n", 1), owed("AGEAYg==\r\n")}},
		{"logged in to go direct", skip, []func(*play){one(ehlo), owed("AUTH PLAIN AGEAYg==\r\n")}},
		{"QUIT", nil, []func(*play){one(ehlo), owed("QUIT\r\n")}},
		{"DATA refused", nil, []func(*play){one(ehlo, from), owed(data)}},
		{"DATA", nil, []func(*play){one(ehlo, from, to), owed(data), onGoing(piece+end, 1)}},
		{"an envelope and DATA", whole, []func(*play){one(ehlo), owed(from, to, data), onGoing(piece+end+next, 2)}},
		{"before the text", nil, []func(*play){one(ehlo, from, to), onGoing(data, 1), (*play).mustEnd, onGoing(piece+end, 1)}},
		{"in the text", nil, []func(*play){one(ehlo, from, to), onGoing(data, 1), unended(piece, piece), onGoing(end+next, 2)}},
		{"in the text, with a second message behind", nil, []func(*play){one(ehlo, from, to), onGoing(data, 1), unended(piece, piece), onGoing(end+from+to, 3)}},
		{"behind the end", nil, []func(*play){one(ehlo, from, to), onGoing(data, 1), owed(piece+end, next)}},
		{"behind the end, and DATA", whole, []func(*play){one(ehlo, from, to), onGoing(data, 1), owed(piece+end, from, to, data), onGoing(piece+end, 1)}},
		{"scanned", nil, []func(*play){atScan(clean, hammy), one(ehlo, from, to, data)}},
		{"scanned, with commands behind", nil, []func(*play){atScan(clean, hammy), one(ehlo, from, to), onGoing(data, 1), onGoing(piece+end+noop+next, 3)}},
		{"caught", nil, []func(*play){atScan(infected, clean), one(ehlo, from, to, data)}},
		{"spam", nil, []func(*play){atScan(clean, spammy), one(ehlo, from, to, data)}},
		{"scans fail", nil, []func(*play){atScan(broken, overdue), one(ehlo, from, to, data)}},
		{"between chunks", nil, []func(*play){one(ehlo, from, to, chunk), (*play).mustEnd, one(chunk, last)}},
		{"between chunks, then RSET", nil, []func(*play){one(ehlo, from, to, chunk), (*play).mustEnd, one("RSET\r\n")}},
		{"a chunk is owed", nil, []func(*play){one(ehlo, from, to, chunk), owed(chunk), one(last)}},
		{"in a chunk", nil, []func(*play){one(ehlo, from, to), unended("BDAT 30\r\n"+piece, piece), onGoing(rest, 1), one(last)}},
		{"in the last chunk", nil, []func(*play){one(ehlo, from, to), unended("BDAT 30 LAST\r\n"+piece, piece), onGoing(rest, 1)}},
		{"in a refused chunk", nil, []func(*play){one(ehlo), unended("BDAT 30\r\n"+piece, "RSET\r\n"), onGoing(rest, 1)}},
		{"chunks are scanned", nil, []func(*play){atScan(clean, hammy), one(ehlo, from, to, chunk, last)}},
		{"chunks are caught", nil, []func(*play){atScan(infected, hammy), one(ehlo, from, to, chunk, last)}},
		{"takeover", bad, []func(*play){one("EHLO bad\r\n"), (*play).mustEnd}},
		{"takeover, in a command", bad, []func(*play){one("EHLO bad\r\n", from), func(p *play) { p.says("NO") }, (*play).mustEnd}},
		{"takeover, in a text", small, []func(*play){one(ehlo, from, to), onGoing(data, 1), onGoing(strings.Repeat("0123456789\r\n", 4), 1), (*play).mustEnd, onGoing("more\r\n"+end, 1)}},
		{"takeover behind a virus", nil, []func(*play){func(p *play) { p.verdicts[0] = tell(infected, clean) }, one(ehlo, from, to, data, noop), (*play).mustEnd}},
		{"XCLIENT, not greeted", withXclient, []func(*play){introduced()}},
		{"XCLIENT, EHLO is owed", withXclient, []func(*play){introduced("EHLO gate.example\r\n")}},
		{"XCLIENT is owed", withXclient, []func(*play){introduced("EHLO gate.example\r\n", "XCLIENT ADDR")}},
		{"STARTTLS", nil, []func(*play){one(ehlo), owed("STARTTLS\r\n")}},
		{"direct", nil, []func(*play){one(ehlo, "STARTTLS\r\n", "\x16\x03\n"), (*play).mustEnd}},
		{"half a reply", nil, []func(*play){one(ehlo), (*play).halfReply}},
		{"SPF is asked for", spf, []func(*play){one(ehlo, from)}},
	} {
		if imsgtest.Brief() && i > 0 {
			break
		}
		t.Run("must end, "+c.name, func(t *testing.T) {
			var h *recordHouse
			p := &plan{chunks: true, change: func(cfg *imsg.SessionConfig) {
				cfg.ScanChunks = true
				if c.change != nil {
					c.change(cfg)
				}
			}, answers: func(m imsg.Message) imsg.Message { return askedAtEnd(m, h) }}
			h = newRecordHouse(t, *p)
			d := calm("must end, "+c.name, p, append(slices.Clip(c.turns), (*play).awaitEnd)...)
			d.msa.stays = true // else it may be the first to go
			d.mute = strings.Contains(c.name, "not greeted") || strings.HasPrefix(c.name, "XCLIENT")
			maps.Copy(texts, h.collect([]*play{h.play(d)}))
		})
	}
}

// halfReply has the generation end in the middle of a reply.
func (p *play) halfReply() {
	n, had := p.heardReplies(), p.hadHeard()
	p.hold()
	p.says("NOOP half\r\n")
	p.awaitHeard(n, had, "NOOP half\r\n")
	p.mu.Lock()
	p.msa.conn.Write([]byte("250-one\r\n"))
	p.mu.Unlock()
	p.await(func() bool { return strings.HasSuffix(string(p.client.heard), "250-one\r\n") })
	p.mustEnd()
	p.release()
	p.awaitReplies(n + 1)
}
