// What is recorded, drawn by chance from a number: the same number is the same
// dialogue for ever. Chance knows what may stand beside what, so that no dialogue
// depends on who is faster: behind a word that ends a session, or that the gateway
// may answer in place of the server, nothing is said before it has had its effect.

package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// draft is a dialogue being drawn.
type draft struct {
	*rand.Rand
	*dialogue
	slow bool // no commands in one go, unless the server holds its answers back
	last bool // no turn may follow
}

func newDraft(n int, p *plan) *draft {
	d := &draft{Rand: rand.New(rand.NewPCG(uint64(n), 1)), dialogue: &dialogue{name: fmt.Sprintf("%05d", n), plan: p}}
	d.drawServer(n)
	return d
}

// draw draws the n-th dialogue, for a house.
func draw(n int, p *plan) *dialogue {
	d := newDraft(n, p)
	d.drawRooms()
	if d.slow {
		d.msa.resets = d.msa.moody / 2
	}
	if !d.begin() {
		for range 1 + d.IntN(8) {
			if !d.last {
				d.turn()
			}
		}
	}
	if !d.last {
		d.end()
	}
	return d.dialogue
}

func (d *draft) often(p float64) bool { return d.Float64() < p }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (d *draft) drawServer(n int) {
	m := &d.msa
	m.Rand = rand.New(rand.NewPCG(uint64(n), 2))
	m.mode = (*msa).command
	m.greeting = pick(d.Rand, "220 mx.example ESMTP\r\n", "220 mx.example ESMTP\r\n", "220 mx.example ESMTP\r\n", "220 mx.example ESMTP\r\n", "220-mx.example ESMTP\r\n220 hello\r\n", "220 mx.example\r\n", "554 5.7.1 no service\r\n", "220-esmtp\r\n220-\r\n220\r\n")
	m.many = pick(d.Rand, 0, 0, 0.3)
	m.stays = d.often(0.2)
	m.early = d.IntN(len(answers))
	m.unloved = d.often(0.2)
	for _, o := range []struct {
		p    float64
		list []string
	}{
		{0.9, []string{"PIPELINING"}},
		{0.8, []string{"SIZE 100000000", "SIZE 100000000", "SIZE", "size 0", "SIZE 5000"}},
		{0.8, []string{"AUTH PLAIN LOGIN", "AUTH=LOGIN"}},
		{0.8, []string{"STARTTLS"}},
		{0.8, []string{"XCLIENT NAME ADDR PROTO HELO PORT LOGIN", "XCLIENT ADDR DESTADDR DESTPORT", "xclient addr name", "XCLIENT"}},
		{0.3, privateOffers},
		{0.3, privateOffers},
		{0.8, []string{"CHUNKING"}},
		{0.5, []string{"BINARYMIME"}},
		{0.7, []string{"ENHANCEDSTATUSCODES"}},
		{0.5, []string{"DSN", "SMTPUTF8", "8BITMIME", "X-NEW thing"}},
	} {
		if d.often(o.p) {
			m.offers = append(m.offers, pick(d.Rand, o.list...))
		}
	}
	switch d.IntN(10) {
	case 0, 1, 2, 3:
	case 4, 5, 6:
		m.moody, m.refuses = 0.25, pick(d.Rand, 0, 0.3)
	default:
		m.moody = pick(d.Rand, 0, 0.1)
		m.burst, m.burstAt = &outbursts[d.IntN(len(outbursts))], d.IntN(14)
		if m.burst.reset && m.burstAt == 0 { // the gateway may find out while it connects
			m.burstAt = 1
		}
		d.slow = true
	}
}

var (
	clean     = imsg.Finding{Outcome: imsg.Clean}
	infected  = imsg.Finding{Outcome: imsg.Caught, Name: "Eicar-Test"}
	nameless  = imsg.Finding{Outcome: imsg.Caught}
	broken    = imsg.Finding{Outcome: imsg.Failed, Problem: "no such thing"}
	overdue   = imsg.Finding{Outcome: imsg.TimedOut, Problem: "too slow"}
	spammy    = imsg.Finding{Outcome: imsg.Clean, Score: 11.5}
	hammy     = imsg.Finding{Outcome: imsg.Clean, Score: -2.25}
	unasked   = imsg.Finding{}
	scanTells = [][2]imsg.Finding{
		{clean, hammy},
		{clean, clean},
		{clean, clean},
		{clean, hammy},
		{infected, clean},
		{nameless, spammy},
		{clean, spammy},
		{broken, clean},
		{clean, broken},
		{overdue, overdue},
		{overdue, clean},
		{infected, broken},
		{unasked, unasked},
	}
)

// tell returns what answers a scan with these.
func tell(virus, spam imsg.Finding) func(link.Request, *imsg.Scan) {
	return func(r link.Request, m *imsg.Scan) {
		var v imsg.Verdict
		for _, f := range found(virus, spam).Findings {
			if f.Roles&m.Roles != 0 {
				v.Findings = append(v.Findings, f)
			}
		}
		family.Answer(r, &v)
	}
}

// drawRooms draws what scand and lockd say.
func (d *draft) drawRooms() {
	for range 1 + d.IntN(3) {
		if d.often(0.05) {
			errno := pick(d.Rand, imsg.Timeout, imsg.Busy, imsg.Resource, imsg.Internal)
			d.verdicts = append(d.verdicts, func(r link.Request, _ *imsg.Scan) { r.Fail(errno) })
			continue
		}
		tells := scanTells[d.IntN(len(scanTells))]
		d.verdicts = append(d.verdicts, tell(tells[0], tells[1]))
	}
	if d.often(0.04) {
		d.atScan = pick(d.Rand, "552 5.3.4 no\r\n", "452-4.3.1 no\r\n452 4.3.1 no\r\n", "421 4.3.2 down\r\n", "250 2.0.0 queued\r\n", "what?\r\n")
	}
	if !d.often(0.25) {
		return
	}
	d.over = make(map[imsg.Rate]quotaUse)
	for range 1 + d.IntN(3) {
		c := imsg.Rate(1 + d.IntN(int(imsg.RateAuthRejects)+1))
		if c > imsg.RateAuthRejects { // quotas of TLS are for sessions that nobody reads
			c = imsg.RateTargets
		}
		use := quotaUse{from: 1 + d.IntN(4), refusal: pick(d.Rand, imsg.RefusedRate, imsg.RefusedRate, imsg.RefusedRateError)}
		if d.often(0.1) {
			use.errno = imsg.Internal
		}
		if c == imsg.RateTargets {
			use.refusal = imsg.RefusedTargets
			use.from = pick(d.Rand, 1, 2, 2, 2)
		}
		if c >= imsg.RateMailFromRejects && c <= imsg.RateAuthRejects {
			d.slow = true
			d.msa.moody = max(d.msa.moody, 0.4)
		}
		d.over[c] = use
	}
}

// add adds a turn.
func (d *draft) add(turn func(*play)) { d.turns = append(d.turns, turn) }

// say has lines said, in one go or one by one.
func (d *draft) say(lines ...string) {
	chunks := slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "BDAT") })
	switch {
	case len(lines) > 1 && !d.slow && (!chunks || d.msa.moody == 0 && d.msa.refuses == 0) && d.often(0.5):
		d.add(func(p *play) { p.group(false, lines...) })
	case d.mayHold(lines) && d.often(0.4):
		if lines[len(lines)-1] != "DATA\r\n" {
			lines = append(lines, "NOOP hold\r\n")
		}
		d.add(func(p *play) { p.group(true, lines...) })
	default:
		for _, line := range lines {
			d.add(func(p *play) { p.group(false, line) })
		}
	}
}

// mayHold tells whether the gateway passes all these lines on before it has an
// answer to any of them.
func (d *draft) mayHold(lines []string) bool {
	if d.plan.waits || len(lines) > 8 {
		return false
	}
	_, messages := d.over[imsg.RateMessages]
	for i, line := range lines {
		verb := strings.ToUpper(line[:min(4, len(line))])
		switch verb {
		case "BDAT", "AUTH", "STAR", "QUIT":
			return false
		case "RSET":
			if d.plan.chunks {
				return false
			}
		case "DATA":
			if d.plan.chunks || messages || i < len(lines)-1 || line != "DATA\r\n" {
				return false
			}
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") || !strings.HasSuffix(line, "\r\n") {
			return false
		}
	}
	return true
}
