// Real clients in front of a real server: what they send in chunks, and what they
// send as DATA to a server that would take chunks. Both wires are tapped.

package session

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// inFrontOfPostfix is a gateway that offers chunks, with both its wires tapped,
// and a scanner that knows EICAR.
type inFrontOfPostfix struct {
	*house
	postfix      *realServer
	client, mail *tap
}

const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

func newInFrontOfPostfix(t *testing.T) *inFrontOfPostfix {
	p := &inFrontOfPostfix{postfix: startPostfix(t)}
	p.mail = newTap(t, p.postfix.addr)
	p.house = newHouse(t, p.mail.addr, func(c *imsg.SessionConfig) { c.ScanChunks = true; c.SpamRefuse = false })
	p.client = newTap(t, p.addr)
	p.set(func() {
		p.onScan = func(uint64) {
			p.verdict = found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean})
			if strings.Contains(p.scanned[len(p.scanned)-1], eicar) {
				p.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{Outcome: imsg.Clean})
			}
		}
	})
	return p
}

// A message that is hard on who stuffs dots or counts octets.
const letterHead = "From: a@client.example\nTo: b@mx.example\nSubject: chunks\nMessage-ID: <1@client.example>\nDate: Fri, 27 Nov 2026 12:00:00 +0000\n"

var letterBody = ".\n..\n.x\n\n \nBDAT 5 LAST\nQUIT\nna\xc3\xafve \xff\xfe\n" + strings.Repeat("The quick brown fox jumps over the lazy dog. \n", 2000) + "\n.\nend\n"

// eximClient returns a function that has exim deliver a message to a server.
func eximClient(t *testing.T, addr string) func(message string, recipients ...string) (log string) {
	dir := imsgtest.Folder(t)
	exim := imsgtest.Stranger(t, "exim4", "Debian-exim", []string{dir}, nil)
	_, port, _ := net.SplitHostPort(addr)
	writeFile(t, dir+"/conf", strings.NewReplacer("DIR", dir, "PORT", port, "EXIM", imsgtest.Unpacked(t, "usr/sbin/exim4")).Replace(`
exim_path = EXIM
spool_directory = DIR
log_file_path = DIR/%slog
primary_hostname = client.example
log_selector = +pipelining
keep_environment = LD_LIBRARY_PATH
bounce_return_message = false
begin routers
gateway:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = gateway
begin transports
gateway:
  driver = smtp
  port = PORT
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_chunking = *
  hosts_try_prdr = *
  hosts_pipe_connect = *
`))
	return func(message string, recipients ...string) string {
		cmd := exim(append([]string{"-C", dir + "/conf", "-odf", "-i", "-f", "<>"}, recipients...)...)
		cmd.Stdin = strings.NewReader(message)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("exim: %v: %s", err, out)
		}
		return readFile(t, dir+"/mainlog")
	}
}

func TestEximSendsChunks(t *testing.T) {
	p := newInFrontOfPostfix(t)
	send := eximClient(t, p.client.addr)

	log := send(letterHead+"\n"+letterBody, "b@mx.example")
	if !strings.Contains(log, " => b@mx.example R=gateway T=gateway H=127.0.0.1 [127.0.0.1] L K C=\"250 ") {
		t.Errorf("exim logs %s", log)
	}
	near, far := p.client.next(t), p.mail.next(t)
	for _, w := range []wire{near, far} {
		if w.has("DATA") || !w.has("BDAT") {
			t.Errorf("it was sent by %q", w.commands)
		}
	}
	sent := strings.Join(near.chunks, "")
	header, _, ok := strings.Cut(far.chunks[0], "\r\n\tby gate.example with TPROXY id ")
	if !ok || !strings.HasPrefix(header, "X-Nat-Received: from [127.0.0.1]:") || strings.Join(far.chunks[1:], "") != sent {
		t.Errorf("Postfix got other octets than exim sent: %.300q", far.chunks)
	}
	if last := far.commands[len(far.commands)-2]; last != "BDAT 0 LAST" {
		t.Errorf("the last chunk is %q", last)
	}
	p.wantScanned(sent)
	if !strings.HasSuffix(sent, strings.ReplaceAll("\n"+letterBody, "\n", "\r\n")) {
		t.Errorf("exim sent %.500q", sent)
	}
	p.wantMail(t, letterHead, letterBody)

	log = send(letterHead+"\n"+eicar+"\n", "b@mx.example")
	if !strings.Contains(log, " ** b@mx.example ") || !strings.Contains(log, ": 550 5.7.1 gate.example msg_virus_found (Eicar)") {
		t.Errorf("exim logs %s", log)
	}
	near, far = p.client.next(t), p.mail.next(t)
	if near.has("DATA") || far.has("DATA") || !strings.Contains(strings.Join(near.chunks, ""), eicar) {
		t.Errorf("it was sent by %q", near.commands)
	}
	for _, c := range far.commands {
		if strings.HasSuffix(c, "LAST") {
			t.Errorf("Postfix was told %q", c)
		}
	}
	if mails := p.postfix.settle(t); len(mails) > 0 {
		t.Errorf("delivered: %q", mails)
	}
}

// wantMail expects one mail in Postfix's mailbox, with these lines as they were.
func (p *inFrontOfPostfix) wantMail(t *testing.T, head, body string) {
	t.Helper()
	mails := p.postfix.settle(t)
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	for line := range strings.Lines(head) {
		if !strings.Contains(mails[0], "\n"+line) {
			t.Errorf("%q is lost", line)
		}
	}
	if !strings.HasSuffix(mails[0], "\n\n"+body) {
		t.Errorf("delivered %.1000q", mails[0])
	}
	if n := strings.Count(mails[0], "\nX-Nat-Received: from [127.0.0.1]:"); n != 1 {
		t.Errorf("%d headers of ours", n)
	}
}

// Clients that know only DATA are none the worse for a server that offers chunks.
func TestClientsWithoutChunks(t *testing.T) {
	for name, send := range map[string]func(t *testing.T, addr, message string) error{
		"swaks": func(t *testing.T, addr, message string) error {
			if _, err := exec.LookPath("swaks"); err != nil {
				lacks(t, "%v", err)
			}
			file := filepath.Join(t.TempDir(), "message")
			writeFile(t, file, strings.TrimSuffix(message, "\n")) // swaks ends it
			out, err := exec.Command("swaks", "--server", addr, "--helo", "client.example", "--from", "a@client.example", "--to", "b@mx.example", "--data", "@"+file).CombinedOutput()
			if !strings.Contains(string(out), "CHUNKING") {
				t.Errorf("no chunks are offered: %s", out)
			}
			if i := strings.Index(string(out), "<** "); i >= 0 {
				line, _, _ := strings.Cut(string(out[i+4:]), "\n")
				return errors.New(line)
			}
			return err
		},
		"go-smtp": func(t *testing.T, addr, message string) error {
			c, err := gosmtp.Dial(addr)
			if err != nil {
				return err
			}
			defer c.Close()
			if ok, _ := c.Extension("CHUNKING"); !ok {
				t.Error("no chunks are offered")
			}
			if err := c.SendMail("a@client.example", []string{"b@mx.example"}, strings.NewReader(message)); err != nil {
				return err
			}
			return c.Quit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newInFrontOfPostfix(t)
			for i, body := range []string{letterBody, eicar + "\n"} {
				err := send(t, p.client.addr, letterHead+"\n"+body)
				near, far := p.client.next(t), p.mail.next(t)
				if !near.has("DATA") || !far.has("DATA") || near.has("BDAT") || far.has("BDAT") {
					t.Errorf("it was sent by %q, then %q", near.commands, far.commands)
				}
				if i == 0 {
					if err != nil {
						t.Error(err)
					}
					p.wantMail(t, letterHead, body)
					continue
				}
				if err == nil || !strings.Contains(err.Error(), "msg_virus_found (Eicar)") {
					t.Errorf("the virus gets %v", err)
				}
				if mails := p.postfix.settle(t); len(mails) > 0 {
					t.Errorf("delivered: %q", mails)
				}
			}
		})
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
