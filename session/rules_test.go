package session

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// The options for octets that stand where none may be.
func TestStrayOctets(t *testing.T) {
	reject := func(c *imsg.SessionConfig) { c.BareNewline = imsg.NewlineReject }
	pass := func(c *imsg.SessionConfig) { c.BareNewline = imsg.NewlinePass }
	noNUL := func(c *imsg.SessionConfig) { c.RejectNUL = true }
	const closed = "554 5.5.0 gate.example msg_proto_error\r\n"
	for name, tc := range map[string]struct {
		change               func(*imsg.SessionConfig)
		text, reaches, hears string
	}{
		"LF rejected":         {reject, "a\nb", "a", closed},
		"CR rejected":         {reject, "a\rb", "a", closed},
		"smuggling rejected":  {reject, "a\r\n.\nMAIL", "a\r\n", closed},
		"LF passed":           {pass, "a\n.\nb\rc\r\n.\r\n", "a\n.\nb\rc\r\n.\r\n", ""},
		"LF normalized":       {nil, "a\n.\nb\rc\r\n.\r\n", "a\r\n..\r\nb c\r\n.\r\n", ""},
		"NUL stripped":        {nil, "a\x00b\r\n\x00.\r\n.\r\n", "ab\r\n..\r\n.\r\n", ""},
		"NUL rejected":        {noNUL, "a\x00b", "a", closed},
		"NUL rejected at dot": {noNUL, "a\r\n.\x00\r\n", "a\r\n", closed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tc.change)
			r.data()
			r.client.say(tc.text)
			if tc.hears != "" {
				r.client.hears(tc.hears)
				r.client.end()
			}
			if tc.hears == "" {
				r.natHeaderApart()
				r.server.hears(tc.reaches)
			} else {
				// What was read together with the octet need not have gone out.
				r.server.isCutOff()
			}
		})
	}
	t.Run("command", func(t *testing.T) {
		r := newRig(t, reject)
		r.toClient("220 mx\r\n")
		r.client.say("NOOP\nQUIT\r\n")
		r.client.hears("554 gate.example msg_proto_error\r\n")
		r.client.end()
		r.server.end()
	})
}

// isCutOff expects the connection to end, and no end of a message before it.
func (p *talker) isCutOff() {
	p.t.Helper()
	for {
		line, err := p.r.ReadString('\n')
		if line == ".\r\n" {
			p.t.Fatal("the message was ended")
		}
		if err != nil {
			return
		}
	}
}

func TestAuthShapes(t *testing.T) {
	for name, tc := range map[string]struct {
		says, hears []string // by turns: client, server
		flags       imsg.AuthFlags
	}{
		"initial response": {[]string{"AUTH PLAIN AGEAYg=="}, []string{"235 ok"}, imsg.AuthAccepted},
		"empty response":   {[]string{"AUTH EXTERNAL =", ""}, []string{"334 ", "235 ok"}, imsg.AuthAccepted},
		"two challenges":   {[]string{"auth login", "QUIT", "DATA"}, []string{"334 a", "334 b", "235 ok"}, imsg.AuthAccepted},
		"cancelled":        {[]string{"AUTH LOGIN", "*"}, []string{"334 a", "501 cancelled"}, imsg.AuthRejected},
		"rejected":         {[]string{"AUTH PLAIN AGEAYg=="}, []string{"535 no"}, imsg.AuthRejected},
		"second try":       {[]string{"AUTH LOGIN", "x", "AUTH LOGIN", "y"}, []string{"334 a", "535 no", "334 a", "235 ok"}, imsg.AuthRejected | imsg.AuthAccepted},
		"longest line":     {[]string{"AUTH PLAIN " + strings.Repeat("A", 12288-13)}, []string{"235 ok"}, imsg.AuthAccepted},
		"longest response": {[]string{"AUTH GSSAPI", strings.Repeat("A", 12286)}, []string{"334 x", "235 ok"}, imsg.AuthAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.toClient("220 mx\r\n")
			for i := range tc.says {
				r.toServer(tc.says[i] + "\r\n")
				r.toClient(tc.hears[i] + "\r\n")
			}
			r.toServer("NOOP\r\n") // a command again
			if got := r.liveSession().Auth; got != tc.flags {
				t.Errorf("flags %d, want %d", got, tc.flags)
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		r := newRig(t, nil)
		r.toClient("220 mx\r\n")
		r.client.say("AUTH PLAIN " + strings.Repeat("A", 12288) + "\r\n")
		r.client.hears("500 gate.example msg_proto_error\r\n")
		r.toServer("AUTH LOGIN\r\n")
		r.toClient("334 a\r\n")
		r.client.say("x\x00y\r\n") // the server waits for a response: it gets one
		r.server.hears("*\r\n")
		r.toClient("501 cancelled\r\n")
		r.toServer("NOOP\r\n")
	})
	t.Run("pipelined", func(t *testing.T) {
		r := newRig(t, nil)
		r.toClient("220 mx\r\n")
		r.client.say("AUTH LOGIN\r\nMAIL FROM:<a>\r\nBDAT 6\r\nQUIT\r\n")
		r.server.hears("AUTH LOGIN\r\n")
		r.toClient("334 a\r\n")
		r.server.hears("MAIL FROM:<a>\r\n") // is the response
		r.toClient("535 no\r\n")
		r.client.hears("502 gate.example msg_unimpl_command\r\n")
	})
}

// liveSession is the one session as the worker tells lockd of it.
func (r *rig) liveSession() imsg.LiveSession {
	r.t.Helper()
	m, err := link.Ask(r.lockd, &imsg.Snapshot{}, admissionWait)
	if err != nil || len(m.Sessions) != 1 {
		r.t.Fatalf("%+v, %v", m, err)
	}
	return m.Sessions[0]
}

// What auth_skip spares a session, and only one that is authenticated.
func TestAuthSkip(t *testing.T) {
	for skip, asks := range map[imsg.AuthSkip]string{
		0: "virus spam", imsg.SkipAntivirus: "spam", imsg.SkipAntispam: "virus", imsg.SkipAntivirus | imsg.SkipAntispam: "", imsg.SkipDNSBL | imsg.SkipRegex: "virus spam",
	} {
		for _, authenticated := range []bool{false, true} {
			r := newRig(t, func(c *imsg.SessionConfig) { c.AuthSkip = skip })
			r.ready()
			want := "virus spam"
			r.toServer("AUTH X y\r\n")
			if authenticated {
				want = asks
				r.toClient("235 ok\r\n")
			} else {
				r.toClient("535 no\r\n")
			}
			r.toServer("DATA\r\n")
			r.toClient("354 ok\r\n")
			r.text("x\r\n.\r\n")
			r.set(func() {
				if got := strings.Join(r.asked, ""); got != want {
					t.Errorf("auth_skip %d, authenticated %v: %q asked, want %q", skip, authenticated, got, want)
				}
			})
		}
	}
}

// Parameters and keywords of extensions that need nothing of us.
func TestExtensionsPass(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.SizeLimit, c.NatHeaderType = 1000, imsg.NatNone })
	r.toClient("220 mx\r\n")
	r.toServer("EHLO c\r\n")
	r.server.say("250-mx\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-REQUIRETLS\r\n250-LIMITS RCPTMAX=100\r\n250-X-NEW thing\r\n250-SIZE\r\n250-size 0\r\n250-SIZE 999\r\n250 SIZE 1001\r\n")
	r.client.hears("250-mx\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-REQUIRETLS\r\n250-LIMITS RCPTMAX=100\r\n250-X-NEW thing\r\n250-SIZE 1000\r\n250-SIZE 1000\r\n250-SIZE 999\r\n250 SIZE 1000\r\n")
	r.toServer("MAIL FROM:<\xd1\x84@\xd1\x84.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B REQUIRETLS SIZE=1000 AUTH=<>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("RCPT TO:<\"a b\"@mx.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@x\r\n")
	r.toClient("250 ok\r\n")
	r.client.say("MAIL FROM:<a> BODY=8BITMIME SIZE=1001 SMTPUTF8\r\n")
	r.client.hears("552 gate.example msg_size_limit (1000 octets at most)\r\n")
}

// A spool that cannot be made, or cannot be written on: never a silent pass.
func TestSpoolFails(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, ignore := range []bool{false, true} {
			r := newRig(t, func(c *imsg.SessionConfig) { c.ScanChunks, c.IgnoreErrors = true, ignore })
			r.envelope()
			dir, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			r.client.say(map[bool]string{false: "DATA\r\n", true: "BDAT 6 LAST\r\nQUIT\r\n"}[chunked])
			switch {
			case !ignore:
				r.server.hears("QUIT\r\n")
				r.client.hears("451 gate.example : no such file or directory\r\n")
				r.client.say("QUIT\r\n")
				r.client.hears("221 gate.example msg_sign_off\r\n")
			case chunked:
				r.natChunk()
				r.server.hears("BDAT 6\r\nQUIT\r\n")
				r.server.say("250 ok\r\n")
				r.server.hears("BDAT 0 LAST\r\n")
			default:
				r.server.hears("DATA\r\n")
			}
			os.Mkdir(dir, 0o700)
		}
	}
}

func TestSpoolIsFull(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	text := strings.Repeat("0123456789abcd\r\n", 64<<10)
	for _, chunked := range []bool{false, true} {
		for _, ignore := range []bool{false, true} {
			r := newRig(t, func(c *imsg.SessionConfig) { c.ScanChunks, c.IgnoreErrors = true, ignore })
			r.envelope()
			fileLimit(t, true)
			if !chunked {
				r.toServer("DATA\r\n")
				r.toClient("354 go\r\n")
				go r.client.say(text + ".\r\n")
				r.natHeaderApart()
				if ignore {
					r.server.hears(text + ".\r\n")
				} else {
					r.client.hears("451 gate.example msg_spool_problem\r\n")
					r.server.isCutOff()
				}
			} else {
				go r.client.say("BDAT 1048576 LAST\r\n" + text)
				r.natChunk()
				r.server.hears("BDAT 1048576\r\n" + text)
				r.server.say("250 ok\r\n")
				if ignore {
					r.server.hears("BDAT 0 LAST\r\n")
				} else {
					r.server.hears("RSET\r\nQUIT\r\n")
					r.client.hears("451 gate.example msg_spool_problem\r\n")
				}
			}
			fileLimit(t, false)
			if got := r.scannedBodies(); len(got) > 0 {
				t.Errorf("%d messages scanned", len(got))
			}
		}
	}
}

// fileLimit bounds the files this process may write, or lifts that.
func fileLimit(t *testing.T, narrow bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if narrow {
		limit.Cur = 256 << 10
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}
