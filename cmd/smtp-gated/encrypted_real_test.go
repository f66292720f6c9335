// TLS with real programs at either end. Of each way that a client and a server can have of
// it, and each that the gateway can be told, what becomes of a mail is known beforehand by
// a few rules (passage.expected): under TLS or in clear, on either side, or not at all.

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

// sender is a kind of client.
type sender struct {
	name     string
	needs    bool // it sends nothing in clear
	verifies bool
	never    bool // it never asks for TLS
	send     func(h *hall, gate, id, message string) (heard outcome, err error)
}

var senders = []sender{
	{name: "swaks --tls", needs: true, send: swaks("--tls")},
	{name: "swaks --tls-optional", send: swaks("--tls-optional")},
	{name: "openssl s_client", needs: true, verifies: true, send: openssl},
	{name: "Postfix, none", never: true, send: byPostfix("none")},
	{name: "Postfix, may", send: byPostfix("may")},
	{name: "Postfix, encrypt", needs: true, send: byPostfix("encrypt")},
	{name: "Postfix, secure", needs: true, verifies: true, send: byPostfix("secure")},
}

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
	case offered && !from.never: // it has failed, and so has the session
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

// levels are what a Postfix may be told of TLS.
var levels = []string{"none", "may", "encrypt", "secure"}

// startClient starts the Postfix that sends, with a way to each gate.
func (h *hall) startClient(t *testing.T, gates map[plan]*gate) {
	var services, routes strings.Builder
	for _, level := range levels {
		fmt.Fprintf(&services, "smtp-%s unix - - n - - smtp -o smtp_tls_security_level=%[1]s\n", level)
		for p, g := range gates {
			fmt.Fprintf(&routes, "%[1]s.%[2]s@msa.test smtp-%[1]s:[127.0.0.1]%[3]s\n", level, p, g.address(0)[len("127.0.0.1"):])
		}
	}
	write(t, filepath.Join(h.dir, "routes"), routes.String())
	h.client = runPostfix(t, services.String(), fmt.Sprintf(`myhostname = client.test
virtual_mailbox_domains =
transport_maps = texthash:%s/routes
smtp_tls_CAfile = %s
smtp_tls_secure_cert_match = %s
smtp_tls_loglevel = 1
smtp_tls_note_starttls_offer = yes
default_destination_concurrency_failed_cohort_limit = 0
`, h.dir, h.authority.file, theirName))
}

// swaks sends by swaks.
func swaks(how string) func(*hall, string, string, string) (outcome, error) {
	return func(_ *hall, gate, id, message string) (outcome, error) {
		cmd := exec.Command("swaks", how, "--server", gate, "--helo", "client.test", "--from", "alice@client.test", "--to", "bob@msa.test", "--data", "-", "--timeout", "60")
		cmd.Stdin = strings.NewReader(message)
		out, err := cmd.CombinedOutput()
		text := string(out)
		switch {
		case err == nil && strings.Contains(text, "=== TLS started"):
			return bothLegs, nil
		case err == nil:
			return inClear, nil
		case matches(`^<[*~]\* +5`, text):
			return refused, nil
		}
		return later, nil
	}
}

// openssl drives openssl s_client. Behind its -quiet there is only what is said under TLS.
func openssl(h *hall, gate, id, message string) (outcome, error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return "", err
	}
	defer ours.Close()
	cmd := exec.Command("openssl", "s_client", "-starttls", "smtp", "-quiet", "-connect", gate,
		"-CAfile", h.authority.file, "-verify_return_error", "-verify_hostname", theirName)
	cmd.Stdin, cmd.Stdout = theirs, theirs
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return "", err
	}
	defer cmd.Wait()
	c := newClient(ours)
	if err := c.send("EHLO client.test"); err != nil {
		return later, nil
	}
	if _, err := c.reply(); err != nil {
		return later, nil
	}
	if err := c.ask("MAIL FROM:<alice@client.test>", "250 ", "RCPT TO:<bob@msa.test>", "250 ", "DATA", "354 "); err != nil {
		return "", fmt.Errorf("under TLS: %w", err)
	}
	answer, err := c.finish([]byte(message))
	if err != nil {
		return "", err
	}
	c.send("QUIT")
	c.reply()
	if answer[0] == '2' {
		return bothLegs, nil
	}
	return refused, nil
}

// socketpair returns two ends of a connection, the second to be given away.
func socketpair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "ours")
	defer f.Close()
	c, err := net.FileConn(f)
	return c, os.NewFile(uintptr(fds[1]), "theirs"), err
}

var queuedAs = regexp.MustCompile(`queued as (\w+)`)

// byPostfix sends by a Postfix. Its log says what came of it.
func byPostfix(level string) func(*hall, string, string, string) (outcome, error) {
	return func(h *hall, gate, id, message string) (outcome, error) {
		c, err := dialGate(fmt.Sprintf("127.0.0.1:%d", h.client.port), "")
		if err != nil {
			return "", err
		}
		defer c.conn.Close()
		plan, _, _ := strings.Cut(id, ".")
		if err := c.ask("", "220 ", "HELO client.test", "250 ", "MAIL FROM:<>", "250 ", "RCPT TO:<"+level+"."+plan+"@msa.test>", "250 ", "DATA", "354 "); err != nil {
			return "", err
		}
		answer, err := c.finish([]byte(message))
		if err != nil {
			return "", err
		}
		m := queuedAs.FindStringSubmatch(answer)
		if m == nil {
			return "", fmt.Errorf("got reply %q", answer)
		}
		fate := regexp.MustCompile(`(?m)^.*smtp\[(\d+)\]: ` + m[1] + `: to=.* status=(\w+) .*`)
		var at []int
		var log string
		if err := eventually("Postfix has not tried "+m[1], func() bool {
			text, _ := os.ReadFile(h.client.log)
			log = string(text)
			at = fate.FindStringSubmatchIndex(log)
			return at != nil
		}); err != nil {
			return "", err
		}
		switch status := log[at[4]:at[5]]; status {
		case "sent":
		case "bounced":
			return refused, nil
		default:
			return later, nil
		}
		// What its process has said since the mail before.
		before := regexp.MustCompile(`(?m)^.*\[`+log[at[2]:at[3]]+`\]: .*`).FindAllString(log[:at[0]], -1)
		for _, line := range slices.Backward(before) {
			if strings.Contains(line, " status=") {
				break
			}
			if strings.Contains(line, "TLS connection established to ") {
				return bothLegs, nil
			}
		}
		return inClear, nil
	}
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
