// The examples that an administrator begins with: those of smtp-gated.toml(5), of
// smtp-gated(8) and of README.md. This file owns that each is read without a word against
// it, but for those that its page says, and that the daemon runs by it.

package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// example is one of them.
type example struct {
	title  string // what the page calls it
	text   string
	advice string // that smtp-gatectl check gives, as the page has it in a comment
}

var (
	heading  = regexp.MustCompile(`(?m)^\.Ss (.*)$`)
	literal  = regexp.MustCompile(`(?ms)^(?:\.\\" Advice: ([^\n]*)\n)?\.Bd -literal[^\n]*\n(.*?)^\.Ed$`)
	indented = regexp.MustCompile(`(?m)(?:^    .*\n(?:\n+    .*\n)*)+`)
	inTOML   = regexp.MustCompile(`^(\[|[a-z_.]+ = )`)
	section  = regexp.MustCompile(`^\[`)
	script   = regexp.MustCompile(`^#!`)
)

// examplesOf are the literal texts of a page that begin so.
func examplesOf(t *testing.T, page string, begin *regexp.Regexp) (all []example) {
	t.Helper()
	b, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	add := func(at int, literal, advice string) {
		if begin.MatchString(literal) {
			title := page
			if before := heading.FindAllStringSubmatch(text[:at], -1); len(before) > 0 {
				title = before[len(before)-1][1]
			}
			all = append(all, example{title, literal, advice})
		}
	}
	if strings.HasSuffix(page, ".md") {
		for _, at := range indented.FindAllStringIndex(text, -1) {
			add(at[0], regexp.MustCompile(`(?m)^    `).ReplaceAllString(text[at[0]:at[1]], ""), "")
		}
		return all
	}
	for _, at := range literal.FindAllStringSubmatchIndex(text, -1) {
		advice := ""
		if at[2] >= 0 {
			advice = text[at[2]:at[3]]
		}
		add(at[0], strings.ReplaceAll(text[at[4]:at[5]], `\e`, `\`), advice)
	}
	return all
}

// good reads an example as smtp-gatectl check does.
func (e example) good(t *testing.T) *config.Config {
	t.Helper()
	c, warnings, err := config.Parse(e.title, []byte(e.text))
	if err == nil {
		err = c.Check()
	}
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%s: %v %v\n%s", e.title, err, warnings, e.text)
	}
	var said []string
	for _, a := range c.Advise() {
		said = append(said, a.Severity.String()+" "+a.Option)
	}
	if got := strings.Join(said, ", "); got != e.advice {
		t.Errorf("%s: the advice is %q, and the page tells of %q: %v\n%s", e.title, got, e.advice, c.Advise(), e.text)
	}
	return c
}

// TestExamples: what we tell people to begin with is good, and nothing is to be said
// about it.
func TestExamples(t *testing.T) {
	modes := map[imsg.Mode]bool{}
	for _, e := range examplesOf(t, "man/smtp-gated.toml.5", inTOML) {
		modes[e.good(t).Mode] = true
	}
	for m := imsg.ModeFixed; m <= imsg.ModeFixedProxy; m++ {
		if !modes[m] && m != imsg.ModeTproxyNetfilter {
			t.Errorf("smtp-gated.toml(5) has no example of the mode %s", m)
		}
	}
	for _, e := range examplesOf(t, "man/smtp-gated.8", section) {
		e.good(t)
	}
	// What becomes of these parts together TestReadme of parent/config says.
	for _, e := range examplesOf(t, "README.md", inTOML) {
		if _, warnings, err := config.Parse(e.title, []byte(e.text)); err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v\n%s", e.title, err, warnings, e.text)
		}
	}
}

// TestExampleScript: the script of the page runs, and says what it is to say.
func TestExampleScript(t *testing.T) {
	all := examplesOf(t, "man/smtp-gated.toml.5", script)
	if len(all) != 1 {
		t.Fatalf("there are %d scripts", len(all))
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"locked": all[0].text, "logger": "#!/bin/sh\necho \"$@\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "locked"), "VIRUS", "192.0.2.7", "-", "192.0.2.25")
	cmd.Env = []string{"PATH=" + dir + ":/bin:/usr/bin", "SOURCE_IP=192.0.2.7", "FOUND=VIRUS", "VIRUS_NAME=Eicar"}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "-p mail.warning 192.0.2.7 is locked: VIRUS Eicar\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestExamplesRun: the daemon runs by each example of the manual page whose mode this
// system serves, and where it has a server lets a mail through to it, and no
// virus. Its folders, users,
// addresses and certificate are others, all else is as it is written.
func TestExamplesRun(t *testing.T) {
	t.Parallel()
	for _, e := range examplesOf(t, "man/smtp-gated.toml.5", inTOML) {
		c := e.good(t)
		if !slices.Contains(modes(), c.Mode.String()) || os.Geteuid() != 0 && !c.Mode.Fixed() && !c.Mode.Remote() {
			continue
		}
		t.Run(e.title, func(t *testing.T) {
			t.Parallel()
			runExample(t, c)
		})
	}
}

func runExample(t *testing.T, c *config.Config) {
	g, err := newGate(t.TempDir(), os.Geteuid() == 0)
	must(t, err)
	defer g.end()
	features := []string{"xclient", "logins"}
	if c.Mode == imsg.ModeFixedProxy {
		features = append(features, "proxy")
	}
	m, err := startMSA(features...)
	must(t, err)
	defer m.stop()
	s := &story{gate: g, msa: m}

	c.PidFile, c.StateFile, c.LogTarget = g.path("run/pid"), g.path("run/state"), g.path("log")
	c.SpoolPath, c.LockPath, c.RatePath, c.HistoryPath = g.path("spool"), g.path("lock"), g.path("rate"), g.path("history")
	if g.rooted {
		for i, user := range []*string{&c.UserSession, &c.UserLookup, &c.UserScan, &c.UserLock, &c.UserAction, &c.UserKeys} {
			*user = accounts[i].user
		}
	}
	if c.ReadGroup != "" {
		c.ReadGroup = ""
		if g.rooted {
			c.ReadGroup = "mail"
		}
	}
	plain := len(c.Listeners()) - len(c.ListenTLS)
	var at []netip.AddrPort
	for i := range c.Listeners() {
		at = append(at, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}), 0))
	}
	c.Listen, c.ListenTLS = at[:plain], at[plain:]
	if c.Mode.Fixed() {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(m.port()))
		if len(c.FixedServers) > 0 { // at the first nobody listens
			c.FixedServers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), at}
		} else {
			c.FixedServer, c.FixedServerPort = at.Addr(), at.Port()
		}
	}
	c.Nameservers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")} // nobody
	scanner := func(engine imsg.Engine, at *config.Socket) {
		network, address := "tcp", "127.0.0.1:0"
		ask := engines[map[imsg.Engine]string{imsg.EngineClamd: "clamd", imsg.EngineSpamd: "spamd"}[engine]]
		switch {
		case !engine.Kind().Remote():
			return
		case engine == imsg.EngineMksd: // which has no other way
			network, address = "unix", g.path("mksd")
			ask = func(_ *story, c net.Conn) {
				c.Read(make([]byte, 1))
				io.WriteString(c, "OK\n")
			}
		}
		l, err := net.Listen(network, address)
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go serveEach(l, func(c net.Conn) { ask(s, c) })
		if *at = (config.Socket{Path: address}); network == "tcp" {
			*at = config.Socket{Address: netip.MustParseAddrPort(l.Addr().String())}
		} else {
			must(t, os.Chmod(address, 0o777))
		}
	}
	scanner(c.AntivirusType, &c.AntivirusSocket)
	scanner(c.AntispamType, &c.AntispamSocket)
	if c.ActionScript != "" {
		c.ActionScript = g.path("locked")
		must(t, os.WriteFile(c.ActionScript, []byte(examplesOf(t, "man/smtp-gated.toml.5", script)[0].text), 0o755))
	}
	if c.NeedsRoots() && c.TLSCAFile == "" { // a system may have none
		must(t, writeCertificate(g.dir, "ca.example.com", 90*24*time.Hour))
		c.TLSCAFile = g.path("chain.pem")
	}
	for i := range c.TLSCertificates {
		must(t, writeCertificate(g.dir, "mail.example.com", 90*24*time.Hour))
		c.TLSCertificates[i] = config.Certificate{Chain: g.path("chain.pem"), Key: g.path("key.pem")}
	}
	var text strings.Builder
	must(t, c.PrintTOML(&text, false, false))
	must(t, g.configure(text.String(), true))
	must(t, g.start())
	if c.Mode.Fixed() {
		send := func(mail, want string) {
			t.Helper()
			client, err := dialGate(g.address(0), "")
			must(t, err)
			defer client.conn.Close()
			if len(c.TLSCertificates) > 0 && c.TLS.Upstream == imsg.TLSNever {
				client.tls = &tls.Config{InsecureSkipVerify: true}
			}
			must(t, client.greet())
			if c.AuthRequire == imsg.AuthMandatory {
				must(t, client.ask(asPlain("alice"), "235 "))
			}
			must(t, client.ask("MAIL FROM:<alice@client.test>", "250 ", "RCPT TO:<bob@example.com>", "250 ", "DATA", "354 "))
			if answer, err := client.finish([]byte(mail)); err != nil || !strings.HasPrefix(answer, want) {
				t.Errorf("%q %v, want %s\n%s", answer, err, want, g.log())
			}
		}
		send(cleanMail, "250 ")
		send(virusMail, "550 ")
		if mails, err := m.box(); err != nil || len(mails) != 1 {
			t.Errorf("the server has %d mails: %v", len(mails), err)
		}
	}
	must(t, g.unharmed())
}
