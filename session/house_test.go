package session

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/loop"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// house is a session worker with everybody it talks to played by the test.
type house struct {
	*family.Family
	t      testing.TB
	addr   string
	lockd  *link.Conn
	scand  *link.Conn
	drains chan bool // the worker has stopped accepting

	mu       sync.Mutex
	refusal  imsg.Refusal
	verdict  imsg.Verdict
	scanned  []string
	asked    []string // which engines, for each of them
	offences []*imsg.Offence
	left     []uint64
	passed   uint64 // octets that no QuotaUse told of
	counts   [imsg.Slots]uint64
	told     []imsg.Event
	number   uint64
	onScan   func(number uint64)
	onEnter  func(number uint64) // before it is answered
	silent   bool                // scand does not answer
	waits    bool                // so does lockd to Enter, and keeps it
	entering []link.Request
	entered  []imsg.Enter
	uses     imsg.RateSet
	trace    uint64 // that those who enter are part of
	exempt   imsg.ExemptSet
	over     map[imsg.Rate]imsg.Refusal // what becomes of a use, if not Admitted
	used     []imsg.QuotaUse
	logins   []string       // that lockd heard of
	atLogin  imsg.Refusal   // what it says of them
	holds    bool           // what is asked of a quota is not answered
	held     []link.Request // but kept
	idents   []*imsg.Ident
	unnamed  imsg.Refusal                       // of Ident
	lookup   func(imsg.Message) imsg.Message    // lookupd; an error fails
	asks     []imsg.Message                     // of lookupd
	player   func(imsg.Room, link.Request) bool // plays a room in the house's place, if it says so
}

// texts names those messages that a test waits for.
func texts() []string {
	list := make([]string, imsg.Texts)
	for text, name := range map[imsg.Text]string{
		imsg.MsgVirusFound:        "msg_virus_found",
		imsg.MsgVirusNoMore:       "msg_virus_no_more",
		imsg.MsgVirusLocked:       "msg_virus_locked",
		imsg.MsgSpoolProblem:      "msg_spool_problem",
		imsg.MsgSpamFound:         "msg_spam_found",
		imsg.MsgScannerFailed:     "msg_scanner_failed",
		imsg.MsgCannotConnect:     "msg_cannot_connect",
		imsg.MsgPipelineFull:      "msg_pipeline_full",
		imsg.MsgSessionTimeout:    "msg_session_timeout",
		imsg.MsgSignOff:           "msg_sign_off",
		imsg.MsgHello:             "msg_hello",
		imsg.MsgProtoError:        "msg_proto_error",
		imsg.MsgTransactionFailed: "msg_transaction_failed",
		imsg.MsgUnimplCommand:     "msg_unimpl_command",
		imsg.MsgTempUnavail:       "msg_temp_unavail",
		imsg.MsgMaxReached:        "msg_max_reached",
		imsg.MsgMaxPerHost:        "msg_max_per_host",
		imsg.MsgSystemLoad:        "msg_system_load",
		imsg.MsgAuthRequired:      "msg_auth_required",
		imsg.MsgSizeLimit:         "msg_size_limit",
		imsg.MsgEarlytalker:       "msg_earlytalker",
		imsg.MsgTLSHello:          "msg_tls_hello",
		imsg.MsgRatelimitTLS:      "msg_ratelimit_tls",
		imsg.MsgFixedXclientFail:  "msg_fixed_xclient_fail",
		imsg.MsgDNSDBReject:       "msg_dnsdb_reject",
		imsg.MsgSPFReject:         "msg_spf_reject",
		imsg.MsgRegexHelo:         "msg_regex_helo",
		imsg.MsgRegexMailFrom:     "msg_regex_mail_from",
		imsg.MsgRegexRcptTo:       "msg_regex_rcpt_to",
		imsg.MsgMaxPerIdent:       "msg_max_per_ident",
		imsg.MsgMaxPerLogin:       "msg_max_per_login",
		imsg.MsgLookupFailed:      "msg_lookup_failed",
		imsg.MsgLookupNotfound:    "msg_lookup_notfound",
		imsg.MsgLookupTimeout:     "msg_lookup_timeout",
		imsg.MsgLookupMismatch:    "msg_lookup_mismatch",
		imsg.MsgLookupNomem:       "msg_lookup_nomem",
		imsg.MsgLookupUnknown:     "msg_lookup_unknown",
		imsg.MsgMalformedIP:       "msg_malformed_ip",
		imsg.MsgRateReject:        "msg_rate_reject",
		imsg.MsgRatelimitError:    "msg_ratelimit_error",
		imsg.MsgRatelimitDst:      "msg_ratelimit_dst",
		imsg.MsgLoopAvoidance:     "msg_loop_avoidance",
		imsg.MsgRatelimitMessages: "msg_ratelimit_messages",
		imsg.MsgRatelimitRcptto:   "msg_ratelimit_rcptto",
		imsg.MsgRatelimitBytes:    "msg_ratelimit_bytes",

		imsg.MsgRatelimitMailfromRejects: "msg_ratelimit_mailfrom_rejects",
		imsg.MsgRatelimitRcpttoRejects:   "msg_ratelimit_rcptto_rejects",
		imsg.MsgRatelimitAuthRejects:     "msg_ratelimit_auth_rejects",
	} {
		list[text] = name
	}
	return list
}

// config is what most tests start from: fixed mode, both engines on.
func config(server string) *imsg.SessionConfig {
	return &imsg.SessionConfig{
		ProxyName: "gate.example", Mode: imsg.ModeFixed, Servers: []netip.AddrPort{netip.MustParseAddrPort(server)},
		TLS: imsg.TLSConfig{Policy: imsg.TLSPass}, MaxConnections: 64, PipelineSize: 128, TakeoverCmds: 10,
		TimeoutDirect: imsgtest.Patience, TimeoutLookup: imsgtest.Patience, TimeoutSession: imsgtest.Patience,
		TimeoutIdle: imsgtest.Patience, TimeoutConnect: imsgtest.Patience, TimeoutScan: imsgtest.Patience,
		EarlyTalk: true, Antivirus: true, Antispam: true, ScanMaxSize: 10 << 20, SpamMaxSize: 10 << 20, SpamThreshold: 7,
		SpamRefuse: true, LockDuration: 3600,
		SpoolPath: "/spool", SpoolPerm: 0o600, SpoolLeaveOn: imsg.LeaveError,
		NatHeader: "X-Nat-Received", NatHeaderType: imsg.NatGeneric, SpoolHeader: "X-Proxy-Spool-Info",
		Texts: texts(), EmailLength: 64,
	}
}

// withoutLoop has the houses of a test wait for each connection by itself.
func withoutLoop(t *testing.T) {
	before := newLoop
	newLoop = func() (loop.Poller, error) { return nil, errors.New("there is none") }
	t.Cleanup(func() { newLoop = before })
}

// newHouse starts a worker in front of server.
func newHouse(t testing.TB, server string, change func(*imsg.SessionConfig)) *house {
	t.Helper()
	return newHouseWith(t, server, false, change)
}

// newHouseWith is newHouse, be it for clients that begin with TLS.
func newHouseWith(t testing.TB, server string, tls bool, change func(*imsg.SessionConfig)) *house {
	t.Helper()
	t.Chdir(t.TempDir())
	h := &house{t: t, drains: make(chan bool, 1), number: 100}
	h.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean})
	h.Family = family.Open(t, imsg.Session, Main, func(r link.Request) {
		if _, ok := r.Message.(*imsg.Drained); ok {
			h.drains <- true
		}
	})
	cfg := config(server)
	if change != nil {
		change(cfg)
	}
	h.Configure(cfg)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h.Tell(&imsg.Listener{Address: netip.MustParseAddrPort(h.addr), TLS: tls}, lf)
	lf.Close()
	h.lockd = h.Join(imsg.Lockd, 0, h.asLockd)
	h.scand = h.Join(imsg.Scand, 0, h.asScand)
	h.Join(imsg.Lookupd, 0, h.asLookupd)
	if tls || cfg.TLS.Terminates() {
		h.joinKeys()
	}
	h.Tell(&imsg.Start{})
	t.Cleanup(func() {
		h.Parent.Close()
		if err := wait(t, h.Ended); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	return h
}

// played has the test's own player deal with what a room is told, if there is one.
func (h *house) played(room imsg.Room, r link.Request) bool {
	h.mu.Lock()
	player := h.player
	h.mu.Unlock()
	return player != nil && player(room, r)
}

func (h *house) asLockd(r link.Request) {
	if h.played(imsg.Lockd, r) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch m := r.Message.(type) {
	case *imsg.Enter:
		h.number++
		h.entered = append(h.entered, *m)
		if h.onEnter != nil {
			h.onEnter(h.number)
		}
		if h.waits {
			h.entering = append(h.entering, r)
			return
		}
		family.Answer(r, &imsg.Admission{Number: h.number, Refusal: h.refusal, Sessions: 1, Same: 1, Uses: h.uses, Trace: h.trace, Exempt: h.exempt})
	case *imsg.Ident:
		h.idents = append(h.idents, m)
		family.Answer(r, &imsg.Admission{Number: m.Number, Refusal: h.unnamed, Sessions: 1, Same: 2, Uses: h.uses, Exempt: h.exempt})
	case *imsg.LoginTaken:
		h.logins = append(h.logins, m.Login)
		family.Answer(r, &imsg.LoginResult{Refusal: h.atLogin, Uses: h.uses, Exempt: h.exempt})
	case *imsg.QuotaUse:
		h.used = append(h.used, *m)
		if h.holds {
			h.held = append(h.held, r)
			return
		}
		family.Answer(r, &imsg.QuotaResult{QuotaUse: *m, Refusal: h.over[m.Counter]})
	case *imsg.Offence:
		h.offences = append(h.offences, m)
		family.Answer(r, &imsg.Done{})
	case *imsg.Leave:
		h.left = append(h.left, m.Number)
		h.passed += m.Passed
	case *imsg.Events:
		h.told = append(h.told, m.Events...)
	case *imsg.Counts:
		for i, n := range m.Add {
			h.counts[i] += n
		}
	}
}

func (h *house) asLookupd(r link.Request) {
	if h.played(imsg.Lookupd, r) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asks = append(h.asks, r.Message)
	switch m := h.lookup(r.Message).(type) {
	case nil: // it takes its time
	case *imsg.Failure:
		r.Fail(m.Errno)
	case *imsg.DNSBLResult:
		family.Answer(r, m)
	case *imsg.TargetResult:
		family.Answer(r, m)
	case *imsg.SPFResult:
		family.Answer(r, m)
	}
}

// logs waits until a line is in the log, with nothing behind it.
func (h *house) logs(line string) {
	h.t.Helper()
	h.seen(line, func() bool { return h.logged(": " + line + "\n") })
}

func (h *house) logged(text string) bool { return strings.Contains(h.Text(), text) }

// found is the verdict of one engine for each role.
func found(virus, spam imsg.Finding) imsg.Verdict {
	virus.Roles, spam.Roles = imsg.RoleVirus, imsg.RoleSpam
	return imsg.Verdict{Findings: []imsg.Finding{virus, spam}}
}

func (h *house) asScand(r link.Request) {
	if h.played(imsg.Scand, r) {
		return
	}
	m := r.Message.(*imsg.Scan)
	info, _ := r.Files[0].Stat()
	b, _ := io.ReadAll(io.NewSectionReader(r.Files[0], 0, info.Size()))
	r.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scanned = append(h.scanned, string(b))
	if h.onScan != nil {
		h.onScan(m.Number)
	}
	var asked []string
	if m.Roles&imsg.RoleVirus != 0 {
		asked = append(asked, "virus")
	}
	if m.Roles&imsg.RoleSpam != 0 {
		asked = append(asked, "spam")
	}
	h.asked = append(h.asked, strings.Join(asked, " "))
	var v imsg.Verdict
	for _, f := range h.verdict.Findings {
		if f.Roles &= m.Roles; f.Roles != 0 {
			v.Findings = append(v.Findings, f)
		}
	}
	if !h.silent {
		family.Answer(r, &v)
	}
}

func (h *house) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// offence returns the first offence the worker reported.
func (h *house) offence() *imsg.Offence {
	h.t.Helper()
	h.seen("an offence", func() bool { return len(h.offences) > 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offences[0]
}

// seen waits until the test's rooms have heard something.
func (h *house) seen(what string, ok func() bool) {
	h.t.Helper()
	imsgtest.Until(h.t, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return ok()
	})
}

func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, "an event", c)
}

// peer is one side of a dialogue, with a deadline on everything.
type talker struct {
	t    testing.TB
	name string
	conn net.Conn
	r    *bufio.Reader
}

func (h *house) dial() *talker {
	h.t.Helper()
	c, err := net.Dial("tcp4", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	return newTalker(h.t, "client", c)
}

func newTalker(t testing.TB, name string, c net.Conn) *talker {
	c.SetDeadline(imsgtest.Deadline())
	t.Cleanup(func() { c.Close() })
	return &talker{t, name, c, bufio.NewReader(c)}
}

func (p *talker) say(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatalf("%s says %q: %v", p.name, s, err)
	}
}

// hears reads exactly this text.
func (p *talker) hears(want string) {
	p.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(p.r, b)
	if string(b[:n]) != want {
		more := make([]byte, p.r.Buffered())
		p.r.Read(more)
		p.t.Fatalf("%s hears %q, %v (then %q)\nwant %q", p.name, b[:n], err, more, want)
	}
}

// line reads one line, whatever it is, without CRLF.
func (p *talker) line() string {
	p.t.Helper()
	s, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s hears %q: %v", p.name, s, err)
	}
	return strings.TrimSuffix(s, "\r\n")
}

// end expects the connection to end without another octet.
func (p *talker) end() {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		p.t.Fatalf("%s should hear the end, hears %q, %v", p.name, b, err)
	}
}

// rig is a house with one session under way and its server in the test's hands.
type rig struct {
	*house
	listener       net.Listener // of servers
	client, server *talker
}

func newRig(t *testing.T, change func(*imsg.SessionConfig)) *rig {
	t.Helper()
	return newRigIn(t, change, nil)
}

// newRigIn has the house prepared before the client comes.
func newRigIn(t *testing.T, change func(*imsg.SessionConfig), prepare func(h *house, server string)) *rig {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &rig{house: newHouse(t, l.Addr().String(), change), listener: l}
	if prepare != nil {
		r.set(func() { prepare(r.house, l.Addr().String()) })
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	r.client = r.dial()
	r.server = newTalker(t, "server", wait(t, accepted))
	return r
}

// both has one side say something and the other hear it unchanged.
func (r *rig) toServer(s string) { r.t.Helper(); r.client.say(s); r.server.hears(s) }
func (r *rig) toClient(s string) { r.t.Helper(); r.server.say(s); r.client.hears(s) }

// ready brings the session to the point where the client may send its message.
func (r *rig) ready() {
	r.t.Helper()
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("EHLO client.example\r\n")
	r.toClient("250-mx.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n")
	r.toServer("MAIL FROM:<a@client.example>\r\n")
	r.toClient("250 2.1.0 Ok\r\n")
	r.toServer("RCPT TO:<b@mx.example>\r\n")
	r.toClient("250 2.1.5 Ok\r\n")
}

func (r *rig) data() {
	r.t.Helper()
	r.ready()
	r.toServer("DATA\r\n")
	r.toClient("354 go ahead\r\n")
}

// natHeader is what the server gets before the message.
func (r *rig) natHeader() {
	r.t.Helper()
	local := r.client.conn.LocalAddr().(*net.TCPAddr)
	if got, want := r.server.line(), fmt.Sprintf("X-Nat-Received: from [127.0.0.1]:%d [ident-empty]", local.Port); got != want {
		r.t.Fatalf("server hears %q\nwant %q", got, want)
	}
	got := r.server.line()
	var start, number int64
	if n, err := fmt.Sscanf(got, "\tby gate.example with TPROXY id %d.%d", &start, &number); n != 2 {
		r.t.Fatalf("server hears %q: %v", got, err)
	}
}

// natHeaderApart is the same with what parts it from a message that is text.
func (r *rig) natHeaderApart() {
	r.t.Helper()
	r.natHeader()
	r.server.hears("\r\n")
}

// text has the server hear the first lines of a message before the client says more:
// of one that is cut off it need not get what was on its way.
func (r *rig) text(lines string) {
	r.t.Helper()
	r.client.say(lines)
	r.natHeaderApart()
	r.server.hears(lines)
}
