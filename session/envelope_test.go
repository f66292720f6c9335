package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestLogOfEnvelopes(t *testing.T) {
	const hash = "DMF1ucDxtqgxw5niaXcmYQ" // of "a"
	const both = imsg.LogAccepted | imsg.LogRejected
	for name, tc := range map[string]struct {
		mail, rcpt imsg.LogAddress
		dialogue   string // command, then reply
		want       []string
		not        []string
	}{
		"off":                 {0, 0, "MAIL FROM:<a>|250|RCPT TO:<b>|250|DATA|503", nil, []string{"MAIL FROM", "RCPT TO"}},
		"both":                {imsg.LogAccepted, both, "MAIL FROM:<a>|250|RCPT TO:<b>|250|RCPT TO:<c>|550|DATA|503", []string{"MAIL FROM <a> RCPT TO: 250<b>, 550<c>"}, nil},
		"at 354":              {imsg.LogAccepted, both, "MAIL FROM:<a>|250|RCPT TO:<b>|250|DATA|354", []string{"MAIL FROM <a> RCPT TO: 250<b>"}, nil},
		"accepted":            {0, imsg.LogAccepted, "MAIL FROM:<a>|250|RCPT TO:<b>|250|RCPT TO:<c>|550|RSET|250", []string{"RCPT TO: 250<b>"}, []string{"MAIL FROM"}},
		"rejected":            {imsg.LogRejected, imsg.LogRejected, "MAIL FROM:<a>|250|RCPT TO:<b>|250|RCPT TO:<c>|450|RSET|250", []string{"RCPT TO: 450<c>"}, []string{"MAIL FROM"}},
		"sender":              {both, 0, "MAIL FROM:<a>|553|MAIL FROM:<c>|250|RCPT TO:<b>|250|EHLO x|250", []string{"MAIL FROM <a> rejected [553]", "MAIL FROM <c>"}, []string{"RCPT"}},
		"cut":                 {imsg.LogAccepted, imsg.LogAccepted, "MAIL FROM:<a@example.org>|250|RCPT TO:<b@example.org>|250|RSET|250", []string{"MAIL FROM <a@ex> RCPT TO: 250<b@ex>"}, nil},
		"hashed":              {imsg.LogAccepted | imsg.LogBase64, imsg.LogAccepted | imsg.LogBase64, "MAIL FROM:<a>|250|RCPT TO:<a>|250|RSET|250", []string{"MAIL FROM <" + hash + "> RCPT TO: 250<" + hash + ">"}, nil},
		"hash of a beginning": {imsg.LogAccepted | imsg.LogBase64, 0, "MAIL FROM:<refused@x>|250|RSET|250", []string{"MAIL FROM <R5z+9iUuOG1UN/fP9f4ivg>"}, nil},
		"cleaned":             {imsg.LogAccepted, 0, "MAIL FROM:<\xff>|250|RSET|250", []string{"MAIL FROM <#>"}, nil},
		"null":                {imsg.LogAccepted, 0, "MAIL FROM:<>|250|RSET|250", []string{"MAIL FROM <>"}, nil},
		"unfinished":          {imsg.LogAccepted, 0, "MAIL FROM:<a>|250|QUIT|221", []string{"MAIL FROM <a>"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { c.LogMailFrom, c.LogRcptTo, c.EmailLength = tc.mail, tc.rcpt, 4 })
			r.toClient("220 mx\r\n")
			turns := strings.Split(tc.dialogue, "|")
			for i := 0; i < len(turns); i += 2 {
				r.toServer(turns[i] + "\r\n")
				r.toClient(turns[i+1] + " x\r\n")
			}
			r.server.conn.Close()
			r.client.end()
			r.client.conn.Close()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
			for _, line := range tc.want {
				r.logs(line)
			}
			r.LogsNot(tc.not...)
		})
	}
}

// A list of recipients that no log takes in one line is broken.
func TestLongEnvelope(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.LogMailFrom, c.LogRcptTo = imsg.LogAccepted, imsg.LogAccepted })
	r.toClient("220 mx\r\n")
	r.toServer("MAIL FROM:<a>\r\n")
	r.toClient("250 ok\r\n")
	var all []string
	for i := range 30 {
		r.toServer(fmt.Sprintf("RCPT TO:<%040d>\r\n", i))
		r.toClient("250 ok\r\n")
		all = append(all, fmt.Sprintf("250<%040d>", i))
	}
	r.toServer("RSET\r\n")
	r.toClient("250 ok\r\n")
	r.logs("MAIL FROM <a> RCPT TO: " + strings.Join(all[:15], ", "))
	r.logs("RCPT TO: " + strings.Join(all[15:], ", "))
}

// The script gets no address that the log may not have.
func TestHashedOffence(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.LogMailFrom = imsg.LogBase64 })
	r.set(func() {
		r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{Outcome: imsg.Clean})
	})
	r.data()
	r.client.say("evil\r\n.\r\n")
	if o := r.offence(); o.MailFrom != "gpPHCoOCsxAC6GHpUczrdA" {
		t.Errorf("offence %+v", o)
	}
}
