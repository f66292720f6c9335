// The turns of a drawn dialogue, and the words of its client.

package session

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

var (
	helos      = []string{"client.example", "client.example", "[192.0.2.1]", "bad.example", "b\xc3\xa9.example", "two words"}
	senders    = []string{"a@client.example", "a@client.example", "", "bad@client.example", "fail@spf.example", "soft@spf.example", "error@spf.example", "problem@spf.example", "\xc3\xa9@client.example", "\"a b\"@client.example", "a@\xc3\xa9.example", "longer.than.the.log.shows.of.it.and.then.some.more.of.it.for.good.measure@client.example", "fail@spf.example(a@b)"}
	parameters = []string{"", "", "", " SIZE=100", " SIZE=100000", " BODY=8BITMIME", " BODY=BINARYMIME", " size=3000 AUTH=<>", " PRDR", " TRANSID=<x>"}
	rcpts      = []string{"b@mx.example", "b@mx.example", "c@mx.example", "bad@mx.example", "\xc3\xa9@mx.example", "a.recipient.whose.name.is.longer.than.the.log.shows.of.it@mx.example"}
	oddLines   = []string{
		"BURL imap://x\r\n", "XEXCH50 5 2\r\n", "TURN\r\n", "ATRN a\r\n", "SAML FROM:<a@client.example>\r\n", "xmrg x\r\n", "VERB ON\r\n", "X-ANONYMOUSTLS\r\n", "XCLIENT ADDR=192.0.2.9\r\n",
		"XYZZY\r\n", "HELP\r\n", "EXPN list\r\n", "ETRN x\r\n", "VRFY a\r\n", "vrfy b\r\n", "NOOP\r\n", "noop x\r\n",
		"\r\n", " \r\n", "MAIL\r\n", "RCPT\r\n", "NO\x00OP\r\n", "NOOP\rRSET\r\n", "\tNOOP\r\n", "   NOOP\r\n", "NOOP \x7f\r\n", "NOOP \xff\xfe\r\n", "MAIL FROM:\r\n", "MAIL FROM :<a@client.example>\r\n", "EHLO\r\n", "HELO\r\n",
		"NOOP " + strings.Repeat("x", 3000) + "\r\n", "NOOP " + strings.Repeat("x", 2040) + "\r\n", strings.Repeat("y", 700) + "\r\n", "\xef\xbb\xbfDATA\r\n", "MAIL\tFROM:<a@client.example>\r\n", "DATA now\r\n",
	}
	bareLines = []string{"NOOP\n", "RSET\n", "MAIL FROM:<a@client.example>\n", "NOOP x\r\r\n", "DATA\x00\n"}
	oddChunks = []string{"BDAT\r\n", "BDAT x\r\n", "BDAT -5\r\n", "BDAT 5 FIRST\r\nabc\r\n", "bdat LAST\r\n"}
	logins    = []string{"AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN\r\n", "auth login dXNlcg==\r\n", "AUTH GSSAPI\r\n", "AUTH\r\n"}
	responses = []string{"AGEAYg==\r\n", "dXNlcg==\r\n", "*\r\n", "\r\n", "x\x00y\r\n", strings.Repeat("QUFB", 3000) + "\r\n", strings.Repeat("QUFB", 4000) + "\r\n"}
	lines     = []string{
		"Subject: x\r\n", "Received: by x\r\n", "From a Mon Jan  1 00:00:00 2024\r\n", "\r\n", "\r\n", "one\r\n", "..\r\n", "..two\r\n", ". \r\n", ".x\r\n", "\xc3\xa9\xff\r\n", " folded\r\n", "QUIT\r\n", "\t\r\n",
		strings.Repeat("long ", 300) + "\r\n", "MAIL FROM:<smuggled@client.example>\r\n", "NOOP\r\n",
	}
	strayOctets = []string{"a\nb\r\n", "a\rb\r\n", "\n.\n\r\n", "a\x00b\r\n", "\r\n\x00.\r\n", ".\n\r\n", "a\r\r\n", "\x00\r\n"}
)

// begin draws how the client begins; true: that was all.
func (d *draft) begin() bool {
	fixed := !d.plan.closed && !d.plan.tells
	switch n := d.IntN(50); {
	case n == 0 && fixed:
		d.trait("early talk")
		d.early()
		return d.last
	case n == 1 && fixed:
		d.trait("TLS at once")
		d.mute, d.msa.burst = true, nil
		d.add(func(p *play) { p.says("\x16\x03\x01\x02\x00\x01\x00"); p.awaitEnd() })
		d.last = true
		return true
	case n == 2:
		d.trait("TLS")
		parts := pick(d.Rand, []string{"\x16\x03\x01\x00\x05hello\r\n"}, []string{"\x16", "\x03\x01\r\n"}, []string{"\x16", "\x02\r\n"})
		d.add(func(p *play) {
			for _, part := range parts[:len(parts)-1] {
				p.says(part)
			}
			p.group(false, parts[len(parts)-1])
		})
	case n == 3:
		return false
	}
	d.say(d.hello())
	return false
}

// early has something said before the greeting.
func (d *draft) early() {
	d.mute, d.msa.burst = true, nil
	if !d.plan.patient {
		words := pick(d.Rand, "EHLO early.example\r\n", "QUIT\r\n", "GET / HTTP/1.1\r\n", "\r\n", "NOOP"+strings.Repeat("x", 3000)+"\r\n")
		d.add(func(p *play) { p.says(words); p.awaitEnd() })
		d.last = true
		return
	}
	words := pick(d.Rand, []string{"EHLO early.example\r\n"}, []string{"NOOP\r\n", "VRFY a\r\n"})
	d.add(func(p *play) {
		p.says(strings.Join(words, ""))
		p.awaitHeard(0, 0, words[len(words)-1])
		p.release()
		p.awaitReplies(1 + len(words))
	})
}

func (d *draft) hello() string {
	return pick(d.Rand, "EHLO ", "EHLO ", "EHLO ", "EHLO ", "HELO ", "ehlo ") + pick(d.Rand, helos...) + "\r\n"
}

// turn draws one thing the client does.
func (d *draft) turn() {
	switch n := d.IntN(100); {
	case n < 45:
		d.mail()
	case n < 58:
		d.say(d.some(1+d.IntN(4), func() string { return pick(d.Rand, oddLines...) })...)
	case n < 66:
		d.logIn()
	case n < 70:
		d.say("RSET\r\n")
	case n < 75:
		d.say(d.hello())
	case n < 78 && !d.plan.direct:
		d.say(pick(d.Rand, bareLines...))
	case n < 82:
		d.say(d.some(1+d.IntN(3), d.stray)...)
	case n < 84 && !d.plan.direct:
		d.say(pick(d.Rand, oddChunks...))
	case n < 87:
		d.startTLS()
	case n < 89:
		d.vanish()
	case n < 91:
		d.many()
	case n < 92 && !d.plan.direct:
		d.trait("a chunk without end")
		d.add(func(p *play) { p.group(false, "BDAT 99999999999999999999 LAST\r\n"); p.part(""); p.client.conn.Close() })
		d.last = true
	default:
		d.say(d.some(2+d.IntN(4), func() string { return pick(d.Rand, "NOOP\r\n", "VRFY x\r\n", "NOOP again\r\n", "EXPN y\r\n") })...)
	}
}

func (d *draft) some(n int, one func() string) (list []string) {
	for range n {
		list = append(list, one())
	}
	return list
}

// stray is a command out of order.
func (d *draft) stray() string {
	return pick(d.Rand, d.sender(), d.rcpt(), "DATA\r\n", "RSET\r\n", chunkOf("stray\r\n", ""), chunkOf("stray\r\n", " LAST"))
}

func (d *draft) sender() string {
	return "MAIL FROM:<" + pick(d.Rand, senders...) + ">" + pick(d.Rand, parameters...) + "\r\n"
}

func (d *draft) rcpt() string { return "RCPT TO:<" + pick(d.Rand, rcpts...) + ">\r\n" }

func chunkOf(text, last string) string { return fmt.Sprintf("BDAT %d%s\r\n%s", len(text), last, text) }

// mail is a transaction, mostly in order.
func (d *draft) mail() {
	group := append([]string{d.sender()}, d.some(pick(d.Rand, 1, 1, 1, 2, 3, 5), d.rcpt)...)
	if d.often(0.1) {
		group = append(group, pick(d.Rand, oddLines...))
	}
	if d.often(0.03) {
		group = group[1:]
	}
	if d.plan.chunks && d.often(0.6) || d.often(0.05) {
		d.say(group...)
		d.chunked()
		return
	}
	group = append(group, "DATA\r\n")
	if d.often(0.03) && !d.slow {
		group = append(group, "NOOP behind DATA\r\n")
	}
	d.texts = append(d.texts, d.text())
	d.say(group...)
}

// text draws what is said behind a 354, if it comes.
func (d *draft) text() (t recordedText) {
	for i := range pick(d.Rand, 0, 1, 1, 1, 2, 3) {
		var piece strings.Builder
		for range d.IntN(6) {
			piece.WriteString(pick(d.Rand, lines...))
		}
		if d.often(0.12) {
			piece.WriteString(pick(d.Rand, strayOctets...))
		}
		if d.often(0.06) {
			piece.WriteString(strings.Repeat("0123456789012345678901234567890\r\n", 1+d.IntN(300)))
		}
		fmt.Fprintf(&piece, "mark %d of %d\r\n", i, d.IntN(1000))
		t.pieces = append(t.pieces, piece.String())
	}
	if n := len(t.pieces); n > 0 && d.often(0.12) {
		t.says = true
		t.pieces[n-1] += sayMark + "\r\n"
		d.trait("an answer before the end")
		if answers[d.msa.early].atScan && d.plan.scans && d.over == nil {
			d.restAtScan, d.atScan, d.msa.burst = true, "", nil
			d.verdicts = []func(link.Request, *imsg.Scan){tell(clean, hammy)}
		}
	}
	t.locked = d.often(0.05)
	t.end = []string{pick(d.Rand, ".\r\n", ".\r\n", ".\r\n", "the end\r\n.\r\n")}
	switch {
	case d.often(0.04):
		t.end, t.goes = nil, pick(d.Rand, (*play).leave, (*play).reset, (*play).closeHalf)
	case !d.slow && !t.says && d.often(0.2):
		t.end = append(t.end, d.some(1+d.IntN(3), func() string { return pick(d.Rand, "NOOP\r\n", "RSET\r\n", "VRFY x\r\n", d.sender(), d.rcpt()) })...)
	}
	return t
}

// chunked is a message in chunks.
func (d *draft) chunked() {
	var chunks []string
	n := 1 + d.IntN(4)
	for i := range n {
		text := strings.Join(d.some(d.IntN(5), func() string { return pick(d.Rand, append(lines, strayOctets...)...) }), "")
		switch {
		case d.often(0.1):
			text = ""
		case d.often(0.05):
			text = strings.Repeat("0123456789012345678901234567890\r\n", 1+d.IntN(300))
		case d.often(0.05):
			text = strings.TrimSuffix(text, "\r\n")
		}
		last := ""
		if i == n-1 && d.often(0.85) {
			last = pick(d.Rand, " LAST", " last", " LAST ")
		}
		chunks = append(chunks, chunkOf(text, last))
		if d.often(0.08) {
			chunks = append(chunks, pick(d.Rand, "RSET\r\n", "NOOP\r\n", "DATA\r\n", d.rcpt(), d.sender(), d.hello(), "BURL x\r\n"))
		}
	}
	if !d.slow && d.msa.refuses == 0 && d.msa.moody == 0 && d.often(0.3) {
		d.add(func(p *play) { p.group(false, chunks...) })
		return
	}
	if d.often(0.1) {
		d.trait("an answer before the end of a chunk")
		d.add(func(p *play) { p.answeredChunk() })
	}
	for _, chunk := range chunks {
		d.add(func(p *play) { p.group(false, chunk) })
	}
}

func (d *draft) logIn() {
	d.auth = append(d.auth, d.some(2, func() string { return pick(d.Rand, responses...) })...)
	d.say(pick(d.Rand, logins...))
}

// startTLS, and what is said behind it.
func (d *draft) startTLS() {
	switch d.IntN(4) {
	case 0:
		if !d.plan.direct {
			d.trait("clear text behind STARTTLS")
			d.add(func(p *play) { p.group(false, "STARTTLS\r\n", "NOOP behind\r\n") })
			break
		}
		fallthrough
	case 1:
		d.trait("clear text before the answer to STARTTLS")
		d.add((*play).hastyTLS)
	default:
		d.add(func(p *play) {
			p.group(false, "STARTTLS\r\n")
			p.group(false, "NOOP \xff\r\n")
		})
	}
}

// many are more commands than a client has in a takeover, or than replies may be
// owed.
func (d *draft) many() {
	list := d.some(12+d.IntN(30), func() string { return pick(d.Rand, "NOOP\r\n", "VRFY x\r\n", "MAIL\r\n", "XYZZY\r\n") })
	if d.slow {
		list = list[:12]
	}
	d.say(list...)
}

// vanish has the client go without a word, maybe while it is owed replies.
func (d *draft) vanish() {
	d.trait("the client goes")
	d.last = true
	if d.mayHold(nil) && !d.plan.direct && d.often(0.5) {
		d.add((*play).sayAndCloseHalf)
		return
	}
	d.add(pick(d.Rand, (*play).leave, (*play).reset, (*play).closeHalf))
}

// end is how it ends, if nothing else has ended it.
func (d *draft) end() {
	switch n := d.IntN(20); {
	case n < 14:
		d.say("QUIT\r\n")
	case n < 17:
		d.say("quit\r\n")
	default:
		d.vanish()
	}
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
