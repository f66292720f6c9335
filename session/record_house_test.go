// The houses in which dialogues are recorded, each with a configuration of its own.
// Here the other rooms are played, and what they hear is taken down for the
// session it is about.

package session

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// plan is a house to be, and what may be said in it.
type plan struct {
	name    string
	change  func(*imsg.SessionConfig)
	waits   bool                            // the gateway may wait for all replies before it goes on: the server holds none back
	chunks  bool                            // chunks pass
	closed  bool                            // there is no server
	direct  bool                            // AUTH makes a direct proxy
	tells   bool                            // the server is told of the client first
	patient bool                            // early talk is no offence
	scans   bool                            // every message is scanned
	answers func(imsg.Message) imsg.Message // of lookupd
}

// recordHouse is such a house.
type recordHouse struct {
	*house
	plan
	server  string
	dialing sync.Mutex // who has it has called, and its server is not called yet
	now     *play      // that one
	plays   map[uint64]*play
	asks    []string // of lookupd
}

// wholeHouse is the end of the name under which a house itself is recorded.
const wholeHouse = " as a whole"

// firstNumber has as many digits as the last.
const firstNumber = 1_000_000

func newRecordHouse(t *testing.T, p plan) *recordHouse {
	h := &recordHouse{plan: p, plays: make(map[uint64]*play)}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h.server = l.Addr().String()
	if p.closed {
		h.server = imsgtest.Port(t).String()
	}
	h.house = newHouse(t, h.server, func(c *imsg.SessionConfig) {
		c.PipelineSize = least
		c.MaxConnections = 1000
		if p.change != nil {
			p.change(c)
		}
	})
	h.set(func() { h.number, h.player = firstNumber, h.others })
	go h.accept(l)
	return h
}

// accept gives each call of the gateway's to the dialogue that waits for it.
func (h *recordHouse) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		conn := c.(*net.TCPConn)
		conn.SetDeadline(imsgtest.Deadline())
		h.mu.Lock()
		p := h.now
		h.mu.Unlock()
		p.mu.Lock()
		p.server.conn, p.msa.conn = conn, conn
		p.msa.hold = p.mute
		p.msa.say(p.msa.greeting)
		go p.listen(&p.server, p.msa.hears)
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

func (h *recordHouse) of(number uint64) *play {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plays[number]
}

// others is what lockd, scand and lookupd say.
func (h *recordHouse) others(_ imsg.Room, r link.Request) bool {
	switch m := r.Message.(type) {
	case *imsg.Enter:
		h.enter(r, m)
	case *imsg.Ident:
		p := h.of(m.Number)
		p.note(&p.asked, "ident %s", m.Ident)
		family.Answer(r, &imsg.Admission{Number: m.Number, Refusal: p.unnamed, Sessions: 1, Same: 2, Uses: p.quotas()})
	case *imsg.LoginTaken:
		p := h.of(m.Number)
		p.note(&p.asked, "login %s", m.Login)
		family.Answer(r, &imsg.LoginResult{Uses: p.quotas()})
	case *imsg.QuotaUse:
		h.of(m.Number).judge(r, m)
	case *imsg.Offence:
		p := h.of(m.Number)
		o := *m
		o.Number = 0
		p.note(&p.asked, "offence %s", unnamed(fmt.Sprintf("%+v", o)))
		family.Answer(r, &imsg.Done{})
	case *imsg.Leave:
		close(h.of(m.Number).left)
	case *imsg.Scan:
		h.of(m.Number).scan(r, m)
	case *imsg.TargetQuery:
		family.Answer(r, &imsg.TargetResult{Target: netip.MustParseAddrPort(h.server), Ident: "joe"})
	case *imsg.DNSBLQuery, *imsg.SPF:
		h.mu.Lock()
		h.asks = append(h.asks, fmt.Sprintf("%T %+v", m, m))
		h.mu.Unlock()
		switch a := h.answers(r.Message).(type) {
		case *imsg.Failure:
			r.Fail(a.Errno)
		case *imsg.DNSBLResult:
			family.Answer(r, a)
		case *imsg.SPFResult:
			family.Answer(r, a)
		}
	default:
		return false
	}
	return true
}

func (h *recordHouse) enter(r link.Request, m *imsg.Enter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.number++
	p := h.now
	p.number = h.number
	h.plays[h.number] = p
	family.Answer(r, &imsg.Admission{Number: p.number, Refusal: p.refusal, Sessions: 1, Same: 1, Uses: p.quotas()})
}

func (d *dialogue) quotas() (set imsg.RateSet) {
	for c := range d.over {
		set |= 1 << c
	}
	return set
}

func (p *play) note(list *[]string, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

// judge decides on a use of a quota.
func (p *play) judge(r link.Request, m *imsg.QuotaUse) {
	list := &p.asked
	if m.Counter >= imsg.RateMailFromRejects && m.Counter <= imsg.RateAuthRejects {
		list = &p.charged
	}
	p.note(list, "use of %d: %d", m.Counter, m.Amount)
	p.mu.Lock()
	p.uses[m.Counter]++
	n := p.uses[m.Counter]
	p.mu.Unlock()
	switch o := p.over[m.Counter]; {
	case n < o.from:
		family.Answer(r, &imsg.QuotaResult{QuotaUse: *m})
	case o.errno != 0:
		r.Fail(o.errno)
	default:
		family.Answer(r, &imsg.QuotaResult{QuotaUse: *m, Refusal: o.refusal})
	}
}

// scan looks at a message.
func (p *play) scan(r link.Request, m *imsg.Scan) {
	text, _ := io.ReadAll(io.NewSectionReader(r.Files[0], 0, 1<<30))
	r.Close()
	p.note(&p.asked, "scan for %d, %d octets in %s:\n%s", m.Roles, m.Size, m.Spool, text)
	verdict := p.verdicts[p.scans%len(p.verdicts)]
	p.scans++
	if p.atScan == "" || p.scans > 1 {
		verdict(r, m)
		p.mu.Lock()
		p.msa.sayRest()
		p.mu.Unlock()
		return
	}
	go func() {
		p.mu.Lock()
		io.WriteString(p.msa.conn, p.atScan)
		p.msa.struck, p.msa.answered = true, p.atScan[0] >= '4' && p.atScan[:3] != "421" && p.atScan[0] <= '5'
		p.mu.Unlock()
		p.await(func() bool { return p.server.over })
		verdict(r, m)
	}()
}

// play has a dialogue take place.
func (h *recordHouse) play(d *dialogue) *play {
	p := &play{dialogue: d, house: h, uses: make(map[imsg.Rate]int), left: make(chan bool)}
	p.cond = sync.NewCond(&p.mu)
	h.dialing.Lock()
	h.set(func() { h.now = p })
	c, err := net.Dial("tcp4", h.addr)
	if err != nil {
		h.dialing.Unlock()
		p.late = true
		return p
	}
	p.client.conn = c.(*net.TCPConn)
	p.client.conn.SetDeadline(imsgtest.Deadline())
	defer p.client.conn.Close()
	go p.listen(&p.client, p.count)
	p.await(func() bool { return p.server.conn != nil || len(p.replies) > 0 })
	h.dialing.Unlock()
	if !p.mute {
		p.awaitReplies(1)
	}
	for _, turn := range d.turns {
		if p.isOver() {
			break
		}
		turn(p)
	}
	p.part("")
	p.client.conn.CloseWrite()
	p.awaitEnd()
	p.client.conn.Close()
	if d.refusal == imsg.Admitted && d.unnamed == imsg.Admitted {
		wait(h.t, p.left)
	}
	p.mu.Lock()
	for p.server.conn != nil && !p.server.over {
		p.cond.Wait()
	}
	if p.server.conn != nil {
		p.server.conn.Close()
	}
	p.mu.Unlock()
	return p
}

// run plays all dialogues, several at a time, and returns what is to be recorded of
// each, by name.
func (h *recordHouse) run(list []*dialogue) map[string]string {
	var all sync.WaitGroup
	places := make(chan bool, 8)
	plays := make([]*play, len(list))
	for i, d := range list {
		places <- true
		all.Go(func() {
			defer func() { <-places }()
			plays[i] = h.play(d)
		})
	}
	all.Wait()
	counts := h.countsAtEnd()
	h.Parent.Close()
	texts := h.collect(plays)
	slices.Sort(h.asks)
	texts[h.name+wholeHouse] = counts + strings.Join(h.asks, "\n") + "\n"
	return texts
}

// collect waits for the worker to end, and returns what is to be recorded by name.
func (h *recordHouse) collect(plays []*play) map[string]string {
	err := wait(h.t, h.Ended)
	h.Ended <- err
	logs := sessionLogs(h.Text())
	kept := make(map[uint64]string)
	files, err := os.ReadDir(".")
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	for _, f := range files {
		_, number, _ := strings.Cut(f.Name(), ".")
		n, _ := strconv.ParseUint(strings.TrimSuffix(number, ".part"), 10, 64)
		text, _ := os.ReadFile(f.Name())
		kept[n] += f.Name() + ":\n" + string(text)
	}
	texts := make(map[string]string)
	for _, p := range plays {
		if p.late {
			h.t.Errorf("%s: something is waited for in vain; so far\n%s", p.name, p.record(logs[p.number], kept[p.number]))
		}
		texts[p.name] = p.record(logs[p.number], kept[p.number])
	}
	return texts
}

// countsAtEnd is what the worker counted. How often a client had to wait for its
// place depends on who is faster, and how much was read of a server that is dropped.
func (h *recordHouse) countsAtEnd() string {
	if _, err := link.Ask(h.lockd, &imsg.Snapshot{}, imsgtest.Patience); err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var text strings.Builder
	for i, n := range h.counts[:imsg.Counters] {
		if c := imsg.Counter(i); n > 0 && c != imsg.CountPipeline && c != imsg.CountServerBytes {
			fmt.Fprintf(&text, "counter %s: %d\n", c, n)
		}
	}
	return text.String()
}

// unnamed leaves out of an offence's form the Subject that no message has.
func unnamed(offence string) string { return strings.ReplaceAll(offence, " Subject:}", "}") }
