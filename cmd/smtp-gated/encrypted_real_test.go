// TLS with real programs at either end. Of each way that a client and a server can have of
// it, and each that the gateway can be told, what becomes of a mail is known beforehand by
// a few rules (passage.expected): under TLS or in clear, on either side, or not at all.

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// theirName is what a client looks for in a certificate, the gateway's or the server's.
const theirName = "mx.test"

// outcome is what becomes of a mail at the first try.
type outcome string

const (
	bothLegs  outcome = "tls"
	toUsAlone outcome = "tls to us"
	byUsAlone outcome = "tls by us"
	inClear   outcome = "clear"
	later     outcome = "later" // the client keeps it
	refused   outcome = "refused"
)

// receiver is a kind of server.
type receiver struct {
	name    string
	tls     bool // it offers it
	hangs   bool // in the handshake
	trusted bool // by whoever looks at its certificate
	address string
}

// plan is what a gateway is told.
type plan struct{ policy, upstream string }

var plans = []plan{{"pass", "lockstep"}, {"mask", "lockstep"}, {"terminate", "lockstep"}, {"terminate", "always"}, {"terminate", "never"}}

func (p plan) String() string {
	if p.policy == "terminate" {
		return p.upstream
	}
	return p.policy
}

// expected is the outcome by the rules.
func expected(p plan, from *sender, to *receiver) outcome {
	if p.String() == "always" && !to.trusted {
		return later
	}
	offered, shaken := to.tls, !to.hangs && (to.trusted || !from.verifies)
	legs := bothLegs
	switch p.String() {
	case "mask":
		offered = false
	case "lockstep": // what the server's handshake comes to is told in SMTP
		offered, shaken = to.trusted, true
	case "always":
		offered, shaken = true, true
	case "never":
		offered, shaken, legs = true, true, toUsAlone
	}
	switch {
	case offered && !from.never && shaken:
		return legs
	case offered && !from.never && !from.again: // it has failed, and so has the session
		return later
	case from.needs:
		return later
	case p.String() == "always":
		return byUsAlone
	}
	return inClear
}

// switchboard connects whoever calls it to the server that is on.
type switchboard struct {
	net.Listener
	on atomic.Pointer[receiver]
}

func newSwitchboard(t *testing.T) *switchboard {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &switchboard{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.connect(c)
		}
	}()
	return s
}

func (s *switchboard) connect(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp", s.on.Load().address)
	if err != nil {
		return
	}
	defer d.Close()
	go func() {
		io.Copy(d, c)
		d.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, d)
}

// stallTime is how long the server that hangs does so: longer than the gateway waits.
const (
	handshakeTime = 5 * time.Second
	stallTime     = 8 * time.Second
)

// stall is a server that offers STARTTLS and says nothing behind its 220; else it is the one
// at address.
func stall(t *testing.T, address string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		d, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer d.Close()
		go func() {
			for in := bufio.NewReader(d); ; {
				line, err := in.ReadString('\n')
				if err != nil {
					c.Close()
					return
				}
				io.WriteString(c, strings.Replace(line, "250-PIPELINING", "250-STARTTLS", 1))
			}
		}()
		for in := bufio.NewReader(c); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.EqualFold(line, "STARTTLS\r\n") {
				io.WriteString(c, "220 go on\r\n")
				c.SetReadDeadline(time.Now().Add(stallTime))
				io.Copy(io.Discard, in)
				return
			}
			io.WriteString(d, line)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// hall is where all of them are.
type hall struct {
	dir       string
	authority *authority
	server    *postfix
	client    *postfix
	exim      func(args ...string) *exec.Cmd
	receivers []*receiver
}

// newHall starts the servers.
func newHall(t *testing.T) *hall {
	h := &hall{dir: open(t)}
	h.authority = newAuthority(t, h.dir)
	other := newAuthority(t, t.TempDir())
	var services string
	for _, r := range []struct {
		receiver
		by   *authority
		name string
		end  time.Duration
	}{
		{receiver{name: "trusted", trusted: true}, h.authority, theirName, time.Hour},
		{receiver{name: "unknown authority"}, other, theirName, time.Hour},
		{receiver{name: "expired"}, h.authority, theirName, -time.Hour},
		{receiver{name: "wrong name"}, h.authority, "other.test", time.Hour},
	} {
		folder := filepath.Join(h.dir, strings.ReplaceAll(r.receiver.name, " ", "-"))
		r.by.issue(t, folder, r.name, time.Now().Add(r.end))
		r.tls, r.address = true, imsgtest.Port(t).String()
		services += fmt.Sprintf("%s inet n - n - - smtpd -o smtpd_tls_security_level=may -o smtpd_tls_cert_file=%s/chain.pem -o smtpd_tls_key_file=%[2]s/key.pem\n", r.address, folder)
		h.receivers = append(h.receivers, &r.receiver)
	}
	// With tickets one of them would resume what another one has begun.
	h.server = runPostfix(t, services, "virtual_mailbox_domains = msa.test\nin_flow_delay = 0\nsmtpd_tls_received_header = yes\ntls_ssl_options = NO_TICKET\n")
	plain := fmt.Sprintf("127.0.0.1:%d", h.server.port)
	h.receivers = append(h.receivers, &receiver{name: "without TLS", address: plain},
		&receiver{name: "hangs", tls: true, hangs: true, address: stall(t, plain)})
	return h
}

// passage is a mail on one of the ways.
type passage struct {
	id       string
	plan     plan
	from     *sender
	to       *receiver
	virus    bool
	expected outcome
	heard    outcome // what the client says of its side
	got      outcome
	err      error
}

func TestEncryptedPassages(t *testing.T) {
	for _, name := range []string{"swaks", "openssl"} {
		needProgram(t, name)
	}
	h := newHall(t)
	h.readyExim(t)
	gates, boards := map[plan]*gate{}, map[plan]*switchboard{}
	var starting sync.WaitGroup
	for _, p := range plans {
		dir := open(t)
		g, err := newGate(dir, true)
		must(t, err)
		t.Cleanup(func() {
			g.end()
			if t.Failed() {
				t.Logf("%s: the log:\n%s", p, g.log())
			}
		})
		boards[p] = newSwitchboard(t)
		g.server = boards[p].Addr().(*net.TCPAddr).Port
		keys := filepath.Join(dir, "keys")
		h.authority.issue(t, keys, theirName, time.Now().Add(time.Hour))
		must(t, g.shows(keys, fmt.Sprintf("lock_on never\nmax_per_host 0\nworkers 1\n"+
			"tls_policy %s\ntls_upstream %s\ntls_verify name\ntls_ca_file %s\ntls_server_name %s\ntls_handshake_timeout %g\n",
			p.policy, p.upstream, h.authority.file, theirName, handshakeTime.Seconds())))
		gates[p] = g
		starting.Go(func() {
			if err := g.start(); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		})
	}
	if starting.Wait(); t.Failed() {
		return
	}
	h.startClient(t, gates)

	all := make(chan *passage, 1000)
	var running sync.WaitGroup
	for _, p := range plans {
		running.Go(func() { h.through(p, gates[p], boards[p], all) })
	}
	running.Wait()
	close(all)
	var passages []*passage
	for p := range all {
		passages = append(passages, p)
	}
	h.collect(t, passages)
	judge(t, passages)
	for p, g := range gates {
		count(t, p, g, passages)
	}
}

// through has each client send to each server by one gate, all to one server at once.
func (h *hall) through(p plan, g *gate, board *switchboard, to chan<- *passage) {
	for _, r := range h.receivers {
		board.on.Store(r)
		var clients sync.WaitGroup
		for i := range senders {
			clients.Go(func() {
				for _, virus := range []bool{false, true} {
					// A virus that finds no way says nothing.
					if virus && (!r.trusted || p.policy != "terminate" || expected(p, &senders[i], r) == later) {
						continue
					}
					one := &passage{id: fmt.Sprintf("%s.%d.%s.%t", p, i, strings.ReplaceAll(r.name, " ", "-"), virus), plan: p, from: &senders[i], to: r, virus: virus}
					one.expected = expected(p, one.from, r)
					message := cleanMail
					if virus {
						one.expected, message = refused, virusMail
					}
					message = strings.Replace(message, "<1@client.test>", "<"+one.id+"@client.test>", 1)
					one.heard, one.err = one.from.send(h, g.address(0), one.id, message)
					to <- one
				}
			})
		}
		clients.Wait()
	}
}

// collect completes what clients have heard by what the server has got, under TLS or not.
func (h *hall) collect(t *testing.T, passages []*passage) {
	accepted := 0
	for _, p := range passages {
		p.got = p.heard
		if p.heard == bothLegs || p.heard == inClear {
			accepted++
		}
	}
	mails, err := h.server.delivered(accepted)
	if err != nil {
		t.Error(err)
	}
	arrived := map[string][]bool{}
	for _, mail := range mails {
		id := identity.FindStringSubmatch(mail)
		if id == nil {
			t.Errorf("a mail without its name: %q", mail)
			continue
		}
		head, _, _ := strings.Cut(mail, "X-Nat-Received:")
		if head == mail { // nobody looked into it, and the client's Postfix has its own
			head, _, _ = strings.Cut(mail, "by client.test")
		}
		arrived[id[1]] = append(arrived[id[1]], strings.Contains(head, "(using TLSv"))
	}
	for _, p := range passages {
		legs := arrived[p.id+"@client.test"]
		delete(arrived, p.id+"@client.test")
		told := p.heard == bothLegs || p.heard == inClear
		switch {
		case p.err != nil:
			p.got = "fault"
		case len(legs) > 1:
			p.got = outcome(fmt.Sprintf("%d times", len(legs)))
		case told != (len(legs) == 1):
			p.got = outcome(fmt.Sprintf("told %s, came %t", p.heard, len(legs) == 1))
		case p.heard == bothLegs && !legs[0]:
			p.got = toUsAlone
		case p.heard == inClear && legs[0]:
			p.got = byUsAlone
		}
	}
	if len(arrived) > 0 {
		t.Errorf("nobody has sent: %v", arrived)
	}
}

// judge prints what has become of all mails, and fails for what is not by the rules.
func judge(t *testing.T, passages []*passage) {
	type cell struct {
		from *sender
		plan plan
		to   *receiver
	}
	cells, viruses := map[cell]*passage{}, map[cell]*passage{}
	var servers []*receiver
	for _, p := range passages {
		if p.virus {
			viruses[cell{p.from, p.plan, p.to}] = p
		} else {
			cells[cell{p.from, p.plan, p.to}] = p
		}
		if !slices.Contains(servers, p.to) {
			servers = append(servers, p.to)
		}
		if p.got != p.expected || p.err != nil {
			t.Errorf("%s, %s, server %s, virus %t: %q, %v; want %q", p.from.name, p.plan, p.to.name, p.virus, p.got, p.err, p.expected)
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "server\tclient")
	for _, p := range plans {
		fmt.Fprintf(w, "\t%s", p)
	}
	fmt.Fprintln(w)
	for _, r := range servers {
		for i := range senders {
			fmt.Fprintf(w, "%s\t%s", r.name, senders[i].name)
			for _, p := range plans {
				c := cell{&senders[i], p, r}
				fmt.Fprintf(w, "\t%s", cells[c].got)
				if v := viruses[c]; v != nil {
					fmt.Fprintf(w, ", virus %s", v.got)
				}
			}
			fmt.Fprintln(w)
		}
	}
	w.Flush()
	t.Logf("%d passages\n%s", len(passages), text.String())
}

// count holds what the gateway says of the mails to what has become of them.
func count(t *testing.T, p plan, g *gate, passages []*passage) {
	var clean, viruses, ended, passed uint64
	for _, one := range passages {
		if one.plan != p {
			continue
		}
		tls := one.got == bothLegs || one.got == toUsAlone
		switch {
		case one.virus:
			viruses++
		case p.policy == "pass" && tls:
		case one.got != later:
			clean++
		}
		if p.policy == "terminate" && (tls || one.virus && !one.from.never) {
			ended++
		}
		if p.policy == "pass" && (one.from.verifies || !one.from.never) && one.to.tls {
			passed++ // in vain, too
		}
	}
	r, err := g.ask()
	must(t, err)
	for name, want := range map[string]uint64{"clean": clean, "tls_terminated": ended, "tls_passed": passed, "unscanned_tls": passed, "uncleared": 0, "bugs": 0} {
		if got := r.Counters[name]; got != want {
			t.Errorf("%s: %s is %d, not %d", p, name, got, want)
		}
	}
	if r.Crashes > 0 {
		t.Errorf("%s: %d rooms crashed", p, r.Crashes)
	}
	if n := strings.Count(g.log(), "VIRUS"); viruses > 0 && n == 0 {
		t.Errorf("%s: the log has no virus", p)
	}
	must(t, g.terminate())
}
