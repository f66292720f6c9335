package session

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// trace has those who enter be traced, into f, and calls its number 5.
func (h *house) traceInto(f *os.File, share int) {
	h.t.Helper()
	if err := h.lockd.Send(&imsg.TraceFile{ID: 5, Share: share}, f); err != nil {
		h.t.Fatal(err)
	}
	h.trace = 5
}

// tracePath makes the file of a trace.
func tracePath(t *testing.T) (*os.File, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, name
}

// written waits until the file ends so, and returns its lines without sessions, times and
// ports.
func written(t *testing.T, name, end string) string {
	t.Helper()
	var text string
	imsgtest.Until(t, "a trace that ends in "+end, func() bool {
		b, _ := os.ReadFile(name)
		text = string(b)
		return strings.HasSuffix(text, end+"\n")
	})
	text = regexp.MustCompile(`(?m)^\d+ +\d+ ms  `).ReplaceAllString(text, "")
	text = regexp.MustCompile(`session \d+\.\d+ at 20\S+Z`).ReplaceAllString(text, "session")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "ADDRESS")
	return regexp.MustCompile(` +\n`).ReplaceAllString(text, "\n")
}

// TestTrace: the dialogue of both sides is in the file, what is nobody's business is not,
// and no other session's is.
func TestTrace(t *testing.T) {
	f, name := tracePath(t)
	r := newRigIn(t, nil, func(h *house, _ string) { h.traceInto(f, 1<<20) })
	plain := base64.StdEncoding.EncodeToString([]byte("\x00joe\x00sesame23"))
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("EHLO client.example\r\n")
	r.server.say("250-mx.example\r\n250-PRDR\r\n250 AUTH PLAIN\r\n")
	r.client.hears("250-mx.example\r\n250-PRD*\r\n250 AUTH PLAIN\r\n")
	r.toServer("AUTH PLAIN\r\n")
	r.toClient("334 \r\n")
	r.client.say(plain[:7])
	r.client.say(plain[7:] + "\r\n")
	r.server.hears(plain + "\r\n")
	r.toClient("535 5.7.8 no, " + plain + "\r\n")
	r.toServer(plain + "\r\n")
	r.toClient("502 what is " + plain + "\r\n")
	r.toServer("MAIL FROM:<a@client.example>\r\n")
	r.toClient("250 not sesame23\r\n")
	r.toServer("RCPT TO:<b@mx.example>\r\n")
	r.toClient("250 Ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 go ahead\r\n")
	r.client.say("Subject: sesame23\r\n\r\ntext\r\n.\r\n")
	r.natHeader()
	r.server.hears("Subject: sesame23\r\n\r\ntext\r\n.\r\n")
	r.toClient("250 Ok\r\n")
	r.toServer("QUIT\r\n")
	r.toClient("221 bye\r\n")
	r.server.conn.Close()
	r.client.end()
	got := written(t, name, "closed by server")
	want := `               session: client ADDRESS in clear, accepted at ADDRESS, server ADDRESS in clear
server > gate  220 mx.example ESMTP
gate > client  220 mx.example ESMTP
client > gate  EHLO client.example
gate > server  EHLO client.example
server > gate  250-mx.example
gate > client  250-mx.example
server > gate  250-PRDR
gate > client  250-PRD*
server > gate  250 AUTH PLAIN
gate > client  250 AUTH PLAIN
client > gate  AUTH PLAIN
gate > server  AUTH PLAIN
server > gate  334
gate > client  334
client > gate  <20 octets>
gate > server  <20 octets>
server > gate  535 5.7.8 <24 octets>
gate > client  535 5.7.8 <24 octets>
client > gate  <20 octets>
gate > server  <20 octets>
server > gate  502 <28 octets>
gate > client  502 <28 octets>
client > gate  MAIL FROM:<a@client.example>
gate > server  MAIL FROM:<a@client.example>
server > gate  250 <12 octets>
gate > client  250 <12 octets>
client > gate  RCPT TO:<b@mx.example>
gate > server  RCPT TO:<b@mx.example>
server > gate  250 Ok
gate > client  250 Ok
client > gate  DATA
gate > server  DATA
server > gate  354 go ahead
gate > client  354 go ahead
client > gate  <30 octets>
gate > server  <N octets>
gate > server  .
server > gate  250 Ok
gate > client  250 Ok
client > gate  QUIT
gate > server  QUIT
server > gate  221 bye
gate > client  221 bye
               closed by server
`
	got = regexp.MustCompile(`(gate > server  <)\d\d\d octets`).ReplaceAllString(got, "${1}N octets")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// Who is part of no trace is not in it, nor when it is over.
	r.set(func() { r.trace = 0 })
	before, _ := os.ReadFile(name)
	for _, over := range []bool{false, true} {
		if over {
			r.lockd.Send(&imsg.TraceEnd{ID: 5})
			r.set(func() { r.trace = 5 })
		}
		c := r.dial()
		s, err := r.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(s, "220 mx.example ESMTP\r\n")
		c.hears("220 mx.example ESMTP\r\n")
		c.conn.Close()
		s.Close()
	}
	r.Parent.Close()
	if err := wait(t, r.Ended); err != nil {
		t.Error(err)
	}
	r.Ended <- nil
	if after, _ := os.ReadFile(name); string(after) != string(before) {
		t.Errorf("the file goes on:\n%s", after[len(before):])
	}
}

// TestTraceOfRefused: who is refused is in the file, too.
func TestTraceOfRefused(t *testing.T) {
	f, name := tracePath(t)
	h := newHouse(t, "127.0.0.1:1", nil)
	h.set(func() { h.traceInto(f, 1<<20) })
	c := h.dial()
	c.hears("220 gate.example SMTP\r\n")
	c.say("QUIT\r\n")
	c.hears("221 gate.example msg_sign_off\r\n")
	c.end()
	got := written(t, name, "closed by client")
	for _, line := range []string{"\ngate > client  220 gate.example SMTP\n", "\nclient > gate  QUIT\ngate > client  221 gate.example msg_sign_off\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
}

// TestTraceOfPassed: of what goes on in a TLS that is not ours there are octets.
func TestTraceOfPassed(t *testing.T) {
	f, name := tracePath(t)
	r := newRigIn(t, nil, func(h *house, _ string) { h.traceInto(f, 1<<20) })
	r.passes()
	hello := imsgtest.ClientHello("mx.example")
	r.toServer(hello)
	r.toClient("\x16\x03\x03server")
	r.toServer("AUTH PLAIN secret\r\n")
	r.toClient("\x17\x03\x03more")
	r.parts(r.client, r.server)
	got := written(t, name, "closed by client")
	want := fmt.Sprintf("gate > client  220 go ahead\nclient > gate  <%d octets>\ngate > server  <%[1]d octets>\nserver > gate  <16 octets>\ngate > client  <16 octets>\n               closed by client\n", len(hello)+19)
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTraceShare: a session writes no more than its share, and goes on.
func TestTraceShare(t *testing.T) {
	f, name := tracePath(t)
	r := newRigIn(t, nil, func(h *house, _ string) { h.traceInto(f, 2000) })
	r.toClient("220 mx.example ESMTP\r\n")
	for range 100 {
		r.toServer("NOOP\r\n")
		r.toClient("250 Ok\r\n")
	}
	r.client.conn.Close()
	written(t, name, usedUp)
	if b, _ := os.ReadFile(name); len(b) > 2000 || len(b) < 1500 {
		t.Errorf("%d octets", len(b))
	}
	r.seen("the session's end", func() bool { return len(r.left) == 1 })
}

// TestTraceWaitsForNobody: a file that takes nothing costs lines, and no session its time;
// and when lockd has gone the file is closed.
func TestTraceWaitsForNobody(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := newRigIn(t, nil, func(h *house, _ string) { h.traceInto(in, imsg.MaxTrace) })
	in.Close()
	r.toClient("220 mx.example ESMTP\r\n")
	long := strings.Repeat("x", 1900)
	said := 0
	for said = range 1000 {
		r.toServer("MAIL FROM:<" + long + "@x>\r\n")
		r.toClient("250 Ok\r\n")
	}
	text := bufio.NewReader(out)
	lost, read := 0, 0
	for lost == 0 {
		line, err := text.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		read++
		fmt.Sscanf(line, "... %d lines were lost", &lost)
	}
	if want := 4*(said+1) + 3; read-1+lost != want {
		t.Errorf("%d lines, and %d were lost, of %d", read-1, lost, want)
	}
	r.toServer("NOOP\r\n")
	if line, err := text.ReadString('\n'); err != nil || !strings.HasSuffix(line, "client > gate  NOOP\n") {
		t.Errorf("%q, %v", line, err)
	}
	r.lockd.Close()
	rest, err := io.ReadAll(text)
	if err != nil || !strings.HasSuffix(string(rest), "these sessions go on unseen\n") {
		t.Errorf("%q, %v", rest, err)
	}
	r.toClient("250 Ok\r\n")
}

// TestTracesAreBounded: a lockd that was taken over cannot have a worker hold any number of
// files.
func TestTracesAreBounded(t *testing.T) {
	h := newHouse(t, "127.0.0.1:1", nil)
	for id := range uint64(imsg.MaxTraces + 3) {
		f, _ := tracePath(t)
		h.lockd.Send(&imsg.TraceFile{ID: id + 1, Share: 1000}, f)
		h.lockd.Send(&imsg.TraceFile{ID: id + 1, Share: 1000}, f)
	}
	imsgtest.Until(t, "refused files", func() bool { return strings.Count(h.Text(), "trace refused") == 6 })
}
