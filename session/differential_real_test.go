// Real mail servers behind the gateway: what lies in the mailbox at the end is
// what was scanned.
//
// Three things are made equal, and no more: a mailbox has LF line ends, with no
// CR before them, and its own idea of how many of them end a text; the header
// lines above ours are the server's; and it puts an empty line before a line
// that cannot be part of a header. What else a server does to a text stands in
// realServer.

package session

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// realServer is a mail server with a folder of its own, delivering to one maildir.
type realServer struct {
	run     func() *exec.Cmd // runs it, or runs it again; nil: it cannot be
	master  *exec.Cmd
	addr    string
	maildir string
	queues  []string // folders that hold messages until they are delivered
	deliver func()   // has the server deliver now, nil if it does so by itself
	crs     bool     // it takes a bare CR in a chunk for a line end
	blanks  bool     // it drops lines of blanks from a header
	xclient bool     // it takes XCLIENT
	slow    bool     // it knows no pipelining, and hangs up on who does it
	picky   bool     // it refuses some texts at their end, and delivers once for each of two equal recipients
}

func startExim(t *testing.T) *realServer { return startEximWith(t, "") }

// startEximWith starts one with more lines in its configuration.
func startEximWith(t *testing.T, more string) *realServer {
	dir, port := imsgtest.Folder(t), freePort(t)
	for _, d := range []string{"spool", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	exim := imsgtest.Stranger(t, "exim4", "Debian-exim", []string{dir + "/spool", dir + "/mail"}, nil)
	if out, _ := exim("-C", "/dev/null", "-bV").CombinedOutput(); strings.Contains(more, "proxy") && !strings.Contains(string(out), " PROXY") {
		lacks(t, "this Exim knows no PROXY, as exim4-daemon-heavy does")
	}
	writeFile(t, dir+"/conf", strings.ReplaceAll(`
queue_only = true
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
primary_hostname = mx.example
local_interfaces = 127.0.0.1
`+more+`keep_environment = LD_LIBRARY_PATH
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
acl_smtp_data_prdr = accept
prdr_enable = true
pipelining_connect_advertise_hosts = *
host_lookup =
tls_advertise_hosts =
smtp_accept_max = 0
smtp_max_synprot_errors = 10000
smtp_max_unknown_commands = 10000
smtp_accept_max_nonmail = 10000
smtp_enforce_sync = false
message_size_limit = 100M
bounce_return_message = false
begin acl
mail:
  deny senders = refuse@client.example
  accept
rcpt:
  deny recipients = refuse@mx.example
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail
  maildir_format
  user = Debian-exim
`, "DIR", dir))
	runServer(t, exim("-C", dir+"/conf", "-bdf", "-oX", port, "-oP", dir+"/spool/pid"))
	s := &realServer{addr: "127.0.0.1:" + port, maildir: dir + "/mail/new", queues: []string{dir + "/spool/input"}, crs: true, blanks: true}
	s.deliver = func() {
		if out, err := exim("-C", dir+"/conf", "-qff").CombinedOutput(); err != nil {
			t.Errorf("exim4 -qff: %v: %s", err, out)
		}
	}
	greetsBehind(t, s.addr, dir+"/spool/mainlog", more)
	return s
}

func lacks(t *testing.T, format string, args ...any) {
	t.Helper()
	imsgtest.Lacks(t, format, args...)
}

// freePort returns a port of 127.0.0.1 for a server.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(int(imsgtest.Port(t).Port()))
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// greets waits until a server is there.
func greets(t *testing.T, addr, logFile string) {
	t.Helper()
	greetsAs(t, addr, logFile, func(conn net.Conn) string {
		b := make([]byte, 3)
		conn.Read(b)
		return string(b)
	})
}

// greetsBehind is greets of a server whose lines may have it wait for a header of PROXY.
func greetsBehind(t *testing.T, addr, logFile, lines string) {
	t.Helper()
	if strings.Contains(lines, "proxy") {
		greetsAs(t, addr, logFile, func(conn net.Conn) string { return hailed(t, conn) })
		return
	}
	greets(t, addr, logFile)
}

// greetsAs is greets of a server of whom hail gets a greeting.
func greetsAs(t *testing.T, addr, logFile string, hail func(net.Conn) string) {
	t.Helper()
	if err := imsgtest.Eventually("the server does not greet", func() bool {
		c, err := net.Dial("tcp4", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(imsgtest.Deadline())
		return strings.HasPrefix(hail(c), "220")
	}); err != nil {
		log, _ := os.ReadFile(logFile)
		t.Fatalf("%v: %s", err, log)
	}
}

func startPostfix(t *testing.T) *realServer { return startPostfixWith(t, "") }

// startPostfixWith starts one with other lines in its main.cf, each in the place of one of
// its name: about one that stands there twice each of Postfix's programs warns, and their
// first words together must not fill the socket of postlogd, which waits for room in it, too.
func startPostfixWith(t *testing.T, more string) *realServer {
	const daemons = "/usr/lib/postfix/sbin"
	if os.Getuid() != 0 {
		lacks(t, "Postfix starts as root only")
	}
	if _, err := os.Stat(daemons + "/master"); err != nil {
		lacks(t, "no Postfix: %v", err)
	}
	if _, err := user.Lookup("postfix"); err != nil {
		lacks(t, "%v", err)
	}
	dir, port := imsgtest.Folder(t), freePort(t)
	for _, d := range []string{"etc", "queue", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown := exec.Command("chown", "postfix", dir+"/data", dir+"/mail")
	if out, err := chown.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	owner, _ := user.Lookup("postfix")
	conf := strings.NewReplacer("DIR", dir, "UID", owner.Uid, "GID", owner.Gid).Replace(`
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = ` + daemons + `
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = mx.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
virtual_mailbox_domains = mx.example
virtual_mailbox_base = DIR
virtual_mailbox_maps = static:mail/
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
virtual_minimum_uid = 1
local_header_rewrite_clients =
cleanup_replace_stray_cr_lf = no
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_sender_restrictions = check_sender_access inline:{refuse@client.example=REJECT}
smtpd_recipient_restrictions = check_recipient_access inline:{refuse@mx.example=REJECT}, permit_mynetworks, reject
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 20000
smtpd_junk_command_limit = 20000
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
in_flow_delay = 0
service_throttle_time = 1s
`)
	for line := range strings.Lines(more) {
		name, _, _ := strings.Cut(line, "=")
		conf = regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(strings.TrimSpace(name))+` *=.*\n`).ReplaceAllLiteralString(conf, "")
	}
	writeFile(t, dir+"/etc/main.cf", conf+more)
	writeFile(t, dir+"/etc/master.cf", `
127.0.0.1:`+port+` inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
`)
	if out, err := exec.Command("postfix", "-c", dir+"/etc", "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v: %s", err, out)
	}
	s := &realServer{addr: "127.0.0.1:" + port, maildir: dir + "/mail/new", xclient: true}
	s.run = func() *exec.Cmd {
		master := exec.Command(daemons+"/master", "-c", dir+"/etc", "-d")
		runServer(t, master)
		return master
	}
	s.master = s.run()
	for _, q := range []string{"maildrop", "incoming", "active", "deferred", "hold"} {
		s.queues = append(s.queues, dir+"/queue/"+q)
	}
	greetsBehind(t, s.addr, dir+"/log", more)
	return s
}

func startOpenSMTPD(t *testing.T) *realServer {
	dir, port := imsgtest.Folder(t), freePort(t)
	for _, d := range []string{"spool/smtpd", "lib/opensmtpd/empty", "run", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(dir+"/spool/smtpd", 0o711)
	// The user of the queue, opensmtpq, comes with opensmtpd.
	smtpd := imsgtest.Stranger(t, "smtpd", "opensmtpd", []string{dir + "/mail"}, map[string]string{
		"/var/spool": dir + "/spool", "/var/lib": dir + "/lib", "/run": dir + "/run",
		"/usr/libexec": imsgtest.Unpacked(t, "usr/libexec"),
	})
	conf := dir + "/conf"
	writeFile(t, conf, strings.NewReplacer("DIR", dir, "PORT", port).Replace(`
table users { box = "4711:4711:DIR/mail" }
table all { "@" = box }
listen on lo port PORT hostname mx.example
action "box" maildir "DIR/mail" virtual <all> userbase <users>
match mail-from "refuse@client.example" for any reject
match from any for rcpt-to "refuse@mx.example" reject
match from any for domain "mx.example" action "box"
`))
	os.Chmod(conf, 0o600)
	runServer(t, smtpd("-d", "-f", conf))
	s := &realServer{addr: "127.0.0.1:" + port, maildir: dir + "/mail/new", slow: true, picky: true}
	for _, q := range []string{"queue", "incoming", "temporary"} {
		s.queues = append(s.queues, dir+"/spool/smtpd/"+q)
	}
	greets(t, s.addr, conf)
	return s
}

// runServer starts a server in a process group of its own, and ends it with the test.
func runServer(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, said.String())
		}
	})
}

// settle waits until all that was taken lies in the mailbox, and returns it.
func (s *realServer) settle(t *testing.T) []string {
	t.Helper()
	pending := func() (list []string) {
		for _, q := range s.queues {
			filepath.WalkDir(q, func(name string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					list = append(list, name)
				}
				return nil
			})
		}
		return list
	}
	if s.deliver != nil {
		s.deliver()
	}
	if err := imsgtest.Eventually("not delivered", func() bool { return len(pending()) == 0 }); err != nil {
		t.Fatalf("%v: %q", err, pending())
	}
	entries, err := os.ReadDir(s.maildir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var mails []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.maildir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(b))
		os.Remove(filepath.Join(s.maildir, e.Name()))
	}
	return mails
}

var (
	ourHeader = regexp.MustCompile(`(?m)^X-Nat-Received: from \[127\.0\.0\.1\]:(\d+) \[ident-empty\]\n\tby gate\.example with TPROXY id \d+\.\d+\n`)
	// headerLine matches the first line of a text if it is one of a header.
	headerLine = regexp.MustCompile(`^([!-9;-~]+[ \t]*:|[ \t])`)
	// addedLines are those OpenSMTPD adds to a header that has none such.
	addedLines = regexp.MustCompile(`(?m)^(Date: .* \([A-Z]+\)|Message-ID: <[0-9a-f]+@mx\.example>)\n`)
	lineEnds   = regexp.MustCompile(`\r*\n`)
)

// asInMailbox is what a scanned text is in a mailbox.
func (s *realServer) asInMailbox(text string) string {
	text = lineEnds.ReplaceAllString(text, "\n")
	if s.crs {
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	text = strings.TrimRight(text, "\n")
	at := 0
	for at < len(text) && headerLine.MatchString(text[at:]) {
		line, rest, _ := strings.Cut(text[at:], "\n")
		if s.blanks && strings.Trim(line, " \t") == "" {
			text = text[:at] + rest
			continue
		}
		at = min(at+len(line)+1, len(text))
	}
	if at < len(text) && text[at] != '\n' {
		text = text[:at] + "\n" + text[at:]
	}
	return text
}

func TestDifferentialReal(t *testing.T) {
	if testing.Short() {
		t.Skip("takes real mail servers")
	}
	var scores table
	for _, real := range []struct {
		name  string
		start func(*testing.T) *realServer
	}{{"Postfix", startPostfix}, {"exim4", startExim}, {"OpenSMTPD", startOpenSMTPD}} {
		t.Run(real.name, func(t *testing.T) {
			server := real.start(t)
			for i, way := range ways {
				if way.tls != [2]bool{} {
					continue
				}
				if server.slow && i > 0 || way.name == byXclient && !server.xclient {
					continue
				}
				t.Run(way.name, func(t *testing.T) {
					if way.alone {
						withoutLoop(t)
					}
					l := newLab(t, server.addr, way.change)
					if server.slow {
						throughReal(t, l, server, lineByLine, real.name, &scores)
						return
					}
					for _, cut := range way.cuts {
						if cut.name != octetByOctet.name {
							throughReal(t, l, server, cut, real.name, &scores)
						}
					}
				})
			}
		})
	}
	scores.log(t, []string{"Postfix", "exim4", "OpenSMTPD"})
}

// throughReal sends the corpus to a real server and compares its mailbox.
func throughReal(t *testing.T, l *lab, server *realServer, cut cutting, name string, scores *table) {
	var mu sync.Mutex
	passages := make(map[string]*passage)
	streams := make(map[string]hostile)
	var gone int
	l.set(func() { gone = len(l.left) })
	l.run(corpus(), cut, func(h hostile, _ string, p *passage) score {
		mu.Lock()
		defer mu.Unlock()
		if p.err != nil {
			t.Errorf("%s: %s: %v", h.group, h.name, p.err)
		}
		passages[p.src], streams[p.src] = p, h
		return score{}
	}, name, new(table))
	l.seen("the end of all sessions", func() bool { return len(l.left) >= gone+len(passages) })
	taken := make(map[string][]string)
	for _, mail := range server.settle(t) {
		at := ourHeader.FindStringSubmatchIndex(mail)
		if at == nil {
			t.Errorf("a mail without our header: %q", mail)
			continue
		}
		src := "127.0.0.1:" + mail[at[2]:at[3]]
		if strings.Contains(mail[:at[0]], "smuggled") || strings.Contains(mail[at[1]:], "EVIL") {
			t.Errorf("%s: %s: taken %q", streams[src].group, streams[src].name, mail)
		}
		text := mail[at[1]:]
		if server.picky {
			text = addedLines.ReplaceAllString(text, "")
		}
		taken[src] = append(taken[src], server.asInMailbox(text))
	}
	for src, p := range passages {
		h := streams[src]
		l.scans(p)
		s := score{streams: 1, taken: len(taken[src]), scanned: len(p.clean), caught: len(p.caught)}
		var clean []string
		for _, text := range p.clean {
			clean = append(clean, server.asInMailbox(text))
		}
		slices.Sort(clean)
		slices.Sort(taken[src])
		if server.picky {
			clean, taken[src] = slices.Compact(clean), slices.Compact(taken[src])
		}
		if h.abort || h.early || h.group == "cut off" || server.picky {
			// A client that goes before it has its answer leaves it to the
			// server whether it takes the mail.
			clean = slices.DeleteFunc(clean, func(text string) bool { return !slices.Contains(taken[src], text) })
		}
		if !slices.Equal(clean, taken[src]) {
			s.differences++
			t.Errorf("%s: %s, %s:\n   taken %.700q\n scanned %.700q\nclient heard %.600q", h.group, h.name, cut.name, taken[src], clean, p.heard)
		}
		scores.add(h.group, name, s)
		delete(taken, src)
	}
	if len(taken) > 0 {
		t.Errorf("taken from nobody: %q", taken)
	}
}
