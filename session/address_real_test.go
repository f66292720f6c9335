// Which sender real servers read in arguments that no standard allows.

package session

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// spellings of addresses that one server or another takes.
var spellings = []string{
	"<spam@x.example>", "spam@x.example", "spam@x.example SIZE=1", "<<spam@x.example>>",
	"x <spam@x.example>", `"x y" <spam@x.example>`, "x<spam@x.example>", "<x<spam@x.example>>", "a@g.example <spam@x.example>",
	"(c) <spam@x.example>", "<(c)spam@x.example>", "<spam(c)@x.example>", "<spam@x.example(c)>", "<spam@(c)x.example>",
	"< spam@x.example >", "<spam @x.example>", "<spam@ x.example>", "<spam@x .example>", "spam @ x.example", "<spam@x.example.>",
	`<"spam"@x.example>`, `<"sp\am"@x.example>`, `<s\pam@x.example>`, `<"sp"am@x.example>`,
	"<@r.example:spam@x.example>", "<@r.example,@s.example:spam@x.example>", "g:spam@x.example;", "<a@g.example> <spam@x.example>",
}

// Whatever sender a real server makes of an argument of MAIL, it is one of the
// two that are judged.
func TestAddressesOfRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes real mail servers")
	}
	for name, start := range map[string]func(*testing.T) *realServer{
		"Postfix": startPostfix, "exim4": startExim, "OpenSMTPD": startOpenSMTPD,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for i, arg := range spellings {
				conn, err := net.Dial("tcp4", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				c := newTalker(t, "client", conn)
				for _, line := range []string{"", "HELO client.example", "MAIL FROM:" + arg, "RCPT TO:<b@mx.example>", "DATA", "Subject: no. " + strconv.Itoa(i) + ".\r\n\r\n."} {
					if line != "" {
						c.say(line + "\r\n")
					}
					if c.line()[0] > '3' {
						break
					}
				}
				conn.Close()
			}
			sender, number := regexp.MustCompile(`(?mi)(?:^Return-Path: |\(envelope-from )<(.*)>`), regexp.MustCompile(`(?m)^Subject: no\. (\d+)\.`)
			taken := 0
			for _, mail := range s.settle(t) {
				from, no := sender.FindStringSubmatch(mail), number.FindStringSubmatch(mail)
				if from == nil || no == nil {
					t.Errorf("a mail without sender or number: %q", mail)
					continue
				}
				taken++
				i, _ := strconv.Atoi(no[1])
				arg := []byte(spellings[i])
				addr, _ := smtp.Address(arg)
				if box := string(smtp.Mailbox(arg)); !strings.EqualFold(from[1], string(addr)) && !strings.EqualFold(from[1], box) {
					t.Errorf("%q is %q for the server; judged are %q and %q", arg, from[1], addr, box)
				}
			}
			if taken == 0 {
				t.Error("nothing was taken")
			}
			t.Logf("%d of %d spellings were taken", taken, len(spellings))
		})
	}
}
