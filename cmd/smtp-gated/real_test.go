// The gateway among the programs it is made for: clamd, spamd, and Postfix as the
// mail server. They run on loopback, out of a folder of the test.

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// launch runs a program until the test ends and waits until it listens.
func launch(t testing.TB, dir, network, address, program string, args ...string) {
	t.Helper()
	launchCommand(t, dir, network, address, exec.Command(program, args...))
}

func launchCommand(t testing.TB, dir, network, address string, cmd *exec.Cmd) {
	t.Helper()
	program := filepath.Base(cmd.Path)
	out, err := os.Create(filepath.Join(dir, program+".out"))
	must(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: they have children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		eventually("", over)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s said: %s", program, text)
		}
	})
	listens := func() bool {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if err := eventually(program+" does not listen", func() bool { return listens() || over() }); err != nil || over() {
		t.Fatalf("%s: %v", program, err)
	}
}

// open makes a folder everybody may pass through.
func open(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

func write(t testing.TB, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

// startClamd starts clamd with one signature.
func startClamd(t testing.TB, more ...string) (socket, address string) {
	program := needProgram(t, "clamd")
	dir := open(t)
	db := filepath.Join(dir, "db")
	must(t, os.Mkdir(db, 0o755))
	eicar := virusMail[len(mailHead):]
	write(t, filepath.Join(db, "test.ndb"), "Eicar-Test-Signature:0:*:"+hex.EncodeToString([]byte(eicar[:68]))+"\n")
	port := int(imsgtest.Port(t).Port())
	socket, address = filepath.Join(dir, "clamd.ctl"), fmt.Sprintf("127.0.0.1:%d", port)
	write(t, filepath.Join(dir, "clamd.conf"), fmt.Sprintf(
		"Foreground yes\nDatabaseDirectory %s\nLocalSocket %s\nTCPAddr 127.0.0.1\nTCPSocket %d\nConcurrentDatabaseReload no\n%s\n", db, socket, port, strings.Join(more, "\n")))
	launch(t, dir, "unix", socket, program, "-c", filepath.Join(dir, "clamd.conf"))
	return socket, address
}

// startSpamd starts spamd with its local tests alone.
func startSpamd(t *testing.T) (socket string) {
	program := needProgram(t, "spamd")
	dir := open(t)
	site := filepath.Join(dir, "site")
	must(t, os.Mkdir(site, 0o755))
	write(t, filepath.Join(site, "init.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	write(t, filepath.Join(site, "local.cf"), "use_bayes 0\n")
	socket = filepath.Join(dir, "spamd.sock")
	launch(t, dir, "unix", socket, program, "-L", "-x", "-m", "2", "--min-children=1", "-s", "stderr",
		"--siteconfigpath="+site, "-H", dir, "--socketpath="+socket, "-r", filepath.Join(dir, "pid"))
	return socket
}

// postfix is a Postfix with one mailbox.
type postfix struct {
	port int
	mail string // a maildir
	log  string // the file
}

const masterServices = `127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts one that delivers what it gets.
func startPostfix(t *testing.T) *postfix {
	return runPostfix(t, "", "virtual_mailbox_domains = msa.test\nin_flow_delay = 0\n")
}

// runPostfix starts a Postfix with more services and more lines of main.cf.
func runPostfix(t *testing.T, services, conf string) *postfix {
	need(t, os.Geteuid() == 0, "root, for Postfix")
	postconf := needProgram(t, "postconf")
	out, err := exec.Command(postconf, "-dh", "daemon_directory").Output()
	must(t, err)
	daemons := strings.TrimSpace(string(out))
	owner, err := user.Lookup("postfix")
	must(t, err)
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)

	dir := open(t)
	p := &postfix{port: int(imsgtest.Port(t).Port()), mail: filepath.Join(dir, "mail", "bob"), log: filepath.Join(dir, "log")}
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "queue"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "queue/pid"), 0o755))
	for _, name := range []string{
		"data", "mail", "queue/active", "queue/bounce", "queue/corrupt", "queue/defer", "queue/deferred",
		"queue/flush", "queue/hold", "queue/incoming", "queue/maildrop", "queue/private", "queue/public", "queue/saved", "queue/trace",
	} {
		path := filepath.Join(dir, name)
		must(t, os.Mkdir(path, 0o755))
		must(t, os.Chown(path, uid, gid))
	}
	write(t, filepath.Join(dir, "etc/master.cf"), fmt.Sprintf(masterServices, p.port)+services)
	write(t, filepath.Join(dir, "etc/main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = msa.test
inet_protocols = ipv4
mydestination =
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:bob/
virtual_uid_maps = static:%[2]d
virtual_gid_maps = static:%[3]d
virtual_minimum_uid = 1
virtual_alias_maps =
local_recipient_maps =
alias_maps =
smtputf8_enable = no
mynetworks = 127.0.0.0/8
message_size_limit = 20000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
service_throttle_time = 1s
`, dir, uid, gid)+conf)
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Postfix's log: %s", text)
		}
	})
	launch(t, dir, "tcp", fmt.Sprintf("127.0.0.1:%d", p.port), filepath.Join(daemons, "master"), "-d", "-c", filepath.Join(dir, "etc"))
	return p
}

// delivered waits for n mails and returns what Postfix wrote, a mail a string.
func (p *postfix) delivered(n int) (mails []string, err error) {
	err = eventually(fmt.Sprintf("%d mails are not delivered", n), func() bool {
		names, _ := filepath.Glob(filepath.Join(p.mail, "new/*"))
		if len(names) < n {
			return false
		}
		mails = nil
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return false
			}
			mails = append(mails, string(text))
		}
		return true
	})
	return mails, err
}

// afterHeader is the mail behind our header field, with Postfix's before it.
func afterHeader(mail string) string {
	_, rest, found := strings.Cut(mail, "X-Nat-Received:")
	if !found {
		return "no header of ours: " + mail
	}
	for {
		_, after, _ := strings.Cut(rest, "\n")
		rest = after
		if !strings.HasPrefix(rest, "\t") {
			return rest
		}
	}
}

// shapes are clean mails of all shapes.
func shapes() []string {
	random := rand.New(rand.NewPCG(1, 2))
	body := func(size, width int) string {
		var b bytes.Buffer
		for b.Len() < size {
			for range 1 + random.IntN(width) {
				b.WriteByte("abcdefghijklmnopqrstuvwxyz ."[random.IntN(28)])
			}
			b.WriteByte('\n')
		}
		return b.String()
	}
	return []string{
		cleanMail,
		mailHead + body(1<<10, 78),
		mailHead + body(5<<20, 900),
		mailHead + strings.Repeat(".\n..\n...\n.a\n\n", 1000),
		mailHead + strings.Repeat("0123456789", 5000) + "\n." + strings.Repeat("x", 70000) + "\n",
		mailHead,
	}
}

func TestRealPrograms(t *testing.T) {
	postfix := startPostfix(t)
	clamd, clamdTCP := startClamd(t)
	spamd := startSpamd(t)
	bothWays(t, func(t *testing.T, rooted bool) {
		dir := open(t)
		g, err := newGate(dir, rooted)
		must(t, err)
		t.Cleanup(func() {
			g.end()
			if t.Failed() {
				t.Logf("the log:\n%s", g.log())
			}
		})
		g.server = postfix.port
		common := "spam_max_size 20000000\nlock_on spam\nlock_duration 0\nantispam_type spamassassin\nantispam_path " + spamd + "\nantivirus_type clamd\n"
		for i, scanner := range []string{
			"antivirus_path " + clamd + "\n",
			"antivirus_path " + clamdTCP + "\n",
			"antivirus_path " + clamd + "\nantivirus_method scan\n",
		} {
			// SCAN: clamd opens the message itself; ours is root.
			must(t, g.configure(common+scanner, false))
			if i == 0 {
				must(t, g.start())
			} else {
				must(t, g.reload())
			}
			for n, letter := range shapes() {
				if i > 0 && n > 1 {
					break // the engine makes no difference to what is relayed
				}
				before := postfix.count(t)
				reply(t, g, letter, "250 ")
				mails, err := postfix.delivered(before + 1)
				must(t, err)
				found := false
				for _, m := range mails {
					found = found || afterHeader(m) == letter
				}
				if !found {
					t.Fatalf("letter %d is not as it was sent: %.2000q", n, mails[len(mails)-1])
				}
			}
			before := postfix.count(t)
			reply(t, g, virusMail, "550 5.7.1 .*Eicar-Test-Signature")
			reply(t, g, spamMail, `550 5.7.1 .*\[\d{3,}\.\d+\]`)
			reply(t, g, cleanMail, "250 ")
			mails, err := postfix.delivered(before + 1)
			must(t, err)
			if len(mails) != before+1 {
				t.Fatalf("%d mails were delivered, want one", len(mails)-before)
			}
			for _, m := range mails {
				if strings.Contains(m, "ANTIVIRUS-TEST") || strings.Contains(m, "GTUBE") {
					t.Fatalf("delivered: %q", m)
				}
			}
		}
		must(t, g.terminate())
	})
}

func (p *postfix) count(t *testing.T) int {
	t.Helper()
	mails, err := p.delivered(0)
	must(t, err)
	return len(mails)
}

// reply sends a message and checks what comes back.
func reply(t *testing.T, g *gate, message, want string) {
	t.Helper()
	c, err := dialGate(g.address(0), "")
	must(t, err)
	defer c.conn.Close()
	start := time.Now()
	got, err := c.deliver([]byte(message))
	must(t, err)
	if !matches("^"+want, got) {
		t.Fatalf("got reply %q after %v, want one like %s", got, time.Since(start), want)
	}
	must(t, c.quit())
}
