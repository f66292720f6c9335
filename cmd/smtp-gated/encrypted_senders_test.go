// The clients that send under TLS, or do not: stock programs, each of which says in its own
// way what came of a mail.

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// sender is a kind of client.
type sender struct {
	name     string
	needs    bool // it sends nothing in clear
	verifies bool
	never    bool // it never asks for TLS
	again    bool // it comes again at once, in clear, when a handshake has failed
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
	{name: "Exim, none", never: true, send: byExim("none")},
	{name: "Exim, may", again: true, send: byExim("may")},
	{name: "Exim, require", needs: true, send: byExim("require")},
	{name: "Exim, verify", needs: true, verifies: true, send: byExim("verify")},
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

// eximClient is a configuration of Exim's. What differs from mail to mail comes by macros:
// FOLDER, PORT, and LEVEL, of TLS. FOLDER is a spool of its own, so that no mail waits for
// what came of another.
const eximClient = `
exim_path = EXIM
spool_directory = DIR/FOLDER
log_file_path = DIR/FOLDER/%slog
primary_hostname = client.test
keep_environment = LD_LIBRARY_PATH
begin routers
gateway:
  driver = manualroute
  route_list = * THEIRS byname
  self = send
  transport = gateway
begin transports
gateway:
  driver = smtp
  port = PORT
  allow_localhost
  hosts_avoid_tls = ${if eq {LEVEL}{none} {*}}
  hosts_require_tls = ${if inlist {LEVEL}{require:verify} {*}}
  tls_verify_hosts = ${if eq {LEVEL}{verify} {*}}
  tls_verify_certificates = AUTHORITY
begin retry
* * F,1h,1h
`

// readyExim prepares the Exim that sends.
func (h *hall) readyExim(t *testing.T) {
	dir := filepath.Join(h.dir, "exim")
	must(t, os.Mkdir(dir, 0o755))
	write(t, filepath.Join(h.dir, "hosts"), "127.0.0.1 localhost "+theirName+"\n")
	exim := imsgtest.Stranger(t, "exim4", "Debian-exim", []string{dir}, map[string]string{"/etc/hosts": filepath.Join(h.dir, "hosts")})
	conf := filepath.Join(h.dir, "exim.conf")
	write(t, conf, strings.NewReplacer("DIR", dir, "THEIRS", theirName, "AUTHORITY", h.authority.file,
		"EXIM", imsgtest.Unpacked(t, "usr/sbin/exim4")).Replace(eximClient))
	h.exim = func(args ...string) *exec.Cmd { return exim(append([]string{"-C", conf}, args...)...) }
}

var eximFate = regexp.MustCompile(`(?m) (=>|==|\*\*) bob@msa\.test (.*)`)

// byExim sends by an Exim, which says in its log what came of it.
func byExim(level string) func(*hall, string, string, string) (outcome, error) {
	return func(h *hall, gate, id, message string) (outcome, error) {
		_, port, err := net.SplitHostPort(gate)
		if err != nil {
			return "", err
		}
		cmd := h.exim("-DFOLDER="+id, "-DPORT="+port, "-DLEVEL="+level, "-odf", "-i", "-f", "<>", "bob@msa.test")
		cmd.Stdin = strings.NewReader(message)
		out, err := cmd.CombinedOutput()
		log, _ := os.ReadFile(filepath.Join(h.dir, "exim", id, "mainlog"))
		fate := eximFate.FindStringSubmatch(string(log))
		switch {
		case fate == nil:
			return "", fmt.Errorf("%v, %s, the log: %s", err, out, log)
		case fate[1] == "==":
			return later, nil
		case fate[1] == "**":
			return refused, nil
		case strings.Contains(fate[2], " X=TLS"):
			return bothLegs, nil
		}
		return inClear, nil
	}
}
