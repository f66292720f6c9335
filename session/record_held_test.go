// Dialogues in which a refusal of the server is one too many, while answers to
// commands behind it are there already.

package session

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// heldSeed is the number of the first of these dialogues; draw has those below.
const heldSeed = 20_000

// recordHeld adds what is recorded of them.
func recordHeld(t *testing.T, texts map[string]string) {
	for i, p := range []plan{
		{name: "held answers"},
		{name: "held answers, all logged", change: func(c *imsg.SessionConfig) {
			c.LogMailFrom, c.LogRcptTo, c.Abuse = imsg.LogAccepted|imsg.LogRejected, imsg.LogAccepted|imsg.LogRejected, "abuse@gate.example"
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			var list []*dialogue
			for n := i; n < heldDialogues; n += 2 {
				if !imsgtest.Brief() || n < 2*shortStep {
					list = append(list, drawHeld(heldSeed+n, &p))
				}
			}
			maps.Copy(texts, newRecordHouse(t, p).run(list))
		})
	}
}

// drawHeld draws the n-th of them.
func drawHeld(n int, p *plan) *dialogue {
	d := newDraft(n, p)
	d.slow, d.msa.burst = true, nil
	d.msa.moody = pick(d.Rand, 0.2, 0.4, 0.7)
	d.msa.resets = d.msa.moody / 2
	d.verdicts = []func(link.Request, *imsg.Scan){tell(clean, hammy)}
	d.over = make(map[imsg.Rate]quotaUse)
	for range 1 + d.IntN(3) {
		use := quotaUse{from: pick(d.Rand, 1, 1, 2, 3), refusal: pick(d.Rand, imsg.RefusedRate, imsg.RefusedRate, imsg.RefusedRateError)}
		if d.often(0.1) {
			use.errno = imsg.Internal
		}
		d.over[pick(d.Rand, imsg.RateMailFromRejects, imsg.RateRcptToRejects, imsg.RateAuthRejects)] = use
	}
	d.say("EHLO client.example\r\n")
	for range 1 + d.IntN(3) {
		// What the gateway answers itself comes behind the first answer.
		lines := append([]string{"MAIL FROM:<a@client.example>\r\n"}, d.some(1+d.IntN(6), d.heldLine)...)
		switch d.IntN(6) {
		case 0:
			// Nothing passes behind AUTH before that is answered.
			auth := pick(d.Rand, "AUTH PLAIN AGEAYg==\r\n", "AUTH GSSAPI\r\n", "AUTH LOGIN\r\n")
			behind := d.some(d.IntN(2), d.heldLine)
			d.add(func(p *play) { p.heldAuth(lines, auth, behind) })
			continue
		case 1:
			lines = append(lines, "DATA\r\n")
			d.texts = append(d.texts, d.text())
		case 2:
			lines = append(lines, "QUIT\r\n")
		default:
			lines = append(lines, "NOOP hold\r\n")
		}
		d.add(func(p *play) { p.group(true, lines...) })
	}
	d.end()
	return d.dialogue
}

// heldLine is a command that the gateway passes on before anything is answered.
func (d *draft) heldLine() string {
	return pick(d.Rand, d.sender(), d.sender(), d.rcpt(), d.rcpt(), d.rcpt(), "RSET\r\n", "NOOP\r\n", "VRFY a\r\n", "BURL x\r\n", "XYZZY\r\n")
}

// heldAuth says commands in one go, and AUTH among them.
func (p *play) heldAuth(lines []string, auth string, behind []string) {
	if auth == "AUTH LOGIN\r\n" {
		behind = nil // the next line would be a response
	}
	n, had := p.heardReplies(), p.hadHeard()
	p.hold()
	p.says(strings.Join(slices.Concat(lines, []string{auth}, behind), ""))
	p.awaitHeard(n, had, auth)
	p.release()
	p.awaitReplies(n + len(lines) + 1 + len(behind))
	p.follow()
}
