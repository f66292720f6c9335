// The turns of a drawn dialogue.

package session

import (
	"fmt"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// begin draws how the client begins; true: that was all.
func (d *draft) begin() bool {
	fixed := !d.plan.closed && !d.plan.tells
	switch n := d.IntN(50); {
	case n == 0 && fixed:
		d.early()
		return d.last
	case n == 1 && fixed:
		d.mute, d.msa.burst = true, nil
		d.add(func(p *play) { p.says("\x16\x03\x01\x02\x00\x01\x00"); p.awaitEnd() })
		d.last = true
		return true
	case n == 2:
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
			d.add(func(p *play) { p.group(false, "STARTTLS\r\n", "NOOP behind\r\n") })
			break
		}
		fallthrough
	case 1:
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
