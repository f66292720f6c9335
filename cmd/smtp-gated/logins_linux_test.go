// Log-ins by real clients at a real server, whose names stop them: for each mechanism a lock,
// a limit and a quota of the login.

package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// startDovecot starts one that knows users by their password, and returns the socket at
// which a Postfix asks it.
func startDovecot(t *testing.T, users []string) string {
	need(t, os.Geteuid() == 0, "root, for Dovecot")
	dovecot := needProgram(t, "dovecot")
	dir := open(t)
	var passwords strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwords, "%s:{PLAIN}%s\n", u, password)
	}
	write(t, dir+"/passwd", passwords.String())
	must(t, os.Mkdir(dir+"/run", 0o755))
	write(t, dir+"/conf", strings.ReplaceAll(`protocols =
base_dir = DIR/run
log_path = DIR/log
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-256
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u DIR/passwd
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
  unix_listener DIR/client {
    mode = 0666
  }
}
`, "DIR", dir))
	t.Cleanup(func() {
		if text, _ := os.ReadFile(dir + "/log"); t.Failed() {
			t.Logf("Dovecot's log: %s", text)
		}
	})
	launch(t, dir, "unix", dir+"/client", dovecot, "-F", "-c", dir+"/conf")
	return dir + "/client"
}

// submission is a client that logs in and sends a mail: what it is called with.
type submission struct {
	gate, from, login, mechanism, file string
}

var submitters = map[string]func(t *testing.T, s submission) *exec.Cmd{
	"swaks": func(t *testing.T, s submission) *exec.Cmd {
		return exec.Command(needProgram(t, "swaks"), "--server", s.gate, "--local-interface", s.from, "--from", "alice@client.test", "--to", "bob@msa.test",
			"--auth", s.mechanism, "--auth-user", s.login, "--auth-password", password, "--data", "@"+s.file)
	},
	"curl": func(t *testing.T, s submission) *exec.Cmd {
		args := []string{
			"-sv", "smtp://" + s.gate + "/client.test", "--interface", s.from, "--mail-from", "alice@client.test", "--mail-rcpt", "bob@msa.test",
			"--login-options", "AUTH=" + s.mechanism, "--crlf", "-T", s.file,
		}
		if strings.HasSuffix(s.mechanism, "AUTH2") || s.mechanism == "OAUTHBEARER" {
			args = append(args, "--oauth2-bearer", password, "--user", s.login+":")
		} else {
			args = append(args, "--user", s.login+":"+password)
		}
		return exec.Command(needProgram(t, "curl"), args...)
	},
	"gsasl": func(t *testing.T, s submission) *exec.Cmd { // it has no word of where it calls from
		return exec.Command(needProgram(t, "gsasl"), "--smtp", "--no-starttls", "--no-cb", "--mechanism="+s.mechanism, "--authentication-id="+s.login, "--password="+password, "--connect="+s.gate)
	},
}

// submit runs one and returns all it said.
func submit(t *testing.T, client string, s submission) string {
	t.Helper()
	cmd := submitters[client](t, s)
	var out imsgtest.Journal
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, lines, err := os.Pipe()
	must(t, err)
	defer stdin.Close()
	defer lines.Close()
	cmd.Stdin = stdin
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() { cmd.Process.Kill(); <-ended }()
	if client == "gsasl" {
		mail, err := os.ReadFile(s.file)
		must(t, err)
		dictate(t, &out, stdin, lines, string(mail))
	}
	lines.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("%s does not end", client)
	}
	return out.String()
}

// dictate has a program that passes on the lines of its input send a mail. It looks for
// more of them only when more comes: each is given when the one before has been read.
func dictate(t *testing.T, out *imsgtest.Journal, stdin, lines *os.File, mail string) {
	t.Helper()
	replied := func() int { return strings.Count(out.String(), "\n250 2.") + strings.Count(out.String(), "\n354 ") }
	refused := func() bool { return regexp.MustCompile(`\n[45]\d\d `).MatchString(out.String()) }
	must(t, eventually("it does not log in", func() bool { return strings.Contains(out.String(), "application data") || refused() }))
	say := func(line string, replies bool) bool {
		before := replied()
		fmt.Fprintf(lines, "%s\r\n", line)
		must(t, eventually("it does not read "+line, func() bool {
			n, err := unix.IoctlGetInt(int(stdin.Fd()), unix.TIOCINQ)
			return err != nil || n == 0
		}))
		if replies {
			must(t, eventually("no reply to "+line, func() bool { return replied() > before || refused() }))
		}
		return !refused()
	}
	for _, command := range []string{"MAIL FROM:<alice@client.test>", "RCPT TO:<bob@msa.test>", "DATA"} {
		if !say(command, true) {
			return
		}
	}
	for line := range strings.Lines(mail) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, ".") {
			line = "." + line
		}
		say(line, false)
	}
	say(".", true)
}

// loginGate is one where all goes by logins, each of which has one session and two mails.
func loginGate(t *testing.T, server int) *gate {
	g, err := newGate(open(t), true)
	must(t, err)
	g.server = server
	t.Cleanup(func() {
		g.end()
		if log := g.log(); t.Failed() {
			t.Logf("the end of the log:\n%s", log[max(0, len(log)-6000):])
		}
	})
	must(t, os.Mkdir(g.path("rate"), 0o777))
	must(t, os.Chmod(g.path("rate"), 0o777))
	must(t, g.configure("lock_on virus\nlock_by login\nmax_per_login 1\nratelimit_by login\nratelimit_expiration 3600\nratelimit_generation 1\nratelimit_messages 2\nratelimit_path "+g.path("rate")+"\n", false))
	must(t, g.start())
	return g
}

// TestLogins: whatever a client says by whatever mechanism, its login is that of the lock,
// the limit and the quota, and no other's.
func TestLogins(t *testing.T) {
	rows := []struct{ mechanism, client, server string }{
		{"PLAIN", "swaks", "Postfix"},
		{"LOGIN", "swaks", "Postfix"},
		{"CRAM-MD5", "swaks", "Postfix"},
		{"PLAIN", "curl", "Postfix"},
		{"LOGIN", "curl", "Postfix"},
		{"CRAM-MD5", "curl", "Postfix"},
		{"SCRAM-SHA-256", "gsasl", "Postfix"},
		{"XOAUTH2", "curl", "msa"},
		{"OAUTHBEARER", "curl", "msa"},
	}
	var users []string
	for i := range rows {
		users = append(users, fmt.Sprintf("user%d@msa.test", i), fmt.Sprintf("other%d@msa.test", i))
	}
	socket := startDovecot(t, append(users, "bob@msa.test"))
	p := runPostfix(t, "", "virtual_mailbox_domains = msa.test\nin_flow_delay = 0\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = "+socket+"\nsmtpd_sasl_security_options = noanonymous\n")
	m, err := startMSA("logins", "forgets")
	must(t, err)
	t.Cleanup(m.stop)
	gates := map[string]*gate{"Postfix": loginGate(t, p.port), "msa": loginGate(t, m.port())}
	dir := open(t)
	write(t, dir+"/clean", cleanMail)
	write(t, dir+"/virus", virusMail)

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "mechanism\tclient\tserver\tsends\tlimit\tlock\tlocked elsewhere\tquota\tothers")
	for i, row := range rows {
		t.Run(row.mechanism+" by "+row.client, func(t *testing.T) {
			g := gates[row.server]
			user, other := users[2*i], users[2*i+1]
			try := func(login, from, file, wants string) string {
				t.Helper()
				out := submit(t, row.client, submission{g.address(0), from, login, row.mechanism, dir + "/" + file})
				if !strings.Contains(out, wants) {
					t.Errorf("%s from %s, %s: not %q:\n%s", login, from, file, wants, out)
				}
				return strings.TrimSpace(wants)
			}
			away := func() { // the session before is over for lockd, too
				t.Helper()
				must(t, eventually("sessions are left", func() bool {
					out, _ := g.command(filepath.Join(programs, "smtp-gatectl"), "--socket", g.path("run/control"), "sessions").CombinedOutput()
					return !strings.Contains(string(out), "@msa.test")
				}))
			}
			sends := try(user, "127.0.0.1", "clean", "250 2.0.0 ")
			away()
			holder, err := loginAs(g.address(0), "127.0.0.3", user)
			must(t, err)
			limit := try(user, "127.0.0.1", "clean", "450 4.7.1 ")
			holder.conn.Close()
			away()
			lock := try(user, "127.0.0.1", "virus", "550 5.7.1 ")
			must(t, eventually("no lock of "+user, func() bool {
				_, err := os.Stat(g.path("lock/login=" + user))
				return err == nil
			}))
			elsewhere := try(user, "127.0.0.2", "clean", "550 5.7.1 ")
			away()
			others := try(other, "127.0.0.1", "clean", "250 2.0.0 ")
			away()
			try(other, "127.0.0.2", "clean", "250 2.0.0 ")
			away()
			quota := try(other, "127.0.0.1", "clean", "552 5.3.2 ")
			away()
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.mechanism, row.client, row.server, sends, limit, lock, elsewhere, quota, others)
		})
	}
	w.Flush()
	t.Logf("each login may have one session and two mails:\n%s", table.String())
	for _, g := range gates {
		if strings.Contains(g.log(), " claimed=") || strings.Contains(g.log(), base64.StdEncoding.EncodeToString([]byte(password))) {
			t.Error("a log-in was refused, or a password is in the log")
		}
		files, err := os.ReadDir(g.path("lock"))
		must(t, err)
		for _, f := range files {
			if !strings.HasPrefix(f.Name(), "login=user") {
				t.Errorf("%s is locked", f.Name())
			}
		}
	}

	// What this server takes, and a name is hidden in.
	for _, lie := range [][]string{
		{"AUTH LOGIN =", "bob@msa.test", password},
		{"AUTH LOGIN", "bob@msa.test\x00x", password},
	} {
		direct, through := tellLie(t, fmt.Sprintf("127.0.0.1:%d", p.port), lie), tellLie(t, gates["Postfix"].address(0), lie)
		t.Logf("%q: the server says %q, the gateway %q", lie, direct, through)
		if !strings.HasPrefix(through, "501 ") {
			t.Errorf("%q passes: %s", lie, through)
		}
	}
}

// tellLie logs in and returns the last reply.
func tellLie(t *testing.T, to string, lie []string) (answer string) {
	t.Helper()
	c, err := dialGate(to, "")
	must(t, err)
	defer c.conn.Close()
	must(t, c.greet())
	for i, line := range lie {
		if i > 0 {
			line = base64.StdEncoding.EncodeToString([]byte(line))
		}
		must(t, c.send(line))
		answer, err = c.reply()
		must(t, err)
		if !strings.HasPrefix(answer, "334 ") {
			break
		}
	}
	return answer
}
