package session

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Postfix takes messages in pipelined chunks, and our word for who sent them.
func TestPostfixChunksAndXclient(t *testing.T) {
	s := startPostfix(t)
	h := newHouse(t, s.addr, func(c *imsg.SessionConfig) { withXclient(c); c.ScanChunks = true })
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}}
	conn, err := from.Dial("tcp4", h.addr)
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	c := newTalker(t, "client", conn)
	if greeting := c.line(); !strings.HasPrefix(greeting, "220 mx.example ESMTP") {
		t.Fatalf("greeted with %q", greeting)
	}
	c.say("EHLO client.example\r\n")
	var offers []string
	for last := false; !last; {
		line := c.line()
		offers = append(offers, line[4:])
		last = line[3] == ' '
	}
	offer := strings.Join(offers, "\n")
	for _, want := range []string{"CHUNKING", "PIPELINING"} {
		if !strings.Contains(offer, want) {
			t.Errorf("%s is not offered: %q", want, offer)
		}
	}

	envelope := "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example>\r\n"
	c.say(envelope + "BDAT 17\r\nSubject: chunks\r\nBDAT 8\r\n\r\n.\r\n.\r\nBDAT 6 LAST\r\nDATA\r\n" +
		envelope + "BDAT 4\r\nlostRSET\r\n" +
		envelope + "BDAT 13\r\nSubject: two\nBDAT 0 LAST\r\n" +
		envelope + "DATA\r\n")
	for i, want := range strings.Fields("250 250 250 250 250 250 250 250 250 250 250 250 250 250 250 354") {
		if got := c.line(); !strings.HasPrefix(got, want+" ") {
			t.Fatalf("reply %d: %q, want %s", i, got, want)
		}
	}
	c.say("Subject: text\r\n\r\n..\r\n.\r\nQUIT\r\n")
	rest, err := io.ReadAll(c.r)
	if lines := strings.Split(string(rest), "\r\n"); err != nil || len(lines) != 3 || lines[0][:3] != "250" || lines[1][:3] != "221" {
		t.Fatalf("at the end %q, %v", rest, err)
	}

	mails := strings.Join(s.settle(t), "\n---\n")
	for _, want := range []string{"Subject: chunks\n\n.\n.\nDATA\n", "Subject: two\n", "Subject: text\n\n.\n"} {
		if !strings.Contains(mails, want) {
			t.Errorf("%q has not arrived", want)
		}
	}
	if n := strings.Count(mails, "Received: from client.example (unknown [127.0.0.5])"); n != 3 {
		t.Errorf("Postfix knows the client of %d mails", n)
	}
	if n := strings.Count(mails, "X-Nat-Received: from [127.0.0.5]"); n != 3 {
		t.Errorf("%d NAT headers", n)
	}
	if strings.Contains(mails, "lost") {
		t.Error("a reset message has arrived")
	}
	if t.Failed() {
		t.Log(mails)
	}
}
