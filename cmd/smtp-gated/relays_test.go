// Stock mail servers that send through the gateway, each as many mails at once as
// it likes: what becomes of the mails. With the defaults of the new syntax all
// arrive. A file of defaults in the old syntax has 1.4's limits; there none may be
// lost or come twice, and the table tells the rest.
//
//	GATED_RELAYED=1000 go test -v -run TestRelaysSend ./cmd/smtp-gated

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// fewRelayed is more than a stock Postfix sends at once, and not many more.
const fewRelayed = 60

// relay is a mail server that sends all it gets to the gateway.
type relay struct {
	address string
	log     string // the file
	// What the log says of a recipient, in its first group the mail's number and
	// in its second what became of it.
	fate *regexp.Regexp
	sent string // the second group of one that was taken
	put  string // the second group of one that waits for another try
}

var relays = []struct {
	name  string
	start func(t *testing.T, gate string) *relay
}{{"Postfix", relayPostfix}, {"Exim", relayExim}}

// relayPostfix starts a Postfix as Debian has it, but for its place and the way.
func relayPostfix(t *testing.T, gate string) *relay { return relayPostfixWith(t, gate, "") }

// relayPostfixWith starts one with more lines in its main.cf.
func relayPostfixWith(t *testing.T, gate, more string) *relay {
	p := runPostfix(t, "smtp unix - - n - - smtp\n", "myhostname = relay.test\nvirtual_mailbox_domains =\nrelayhost = [127.0.0.1]:"+gate[strings.LastIndexByte(gate, ':')+1:]+"\n"+more)
	return &relay{
		address: fmt.Sprintf("127.0.0.1:%d", p.port), log: p.log,
		fate: regexp.MustCompile(`(?m) (\w+): to=<bob@msa\.test>,.* status=(\w+) `), sent: "sent", put: "deferred",
	}
}

// relayExim starts an Exim with the router and the transport of Debian's smarthost.
func relayExim(t *testing.T, gate string) *relay {
	dir, at := open(t), imsgtest.Port(t)
	must(t, os.Mkdir(filepath.Join(dir, "spool"), 0o755))
	exim := imsgtest.Stranger(t, "exim4", "Debian-exim", []string{dir, dir + "/spool"}, nil)
	write(t, dir+"/conf", strings.NewReplacer("DIR", dir, "GATE", gate[strings.LastIndexByte(gate, ':')+1:],
		"EXIM", imsgtest.Unpacked(t, "usr/sbin/exim4")).Replace(`
exim_path = EXIM
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
primary_hostname = relay.test
local_interfaces = 127.0.0.1
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege = true
acl_smtp_rcpt = accept
host_lookup =
tls_advertise_hosts =
begin routers
smarthost:
  driver = manualroute
  transport = remote_smtp_smarthost
  route_list = * 127.0.0.1 byname
  self = send
  same_domain_copy_routing = yes
begin transports
remote_smtp_smarthost:
  driver = smtp
  port = GATE
  allow_localhost
  multi_domain
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
`))
	daemon := exim("-C", dir+"/conf", "-bdf", "-oX", strconv.Itoa(int(at.Port())), "-oP", dir+"/spool/pid")
	launchCommand(t, dir, "tcp", at.String(), daemon)
	return &relay{
		address: at.String(), log: dir + "/spool/mainlog",
		fate: regexp.MustCompile(`(?m) (\S+) (=>|->|==|\*\*) bob@msa\.test `), sent: "=>", put: "==",
	}
}

// tally is what became of mails. Those that are nothing yet are waited for.
type tally struct{ sent, deferred, bounced int }

func (r *relay) tally() (n tally, err error) {
	text, err := os.ReadFile(r.log)
	last := map[string]string{}
	for _, m := range r.fate.FindAllStringSubmatch(string(text), -1) {
		last[m[1]] = strings.Replace(m[2], "->", "=>", 1)
	}
	for _, fate := range last {
		switch fate {
		case r.sent:
			n.sent++
		case r.put:
			n.deferred++
		default:
			n.bounced++
		}
	}
	return n, err
}

// send hands in mails and waits until each has been tried once.
func (r *relay) send(t *testing.T, mails int) tally {
	t.Helper()
	out, err := exec.Command(needProgram(t, "smtp-source"), "-s", "10", "-m", strconv.Itoa(mails), "-l", "4096",
		"-f", "alice@client.test", "-t", "bob@msa.test", r.address).CombinedOutput()
	if err != nil {
		t.Fatalf("smtp-source: %v: %s", err, out)
	}
	var n tally
	for done := -1; n.sent+n.deferred+n.bounced < mails; {
		if err := eventually(fmt.Sprintf("only %d of %d mails are tried", n.sent+n.deferred+n.bounced, mails), func() bool {
			n, _ = r.tally()
			return n.sent+n.deferred+n.bounced > done
		}); err != nil {
			text, _ := os.ReadFile(r.log)
			t.Fatalf("%v; the log ends in %s", err, text[max(0, len(text)-2000):])
		}
		done = n.sent + n.deferred + n.bounced
	}
	return n
}

// newDefaults is a file in the new syntax that says no more than it must.
func newDefaults(g *gate) string {
	return fmt.Sprintf(`[target]
mode = "fixed"
server = "127.0.0.1"
port = %d
[listen]
address = "127.0.0.1"
port = 0
[server]
name = "gate.test"
pid_file = "%[2]s/run/pid"
[status]
file = "%[2]s/run/state"
[spool]
path = "%[2]s/spool"
[lock]
path = "%[2]s/lock"
[log]
target = "%[2]s/log"
[users]
user = "nobody"
[scan.antivirus]
engine = "builtin"
[scan.antispam]
engine = "builtin"
`, g.server, g.dir)
}

// oldDefaults is the same in the old syntax.
func oldDefaults(g *gate) string {
	return fmt.Sprintf(`mode fixed
fixed_server 127.0.0.1
fixed_server_port %d
bind_address 127.0.0.1
port 0
proxy_name gate.test
pidfile %[2]s/run/pid
statefile %[2]s/run/state
spool_path %[2]s/spool
lock_path %[2]s/lock
log_target %[2]s/log
set_user nobody
antivirus_type builtin
antispam_type builtin
`, g.server, g.dir)
}

var identity = regexp.MustCompile(`(?mi)^Message-Id: <([^>]+)>`)

func TestRelaysSend(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, for Postfix and Exim")
	mails := fewRelayed
	if n, err := strconv.Atoi(os.Getenv("GATED_RELAYED")); err == nil {
		mails = n
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "relay\tsyntax\tsessions\tper host\tload\tmails\tdelivered\tdeferred\tbounced\tlocked\tmachine's load")
	for _, syntax := range []struct {
		name string
		text func(*gate) string
	}{{"new", newDefaults}, {"old", oldDefaults}} {
		for _, from := range relays {
			t.Run(from.name+", "+syntax.name+" syntax", func(t *testing.T) {
				g, m := relayed(t, syntax.text, syntax.name == "new")
				r := from.start(t, g.address(0))
				n := r.send(t, mails)
				locks, err := os.ReadDir(g.path("lock"))
				must(t, err)
				fmt.Fprintf(w, "%s\t%s\t%g\t%g\t%g\t%d\t%d\t%d\t%d\t%d\t%.1f\n", from.name, syntax.name,
					g.option(t, "max_connections"), g.option(t, "max_per_host"), g.option(t, "max_load"),
					mails, n.sent, n.deferred, n.bounced, len(locks), process.Load())

				onceEach(t, m, n.sent)
				if syntax.name == "new" && (n.sent != mails || len(locks) > 0) {
					t.Errorf("of %d mails %+v, %d locks", mails, n, len(locks))
				}
			})
		}
	}
	w.Flush()
	t.Logf("\n%s", table.String())
}

// onceEach holds what has arrived to how many mails were delivered by their senders' word.
func onceEach(t *testing.T, m *msa, sent int) {
	t.Helper()
	arrived := map[string]int{}
	all, err := m.box()
	must(t, err)
	for _, mail := range all {
		if id := identity.FindStringSubmatch(mail); id != nil && strings.Contains(mail, "bob@msa.test") {
			arrived[id[1]]++
		}
	}
	if len(arrived) != sent {
		t.Errorf("%d are delivered by their sender's word, %d have arrived", sent, len(arrived))
	}
	for id, times := range arrived {
		if times > 1 {
			t.Errorf("%s has arrived %d times", id, times)
		}
	}
}

// TestRelaySendsUnderTLS: a stock Postfix that sends nothing in clear sends a thousand
// mails at once, to a server that has TLS as well. Each arrives once, and was scanned.
func TestRelaySendsUnderTLS(t *testing.T) {
	need(t, os.Geteuid() == 0, "root, for Postfix")
	mails := 1000
	if n, err := strconv.Atoi(os.Getenv("GATED_RELAYED")); err == nil {
		mails = n
	} else if imsgtest.Brief() {
		mails = fewRelayed
	}
	text := func(g *gate) string {
		must(t, g.renew())
		return newDefaults(g) + fmt.Sprintf("[tls]\nverify = \"none\"\n[[tls.certificate]]\nchain = %q\nkey = %q\n", g.path("live/chain.pem"), g.path("live/key.pem"))
	}
	g, m := relayed(t, text, true, "tls")
	r := relayPostfixWith(t, g.address(0), "smtp_tls_security_level = encrypt\n")
	began := time.Now()
	n := r.send(t, mails)
	t.Logf("%d mails in %v: %+v", mails, time.Since(began).Round(time.Millisecond), n)
	if n.sent != mails {
		t.Errorf("of %d mails %+v", mails, n)
	}
	onceEach(t, m, n.sent)
	must(t, g.unharmed())
	report, err := g.ask()
	must(t, err)
	sessions := report.Counters["tls_terminated"]
	if clean := report.Counters["clean"]; clean != uint64(mails) || sessions == 0 {
		t.Errorf("%d mails were scanned and clean, in %d sessions of TLS", clean, sessions)
	}
	secret := 0
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.said {
		if strings.HasSuffix(line, " STARTTLS") {
			secret++
		}
	}
	if secret != int(sessions) {
		t.Errorf("%d sessions have TLS with the server, and %d with us", secret, sessions)
	}
}

// option is what the configuration says of a number.
func (g *gate) option(t *testing.T, name string) float64 {
	t.Helper()
	out, err := g.command(program("smtp-gated"), "-C", name, g.path("smtp-gated.conf")).Output()
	must(t, err)
	words := strings.Fields(string(out))
	n, err := strconv.ParseFloat(words[len(words)-1], 64)
	must(t, err)
	return n
}

// relayed is a gate as root starts it, with a server behind it.
func relayed(t *testing.T, text func(*gate) string, toml bool, features ...string) (*gate, *msa) {
	t.Helper()
	g, err := newGate(open(t), true)
	must(t, err)
	m, err := startMSA(features...)
	must(t, err)
	g.server = m.port()
	t.Cleanup(func() {
		g.end()
		m.stop()
		if err := m.check(); err != nil {
			t.Error(err)
		}
		if log := g.log(); t.Failed() {
			t.Logf("the end of the log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	if toml {
		must(t, g.configure(text(g), true))
	} else {
		must(t, os.WriteFile(g.path("smtp-gated.conf"), []byte(text(g)), 0o644))
		must(t, g.handOver())
	}
	must(t, g.start())
	return g, m
}
