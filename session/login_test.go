package session

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

func coded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// byLogin has something go by logins.
func byLogin(c *imsg.SessionConfig) { c.ByLogin = true }

// authenticates logs in.
func (r *rig) authenticates(name string) {
	r.t.Helper()
	r.toServer("AUTH PLAIN " + coded("\x00"+name+"\x00hidden") + "\r\n")
	r.toClient("235 2.7.0 ok\r\n")
}

// heardOf waits until lockd has heard of log-ins.
func (r *rig) heardOf(logins ...string) {
	r.t.Helper()
	r.set(func() {
		if strings.Join(r.logins, " ") != strings.Join(logins, " ") || len(r.logins) != len(logins) {
			r.t.Errorf("lockd has heard of %q, want %q", r.logins, logins)
		}
	})
}

// ends that the next MAIL is refused so, and that there is no server any more.
func (r *rig) endsWith(refusal, again string) {
	r.t.Helper()
	r.client.say("MAIL FROM:<a@client.example>\r\n")
	r.server.hears("QUIT\r\n")
	r.server.end()
	r.client.hears(refusal)
	sign := "221"
	if strings.HasPrefix(again, "451 4") {
		sign += " 2.0.0"
	}
	r.client.say("MAIL FROM:<a@client.example>\r\nQUIT\r\n")
	r.client.hears(again + sign + " gate.example msg_sign_off\r\n")
}

// TestLoginRefused: a login that may not send gets its 235, and the next MAIL hears why;
// before that it may say what it likes.
func TestLoginRefused(t *testing.T) {
	for name, row := range map[string]struct {
		at             imsg.Refusal
		refusal, again string
		counter        imsg.Counter
		rule           imsg.PolicyRule
		kind           imsg.EventKind
	}{
		"locked": {
			imsg.RefusedLocked, "550 5.7.1 gate.example msg_virus_locked\r\n", "451 4.3.2 gate.example msg_virus_locked\r\n", imsg.CountRejectLock, imsg.RuleLocked, imsg.EventReject,
		},
		"too many": {
			imsg.RefusedLogin, "450 4.7.1 gate.example msg_max_per_login\r\n", "451 4.3.2 gate.example msg_max_per_login\r\n", imsg.CountRejectLogin, imsg.RuleMaxLogin, imsg.EventDefer,
		},
	} {
		for where, begin := range map[string]func(t *testing.T) *rig{
			"in clear": func(t *testing.T) *rig { r := newRig(t, byLogin); r.hello(); return r },
			"STARTTLS": func(t *testing.T) *rig {
				r := newSecureRig(t, byLogin)
				r.greet()
				r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
				r.toServer("STARTTLS\r\n")
				r.server.say("220 go ahead\r\n")
				r.must(r.server.asServer(serverIdentity))
				r.client.hears("220 go ahead\r\n")
				r.must(r.client.asClient())
				r.toServer("EHLO client.example\r\n")
				r.toClient("250-mx.example\r\n250 ENHANCEDSTATUSCODES\r\n")
				return r
			},
			"listen.tls": func(t *testing.T) *rig {
				r := newTLSRig(t, func(c *imsg.TLSConfig, _ uint16) { c.Upstream = imsg.TLSNever })
				r.hello()
				return r
			},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				r := begin(t)
				r.set(func() { r.atLogin = row.at })
				r.authenticates("Bob")
				r.heardOf("bob")
				r.toServer("NOOP\r\n")
				r.toClient("250 ok\r\n")
				r.endsWith(row.refusal, row.again)
				r.logs("LOGIN:REFUSED src=127.0.0.1, ident=, login=bob, rule=" + row.rule.String())
				r.seen("it to be counted", func() bool { return r.counts[row.counter] == 1 })
				if e := r.toldOf(row.kind); e.Rule != row.rule || e.Login != "bob" || e.Detail != "login=bob" {
					t.Errorf("%+v", e)
				}
				r.client.conn.Close()
				r.logs("CLOSE:TAKEN login=bob")
			})
		}
	}
}

// TestLoginsFollowed: what lockd hears of as whom a server has taken a client.
func TestLoginsFollowed(t *testing.T) {
	r := newRig(t, byLogin)
	r.hello()
	fails := func(code string) {
		r.t.Helper()
		r.toClient(code + " no\r\n")
	}
	r.toServer("AUTH PLAIN " + coded("\x00mallory\x00hidden") + "\r\n")
	fails("535")
	r.toServer("AUTH LOGIN\r\n")
	r.toClient("334 VXNlcm5hbWU6\r\n")
	r.toServer(coded("mallory2") + "\r\n")
	r.toClient("334 UGFzc3dvcmQ6\r\n")
	r.toServer("*\r\n")
	fails("501")
	r.heardOf() // who is refused, or gives up, is nobody
	r.toServer("AUTH LOGIN\r\n")
	r.toClient("334 VXNlcm5hbWU6\r\n")
	r.toServer(coded("Bob") + "\r\n")
	r.toClient("334 UGFzc3dvcmQ6\r\n")
	r.toServer(coded("hidden") + "\r\n")
	r.server.say("235-well\r\n235 come\r\n")
	r.client.hears("235-well\r\n235 come\r\n")
	r.heardOf("bob")
	r.toServer("AUTH PLAIN " + coded("\x00eve\x00hidden") + "\r\n")
	fails("503")
	r.authenticates("bob") // again: nothing is new
	r.heardOf("bob")
	r.authenticates("joe")
	r.heardOf("bob", "joe")
	r.toServer("AUTH NTLM\r\n")
	r.toClient("334 \r\n")
	r.toServer("!no base64\r\n")
	r.toClient("235 ok\r\n")
	r.heardOf("bob", "joe", "")
	r.authenticates("joe")
	if l := r.liveSession(); l.Login != "joe" || l.Barred {
		t.Errorf("%+v", l)
	}
	r.mail()
	r.toServer("QUIT\r\n")
	r.toClient("221 bye\r\n")
	r.server.conn.Close()
	r.client.end()
	r.logs("AUTH:REJECT [535] src=127.0.0.1, ident=, claimed=mallory")
	r.logs("AUTH:REJECT [501] src=127.0.0.1, ident=, claimed=mallory2")
	r.logs("AUTH:ACCEPT src=127.0.0.1, ident=, login=bob")
	r.logs("AUTH:ACCEPT src=127.0.0.1, ident=")
	r.seen("events", func() bool { return len(r.told) > 3 })
	r.set(func() {
		claims := map[string]bool{}
		for _, e := range r.told {
			if e.Claimed != "" {
				claims[e.Claimed] = e.Kind == imsg.EventAuthFail
			}
			if strings.Contains(e.Login, "mallory") {
				t.Errorf("%+v", e)
			}
		}
		if len(claims) != 3 || !claims["mallory"] || !claims["mallory2"] || !claims["eve"] {
			t.Errorf("%v", claims)
		}
	})
	for _, secret := range []string{"hidden", coded("hidden")} {
		if r.logged(secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestUnreadableLogin: what cannot be read as its mechanism has it is refused if something
// goes by logins, and else is the server's to judge, and nobody's name.
func TestUnreadableLogin(t *testing.T) {
	const user = "334 VXNlcm5hbWU6\r\n"
	for name, row := range map[string]struct {
		command  string
		response string // to a 334, empty: there is none
	}{
		"initial":            {"AUTH PLAIN AGJvYgB4eQ", ""},
		"response":           {"AUTH PLAIN", "AGJvYgB4eQ"},
		"initial, a NUL":     {"AUTH LOGIN " + coded("bob\x00hidden"), ""},
		"response, a NUL":    {"AUTH LOGIN", coded("bob\x00hidden")},
		"an empty name":      {"AUTH LOGIN =", ""},
		"asked once more":    {"AUTH LOGIN " + coded("eve"), coded("hidden") + "\r\n" + coded("more")},
		"a name of two":      {"AUTH XOAUTH2 " + coded("user=eve\x01user=bob\x01auth=Bearer t\x01\x01"), ""},
		"no name that it is": {"AUTH OAUTHBEARER " + coded("n,,\x01auth=Bearer t\x01\x01"), ""},
	} {
		for _, by := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, func(c *imsg.SessionConfig) { c.ByLogin = by })
				r.hello()
				responses := strings.Split(row.response, "\r\n")
				switch {
				case row.response == "" && by:
					r.client.say(row.command + "\r\n")
					r.client.hears("501 5.5.4 gate.example msg_proto_error\r\n")
				case row.response == "":
					r.toServer(row.command + "\r\n")
					r.toClient("235 ok\r\n")
					r.heardOf()
				default:
					r.toServer(row.command + "\r\n")
					for i, response := range responses {
						r.toClient(user)
						if last := i == len(responses)-1; last && by {
							r.client.say(response + "\r\n")
							r.server.hears("*\r\n")
							r.toClient("501 cancelled\r\n")
						} else {
							r.toServer(response + "\r\n")
						}
					}
					if !by {
						r.toClient("235 ok\r\n")
						r.heardOf()
					}
				}
				if by {
					r.logs("AUTH:UNREADABLE src=127.0.0.1, ident=")
				}
				r.authenticates("bob") // whoever says it as it should be goes on
				r.heardOf("bob")
				if r.logged("hidden") {
					t.Error("the password is in the log")
				}
			})
		}
	}
}

// TestLoginWithinTransaction: a mail that was begun before the log-in goes no further either.
func TestLoginWithinTransaction(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.ByLogin, c.ScanChunks = true, true })
	r.envelope()
	r.set(func() { r.atLogin = imsg.RefusedLocked })
	r.authenticates("bob")
	r.client.say("DATA\r\n")
	r.client.hears("550 gate.example msg_virus_locked\r\n")
	r.client.say("BDAT 4 LAST\r\ntext")
	r.server.hears("RSET\r\n")
	r.server.say("250 ok\r\n")
	r.client.hears("550 gate.example msg_virus_locked\r\n")
	if l := r.liveSession(); l.Login != "bob" || !l.Barred {
		t.Errorf("%+v", l)
	}
	r.endsWith("550 gate.example msg_virus_locked\r\n", "451 gate.example msg_virus_locked\r\n")
}

// TestLoginNotJudged: of whom lockd says nothing nobody knows whether it is locked. It hears
// a temporary code if something goes by logins.
func TestLoginNotJudged(t *testing.T) {
	for _, by := range []bool{true, false} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.ByLogin = by })
		r.set(func() {
			r.player = func(_ imsg.Room, q link.Request) bool {
				_, is := q.Message.(*imsg.LoginTaken)
				if is {
					q.Fail(imsg.Resource)
				}
				return is
			}
		})
		r.hello()
		r.authenticates("bob")
		if by {
			r.endsWith("451 4.3.0 gate.example msg_temp_unavail\r\n", "451 4.3.2 gate.example msg_temp_unavail\r\n")
		} else {
			r.mail()
		}
		r.seen("the log", func() bool { return r.logged("login not judged") })
	}
}

// TestLockedAtLogin: a lock that is made between the question and its answer is seen at the
// end of the message as any other is.
func TestLockedAtLogin(t *testing.T) {
	r := newRig(t, byLogin)
	r.set(func() {
		r.player = func(_ imsg.Room, q link.Request) bool {
			m, is := q.Message.(*imsg.LoginTaken)
			if is {
				r.lockd.Send(&imsg.Locked{Numbers: []uint64{m.Number}})
				family.Answer(q, &imsg.LoginResult{})
			}
			return is
		}
	})
	r.hello()
	r.authenticates("bob")
	r.toServer("MAIL FROM:<a@client.example>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("RCPT TO:<b@mx.example>\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("DATA\r\n")
	r.toClient("354 go ahead\r\n")
	r.text("text\r\n")
	r.client.say(".\r\n")
	r.client.hears("451 4.4.0 gate.example msg_virus_locked\r\n")
}

// TestLoginBeforeTLS: who has logged in cannot begin with TLS any more where it ends here:
// the server would forget the login behind it, and its mail would still be the login's.
func TestLoginBeforeTLS(t *testing.T) {
	r := newSecureRig(t, byLogin)
	r.greet()
	r.toClient("250-mx.example\r\n250 STARTTLS\r\n")
	r.authenticates("bob")
	r.client.say("STARTTLS\r\n")
	r.client.hears("503 gate.example msg_proto_error\r\n")
	r.toServer("NOOP\r\n")
	r.toClient("250 ok\r\n")
}
