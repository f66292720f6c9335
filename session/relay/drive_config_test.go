package relay

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what a session is made of: its configuration, its client and its
// server, all drawn from one seed.

const proxyName = "gate.example"

// newDrive draws a session. The order of its events has a seed of its own. A calm one
// has nothing in it that depends on that order.
func newDrive(seed, order uint64, calm bool) *drive {
	r := rand.New(rand.NewPCG(seed, 1))
	d := &drive{seed: seed, calm: calm, order: rand.New(rand.NewPCG(seed, 2+order)), load: r.Float64() * 4, now: 1000 * time.Hour}
	d.lazy = d.order.IntN(2) == 0
	c := drawConfig(r, calm)
	rules, err := Compile(c)
	if err != nil {
		panic(err)
	}
	d.facts = Facts{
		Config: c, Rules: rules, Number: 7, Started: time.Unix(1700000000, 0),
		Client: netip.MustParseAddrPort("192.0.2.7:1025"), Local: netip.MustParseAddrPort("192.0.2.1:25"),
		Target: netip.MustParseAddrPort("192.0.2.2:25"), Outgoing: netip.MustParseAddr("192.0.2.3"),
		Ident: []string{"", "who", "\"a b\""}[r.IntN(3)], Quotas: imsg.RateSet(r.UintN(1 << imsg.RateCounters)),
	}
	if c.TLS.Policy == imsg.TLSTerminate && c.TLS.Upstream != imsg.TLSNever {
		d.facts.Secured[Server] = r.IntN(8) == 0
	}
	if c.TLS.Policy == imsg.TLSTerminate {
		d.facts.Secured[Client] = r.IntN(8) == 0
	}
	if calm {
		// When a reply of the server is replaced by ours depends on what was said behind.
		d.facts.Quotas &^= 1<<imsg.RateMailFromRejects | 1<<imsg.RateRcptToRejects | 1<<imsg.RateAuthRejects
	}
	d.server = &mta{drive: d, seed: seed, lenient: c.BareNewline != imsg.NewlinePass && r.IntN(2) == 0, refuses: []int{0, 4, 9, 30}[r.IntN(4)]}
	offers := []string{"PIPELINING", "SIZE 1000000", "AUTH PLAIN LOGIN", "CHUNKING", "CHUNKING", "STARTTLS", "ENHANCEDSTATUSCODES", "XCLIENT NAME ADDR PORT LOGIN", "PRDR", "SMTPUTF8"}
	for _, offer := range offers {
		if r.IntN(5) > 0 || offer[0] == 'X' && r.IntN(5) > 0 {
			d.server.offers = append(d.server.offers, offer)
		}
	}
	if !calm {
		d.rare = []int{0, 20, 100, 400}[r.IntN(4)]
		d.server.odd = []int{0, 0, 0, 0, 0, 0, 60, 15}[r.IntN(8)]
		d.server.chunky = true
		d.server.floods = r.IntN(100) == 0
		d.server.silent = r.IntN(50) == 0
	}
	d.hasty = !calm && d.order.IntN(8) == 0
	d.client = &speaker{ledger: newLedger(d)}
	s := script{Rand: r, polite: calm}
	d.client.pieces = s.draw()
	if d.tlsPort = !calm && c.Mode == imsg.ModeFixed && c.TLS.Policy != imsg.TLSTerminate && r.IntN(12) == 0; d.tlsPort {
		d.facts.Target = netip.MustParseAddrPort("192.0.2.2:465")
		c.PipelineSize = max(c.PipelineSize, 2) // the greeting has a place, and does not come
		d.client.pieces = append([]piece{{octets: s.hello()}}, d.client.pieces...)
	}
	if !calm && r.IntN(40) == 0 {
		d.relay = Unreachable(&d.facts, d, imsg.RuleServer, "", c.Texts[imsg.MsgConnectFailed])
		d.wires[Server].gone = true
	} else {
		d.relay = New(&d.facts, d)
	}
	d.server.line = "hello"
	if d.tlsPort && r.IntN(4) > 0 {
		d.server.shy, d.server.tls, d.server.mode = true, true, mtaOver
		return d
	}
	d.server.reply(220, "mx.example ESMTP")
	return d
}

func drawConfig(r *rand.Rand, calm bool) *imsg.SessionConfig {
	some := func(in int) bool { return r.IntN(in) == 0 }
	c := &imsg.SessionConfig{
		ProxyName: proxyName, Mode: imsg.ModeFixed, TLS: imsg.TLSConfig{Policy: imsg.TLSPass}, Outgoing: []netip.Addr{netip.MustParseAddr("192.0.2.3")},
		PipelineSize: 1 + r.IntN(16), TakeoverCmds: 1 + r.IntN(12),
		TimeoutDirect: time.Minute, TimeoutLookup: time.Second, TimeoutSession: 5 * time.Minute, TimeoutIdle: 4 * time.Minute, TimeoutScan: time.Minute,
		AuthSkip:   imsg.AuthSkip(r.UintN(32)),
		SPFFixedIP: netip.MustParseAddr("192.0.2.4"), SPFLogOnly: some(3),
		Antivirus: !some(5), Antispam: !some(3), ScanMaxSize: []int64{0, 20, 100, 1 << 20, 1 << 20}[r.IntN(5)], SpamMaxSize: []int64{0, 20, 50, 1 << 20}[r.IntN(4)],
		SpamThreshold: 5, SpamRefuse: some(2), IgnoreErrors: some(3), SpoolPerm: 0o640,
		NatHeader: "X-Gate", NatHeaderType: imsg.NatHeader(r.IntN(3)), Abuse: "abuse@gate.example",
		BareNewline: imsg.BareNewline(r.IntN(3)), RejectNUL: some(4), ScanChunks: !some(4),
		LogHelo: some(2), LogMailFrom: imsg.LogAddress(r.IntN(8)), LogRcptTo: imsg.LogAddress(r.IntN(8)), EmailLength: 64,
	}
	if some(4) {
		c.Monitor = imsg.PolicyRuleSet(r.UintN(1 << (imsg.RuleAuth + 1)))
	}
	c.ByLogin = some(2)
	c.ReplyID, c.MessageID, c.Subject = some(2), some(2), some(2)
	for i := range imsg.Texts {
		c.Texts = append(c.Texts, fmt.Sprintf("text %d", i))
	}
	if some(3) {
		c.PipelineSize = 128
	}
	if some(2) {
		c.SpoolHeader = "X-Scan"
	}
	if some(4) {
		c.SpoolLeaveOn = imsg.LeaveOn(r.UintN(16))
	}
	if some(3) {
		c.SpamMaxLoad = 2
	}
	if some(4) {
		c.SizeLimit = []int64{10, 200, 5000}[r.IntN(3)]
	}
	if some(5) {
		c.AuthRequire = imsg.AuthRequire(1 + r.IntN(2))
	}
	if some(4) {
		c.RejectHelo, c.RejectMail, c.RejectRcpt = "bad", "bad", "bad"
	}
	if some(10) {
		c.EnforceHelo, c.EnforceMail = "e", "@|^$"
	}
	if some(4) {
		c.DNSBL = true
	}
	if some(3) {
		c.SPF = imsg.SPFAddress(1 + r.IntN(3))
	}
	if calm {
		c.AuthSkip &^= imsg.SkipDirect
		return c
	}
	switch {
	case some(3):
		c.TLS.Policy = imsg.TLSMask
	case some(2):
		c.TLS.Policy, c.TLS.Upstream = imsg.TLSTerminate, imsg.TLSUpstream(r.IntN(3))
	}
	c.EarlyTalk = some(8)
	if some(8) {
		c.Mode = imsg.ModeFixedXclient
	}
	if some(4) {
		c.TimeoutLookup, c.TimeoutScan = 0, 0
	}
	return c
}

// asked is a question to another room.
type asked struct {
	question *Question
	scan     *scan
	nth      uint64
}

// Ask notes a question.
func (d *drive) Ask(q *Question) {
	d.asks++
	a := &asked{question: q, nth: uint64(d.asks)}
	switch m := q.Message.(type) {
	case *imsg.Scan:
		a.scan = d.askScan(m)
	case *imsg.Offence:
		d.caught = d.caught && m.Found != imsg.FoundVirus
	}
	d.open = append(d.open, a)
}

// answerOne answers one of the questions, as its room would.
func (d *drive) answerOne() int {
	i := d.order.IntN(len(d.open))
	a := d.open[i]
	d.open = append(d.open[:i], d.open[i+1:]...)
	took := time.Duration(d.order.IntN(3000)) * time.Millisecond
	if a.scan != nil {
		v, err := d.verdict(a.scan)
		a.scan.answered(v, err, d.locked)
		o, _ := a.scan.outcome(imsg.RoleVirus)
		d.caught = o == imsg.Caught && !d.facts.Config.Monitor.Has(imsg.RuleVirus) && a.scan.message.Roles&imsg.RoleVirus != 0 && d.relay.client.question == a.question
		if err != nil {
			d.relay.Answer(a.question, nil, err, took)
		} else {
			d.relay.Answer(a.question, v, nil, took)
		}
		return int(a.nth)
	}
	r := d.order
	if d.calm {
		r = rand.New(rand.NewPCG(d.seed, a.nth))
	}
	var m imsg.Message
	chance := r.IntN(12)
	switch q := a.question.Message.(type) {
	case *imsg.QuotaUse:
		m = &imsg.QuotaResult{QuotaUse: *q, Refusal: map[int]imsg.Refusal{0: imsg.RefusedRate, 1: imsg.RefusedRateError}[chance]}
	case *imsg.LoginTaken:
		m = &imsg.LoginResult{Refusal: map[int]imsg.Refusal{0: imsg.RefusedLocked, 1: imsg.RefusedLogin}[chance], Uses: d.facts.Quotas, Exempt: d.facts.Exempt}
	case *imsg.Offence:
		m = new(imsg.Done)
	case *imsg.DNSBLQuery:
		l := new(imsg.DNSBLResult)
		if chance == 0 {
			l.Zone, l.Answer = "list.example", netip.MustParseAddr("127.0.0.2")
		}
		m = l
	case *imsg.SPF:
		m = &imsg.SPFResult{Verdict: imsg.SPFVerdict(chance % 7)}
	default:
		d.fail("nobody answers %T", q)
	}
	var err error
	if d.fails(10) {
		m, err = nil, []imsg.Errno{imsg.Timeout, imsg.Gone, imsg.Busy}[chance%3]
	} else if d.fails(100) {
		m = new(imsg.Failure)
	}
	if q, ok := m.(*imsg.QuotaResult); ok && q.Counter == imsg.RateBytes {
		d.granted = q.Refusal == imsg.Admitted
	}
	d.relay.Answer(a.question, m, err, took)
	return int(a.nth)
}

// Log, Always, Count and Load are of no interest.
func (d *drive) Log(slog.Level, string, ...any) {}

func (d *drive) Always(string, ...any) {}

// Count counts nothing.
func (d *drive) Count(imsg.Counter, uint64) {}

// Asked counts nothing.
func (d *drive) Asked(uint32, uint32) {}

// Took looks at no clock.
func (d *drive) Took(imsg.Histogram, time.Duration) {}

// Now is always the beginning.
func (d *drive) Now() time.Duration { return 0 }

// Tell keeps the codes of what the client is refused. What lockd is told must keep the
// rules.
func (d *drive) Tell(e imsg.Event) {
	if err := imsg.Row((*imsg.Events)(nil)).Check(&imsg.Events{Events: []imsg.Event{e}}); err != nil {
		d.fail("an event breaks a rule: %v", err)
	}
	if e.ServerName != "" && e.ServerName != helloName {
		d.fail("the client asks for %q", e.ServerName)
	}
	if e.Rule != imsg.NoRule {
		d.told = append(d.told, e.Code)
	}
}

func (d *drive) Observe(imsg.FindingID, string, string) {}

// Octets is how many have come of both sides.
func (d *drive) Octets() uint64 {
	return uint64(d.wires[Client].come + d.wires[Server].come + d.moved)
}

// Load is the machine's.
func (d *drive) Load() float64 { return d.load }
