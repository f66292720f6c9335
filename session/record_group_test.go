// Commands that are said in one go, and answers that are held back until the server
// has heard the last of them.

package session

import (
	"bytes"
	"slices"
	"strings"
)

// group says commands in one go. With held the server answers none before it has
// heard the last of them.
func (p *play) group(held bool, lines ...string) {
	n := p.heardReplies()
	had := p.hadHeard()
	if held {
		p.hold()
	}
	p.says(strings.Join(lines, ""))
	if held {
		p.awaitHeard(n, had, lines[len(lines)-1])
		p.release()
	}
	if at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "DATA") }); at >= 0 {
		// What follows in the group has become text. An answer may be
		// there already.
		if p.awaitReplies(n + at + 1); p.code(n+at) == "354" {
			p.text(n + at + 1)
			p.follow()
			return
		}
	}
	n += len(lines)
	if p.msa.tls { // each line comes back, whatever it is
		n += strings.Count(strings.Join(lines, ""), "\n") - len(lines)
	}
	p.awaitReplies(n)
	p.follow()
}

func (p *play) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.msa.release()
}

// awaitHeard waits until the server has heard this last, or is let go, or the
// client has heard more than n replies. Of what it hears had octets are older.
func (p *play) awaitHeard(n, had int, text string) {
	p.await(func() bool {
		return p.server.over || len(p.replies) > n || bytes.HasSuffix(p.server.heard[had:], []byte(text))
	})
}

// hadHeard is how much the server has heard so far.
func (p *play) hadHeard() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.server.heard)
}

// hold has the server hold its answers back until release.
func (p *play) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.msa.hold = true
}

// hastyTLS has the client go on in clear while the answer to STARTTLS is under way.
func (p *play) hastyTLS() {
	n, had := p.heardReplies(), p.hadHeard()
	p.hold()
	p.says("STARTTLS\r\n")
	p.awaitHeard(n, had, "STARTTLS\r\n")
	p.says("NOOP hasty\r\n")
	p.release()
	p.awaitReplies(n + 2)
}

// sayAndCloseHalf has the client say its last words, which are answered then.
func (p *play) sayAndCloseHalf() {
	p.hold()
	n, had := p.heardReplies(), p.hadHeard()
	p.says("NOOP\r\nVRFY x\r\n")
	p.awaitHeard(n, had, "VRFY x\r\n")
	p.said = append(p.said, "(says no more)")
	p.client.conn.CloseWrite()
	p.await(func() bool { return p.server.over })
	p.release()
	p.mu.Lock()
	if p.msa.tls {
		p.msa.conn.CloseWrite() // nobody but the server ends it
	}
	p.mu.Unlock()
	p.awaitEnd()
}

// answeredChunk is a chunk that the server answers before it is whole, if it gets
// that far: it does where it took the recipient just now.
func (p *play) answeredChunk() {
	p.mu.Lock()
	gone, last := p.server.over || p.server.conn == nil, ""
	if n := len(p.replies); n > 0 {
		last = p.replies[n-1]
	}
	p.mu.Unlock()
	if gone || !p.plan.chunks || p.plan.waits || p.over != nil || !strings.Contains(last, "recipient ok") || !p.msa.esmtp || !slices.Contains(p.msa.offers, "CHUNKING") || strings.Contains(strings.Join(p.said, ""), "BDAT") {
		return
	}
	n := p.heardReplies()
	p.says("BDAT 40\r\nSubject: x\r\n" + sayMark + "\r\n")
	p.awaitReplies(n + 1)
	p.says(strings.Repeat("x", 40-len("Subject: x\r\n"+sayMark+"\r\n")))
}
