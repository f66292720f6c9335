package relay

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// lines are a trace, as it is written.
type lines struct {
	all []string
	now time.Duration
}

func (l *lines) TraceLine(line []byte)  { l.all = append(l.all, string(line)) }
func (l *lines) Now() time.Duration     { return l.now }
func (l *lines) String() string         { return strings.Join(l.all, "\n") }
func (l *lines) last() (way, of string) { return splitTrace(l.all[len(l.all)-1]) }

// splitTrace is a line without its session and its time.
func splitTrace(line string) (way, of string) {
	_, rest, _ := strings.Cut(line, " ms  ")
	return strings.TrimRight(rest[:13], " "), rest[15:]
}

func traced() (*Trace, *lines) {
	l := new(lines)
	return NewTrace(&Facts{
		Number: 18, Started: time.Unix(1764510433, 123e6), Client: netip.MustParseAddrPort("192.0.2.7:51234"),
		Local: netip.MustParseAddrPort("192.0.2.1:25"), Target: netip.MustParseAddrPort("192.0.2.2:25"), Secured: [2]bool{Client: true}, Ident: "a\x1bb",
	}, l), l
}

// TestTraceOfCommands: what is not known to be harmless is not shown.
func TestTraceOfCommands(t *testing.T) {
	for line, want := range map[string]string{
		"EHLO pc.example":                                    "EHLO pc.example",
		"ehlo [IPv6:2001:db8::7]":                            "ehlo [IPv6:2001:db8::7]",
		"EHLO dXNlcjpwYXNz==":                                "EHLO <14 octets>",
		"HELO my secret":                                     "HELO <9 octets>",
		"MAIL FROM:<a@b> SIZE=100":                           "MAIL FROM:<a@b> SIZE=100",
		"mail from: <\"a b\"@c>  BODY=8BITMIME":              "mail from: <\"a b\"@c> BODY=8BITMIME",
		"MAIL FROM:<>":                                       "MAIL FROM:<>",
		"MAIL FROM:<a@b> AUTH=<secret@x> PASS=secret secret": "MAIL FROM:<a@b> AUTH=<10 octets> <11 octets> <6 octets>",
		"MAIL secret":                                        "MAIL <6 octets>",
		"MAIL FROM:secret":                                   "MAIL FROM:<6 octets>",
		"RCPT TO:<root> NOTIFY=NEVER ORCPT=rfc822;x":         "RCPT TO:<root> NOTIFY=NEVER ORCPT=rfc822;x",
		"RCPT TO:<\xc3\xa9@b>":                               "RCPT TO:<##@b>",
		"DATA":                                               "DATA",
		"DATA secret":                                        "DATA <6 octets>",
		"NOOP secret":                                        "NOOP <6 octets>",
		"BDAT 12 last":                                       "BDAT 12 LAST",
		"BDAT12":                                             "BDAT",
		"BDAT 12 secret":                                     "BDAT <9 octets>",
		"AUTH":                                               "AUTH",
		"AUTH PLAIN":                                         "AUTH PLAIN",
		"AUTH PLAIN AGpvZQBzZWNyZXQ=":                        "AUTH PLAIN <16 octets>",
		"  aUtH \t pLaIn   AGpvZQBzZWNyZXQ= ":                "aUtH pLaIn <16 octets>",
		"AUTH PLAIN =":                                       "AUTH PLAIN <1 octets>",
		"AUTH PLAIN AGpv ZQBz ZWNyZXQ=":                      "AUTH PLAIN <18 octets>",
		"AUTH LOGIN am9l":                                    "AUTH LOGIN <4 octets>",
		"AUTH AGpvZQBzZWNyZXQ=":                              "AUTH <16 octets>",
		"AUTH SECRET":                                        "AUTH <6 octets>",
		"AUTH SECRET PLAIN":                                  "AUTH <12 octets>",
		"AUTH=PLAIN AGpvZQBzZWNyZXQ=":                        "<27 octets>",
		"AUTHPLAIN":                                          "<9 octets>",
		"XAUTH PLAIN AGpv":                                   "XAUTH <10 octets>",
		"X-EXPS LOGIN am9l":                                  "X-EXPS <10 octets>",
		"XCLIENT NAME=x ADDR=192.0.2.1 LOGIN=joe PASS=x": "XCLIENT NAME=x ADDR=192.0.2.1 LOGIN=<3 octets> <6 octets>",
		"VRFY joe":         "VRFY <3 octets>",
		"AGpvZQBzZWNyZXQ=": "<16 octets>",
		"Subject: secret":  "<15 octets>",
		"":                 "<0 octets>",
		".":                ".",
		"QUIT secret":      "QUIT <6 octets>",
		"NOOP \x00":        "<6 octets>",
		"STARTTLS":         "STARTTLS",
	} {
		tr, l := traced()
		given := []byte(line)
		tr.command(fromClient, given)
		if way, got := l.last(); got != want || way != "client > gate" || string(given) != line {
			t.Errorf("%q: %s %q, want %q", line, way, got, want)
		}
	}
}

// TestTraceOfReplies: what a server says again of what was hidden is hidden, too, be it
// later.
func TestTraceOfReplies(t *testing.T) {
	const secret = "hunter2hunter"
	plain := base64.StdEncoding.EncodeToString([]byte("\x00joe@mx.example\x00" + secret))
	for _, tt := range []struct {
		said  []string // by the client; "> " is a response of AUTH
		kind  kind
		reply string
		want  string
	}{
		{nil, greeting, "220 mx ESMTP", "220 mx ESMTP"},
		{nil, ehlo, "250-AUTH PLAIN LOGIN", "250-AUTH PLAIN LOGIN"},
		{nil, ehlo, "250", "250"},
		{nil, greeting, "220 \x1b[2Jmx", "220 #[2Jmx"},
		{nil, auth, "334 " + plain, "334 <40 octets>"},
		{nil, mail, "334 VXNlcm5hbWU6", "334 <12 octets>"},
		{nil, auth, "334 ", "334"},
		{nil, auth, "235 2.7.0 welcome joe", "235 2.7.0 <11 octets>"},
		{nil, auth, "535-5.7.8 " + plain, "535-5.7.8 <40 octets>"},
		{nil, auth, "535 AUTH PLAIN " + plain, "535 <51 octets>"},
		{nil, auth, "535 5.7.99999 x", "535 <11 octets>"},
		{nil, other, "502 5.5.2 unknown: " + plain, "502 5.5.2 <49 octets>"},
		{[]string{"AUTH PLAIN " + plain}, own, "421 last was AUTH PLAIN " + plain, "421 <60 octets>"},
		{[]string{"AUTH PLAIN " + plain}, mail, "250 said " + strings.ToUpper(plain[:20]) + "...", "250 <28 octets>"},
		{[]string{"AUTH PLAIN " + plain}, mail, "250 your password is " + secret, "250 <30 octets>"},
		{[]string{"AUTH PLAIN " + plain}, mail, "250 h\x00u\x00n\x00t\x00e\x00r\x00", "250 <12 octets>"},
		{[]string{"AUTH PLAIN " + plain}, mail, "250 2.1.0 <joe@mx.example> ok", "250 2.1.0 <joe@mx.example> ok"},
		{[]string{"AUTH LOGIN", "> am9lQG14LmV4YW1wbGU=", "> aHVudGVyMg=="}, mail, "250 <joe@mx.example> ok", "250 <joe@mx.example> ok"},
		{[]string{"AUTH LOGIN", "> am9lQG14LmV4YW1wbGU=", "> aHVudGVyMg=="}, mail, "250 hunter2 ok", "250 <10 octets>"},
		{[]string{"AUTH LOGIN am9lQG14LmV4YW1wbGU=", "> aHVudGVyMg=="}, mail, "250 hunter2 ok", "250 <10 octets>"},
		{[]string{"AUTH LOGIN am9lQG14LmV4YW1wbGU="}, mail, "250 am9lQG14LmV4YW1wbGU=", "250 <20 octets>"},
		{[]string{"aHVudGVyMg=="}, own, "500 too many: hunter2", "500 <17 octets>"},
		{[]string{"NOOP " + secret}, own, "500 " + secret, "500 <13 octets>"},
		{[]string{"> n,,n=joe,r=" + secret}, own, "500 " + secret, "500 <13 octets>"},
		{[]string{"AUTH PLAIN " + base64.StdEncoding.EncodeToString(wide(binary.LittleEndian, secret))}, own, "500 " + secret, "500 <13 octets>"},
		{[]string{"NOOP ab"}, own, "250 a cab", "250 a cab"},
	} {
		tr, l := traced()
		for _, line := range tt.said {
			response, is := strings.CutPrefix(line, "> ")
			tr.heard([]byte(response), len(line), smtp.LineOK, is)
		}
		r, err := smtp.ParseReply([]byte(tt.reply))
		if err != nil {
			t.Fatal(err)
		}
		tr.reply(fromServer, tt.kind, &r)
		if way, got := l.last(); got != tt.want || way != "server > gate" {
			t.Errorf("behind %q %q: %s %q, want %q", tt.said, tt.reply, way, got, tt.want)
		}
		for _, line := range l.all {
			if strings.Contains(line, "hunter") || strings.Contains(line, plain) {
				t.Errorf("%q", line)
			}
		}
	}
	// Who says more than can be remembered has all texts hidden.
	tr, l := traced()
	for i := range 2000 {
		tr.command(fromClient, fmt.Appendf(nil, "X%d %x", i, i*i*i*7919))
	}
	r, _ := smtp.ParseReply([]byte("250 harmless"))
	if tr.reply(fromServer, mail, &r); len(tr.hidden.pieces) > maxPieces+100 {
		t.Errorf("%d pieces are kept", len(tr.hidden.pieces))
	}
	if _, got := l.last(); got != "250 <8 octets>" {
		t.Errorf("%q", got)
	}
}

// TestTraceOfText: octets in a row are one line, with the time of the last of them, and
// come before what was said behind.
func TestTraceOfText(t *testing.T) {
	tr, l := traced()
	tr.command(fromClient, []byte("DATA"))
	for range 3 {
		l.now += 10 * time.Millisecond
		tr.octets(fromClient, 100)
		tr.octets(toServer, 101)
	}
	l.now += time.Second
	tr.commands(toServer, []byte(".\r\n"))
	tr.own([]byte("250-a\r\n250 b\r\n"))
	tr.End("client")
	if want := []string{
		"18      0 ms                 session 1764510433.18 at 2025-11-30T13:47:13.123Z: client 192.0.2.7:51234 in TLS, accepted at 192.0.2.1:25, server 192.0.2.2:25 in clear, ident a#b",
		"18      0 ms  client > gate  DATA",
		"18     30 ms  client > gate  <300 octets>",
		"18     30 ms  gate > server  <303 octets>",
		"18   1030 ms  gate > server  .",
		"18   1030 ms  gate > client  250-a",
		"18   1030 ms  gate > client  250 b",
		"18   1030 ms                 closed by client",
	}; !slices.Equal(l.all, want) {
		t.Errorf("got\n%s", l)
	}
	(*Trace)(nil).End("client")
}

// wide is a text in UTF-16.
func wide(order binary.AppendByteOrder, s string) (b []byte) {
	for _, c := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, c)
	}
	return b
}

// forms are how a password may be seen.
func forms(password string) (all []string) {
	add := func(b []byte) {
		all = append(all, string(b))
		for at := range 3 { // it may begin anywhere in what is coded
			coded := base64.StdEncoding.EncodeToString(append(make([]byte, at), b...))
			all = append(all, coded[(at*8+5)/6:(at+len(b))*8/6])
		}
	}
	add([]byte(password))
	add(wide(binary.LittleEndian, password))
	add(wide(binary.BigEndian, password))
	return all
}

// leak has a client say its password in a way that it should not, or should.
func (s *script) leak(password string) []piece {
	coded := base64.StdEncoding.EncodeToString
	plain := coded([]byte("\x00joe\x00" + password))
	response := func(line string) piece { return piece{octets: []byte(line + "\r\n"), waits: true, behind: 334} }
	line := func(line string) piece { return piece{octets: []byte(line + "\r\n"), waits: !s.blind} }
	switch s.IntN(14) {
	case 0:
		return []piece{line(s.one("AUTH PLAIN ", "auth  plain\t", "AUTH\tPlain ", " AUTH PLAIN  ") + plain)}
	case 1:
		return []piece{line("AUTH PLAIN"), response(plain)}
	case 2:
		return []piece{line("AUTH LOGIN"), response(coded([]byte("joe"))), response(coded([]byte(password)))}
	case 3:
		return []piece{line("AUTH LOGIN"), line(coded([]byte("joe"))), line(coded([]byte(password)))} // whatever the server has said
	case 4:
		return []piece{line("AUTH " + s.one(plain, password, password+" PLAIN"))}
	case 5:
		return []piece{line("AUTH PLAIN " + plain + "\r\nMAIL FROM:<a@b>\r\nRCPT TO:<take@mx>")}
	case 6:
		return []piece{line(plain), line(password), line(coded([]byte(password)))}
	case 7:
		return []piece{line(s.one("NOOP ", "VRFY ", "HELP ", "XCLIENT LOGIN=", "RSET ", "MAIL FROM:<a@b> AUTH=", "EHLO x ", "BDAT x ", "XAUTH ", "DATA ") + password)}
	case 8:
		return []piece{line("AUTH NTLM " + coded(wide(binary.LittleEndian, password))), response(coded(wide(binary.BigEndian, "joe:"+password)))}
	case 9:
		return []piece{line("AUTH XOAUTH2 " + coded([]byte("user=joe\x01auth=Bearer "+password+"\x01\x01")))}
	case 10:
		text := "Subject: " + password + "\r\nX-Auth: " + plain + "\r\n\r\n" + coded([]byte(password)) + "\r\n" + string(wide(binary.BigEndian, password)) + "\r\n.\r\n"
		return []piece{line("MAIL FROM:<a@b>\r\nRCPT TO:<take@mx>"), line("DATA"), {octets: []byte(text), waits: !s.once(3), behind: s.IntN(2) * 354}}
	case 11:
		return []piece{line("MAIL FROM:<a@b>\r\nRCPT TO:<take@mx>"), line(fmt.Sprintf("BDAT %d LAST\r\n%s", len(password)+2, password))}
	case 12:
		return []piece{line("AUTH PLAIN " + plain + "\x01"), line(strings.Repeat("x", 2100) + password), line("A" + password + "\rB")}
	}
	return []piece{line("AUTH PLAIN"), response(plain + "\r\n" + plain), line("*")}
}

// TestTraceKeepsSecrets drives sessions of all kinds, whose clients say their password
// everywhere, with servers that say again what they hear. It is in no line of a trace, and
// that there is one changes nothing.
func TestTraceKeepsSecrets(t *testing.T) {
	bad, shown := 0, 0
	seeds(4_000, func(seed uint64) {
		if bad > 2 {
			return
		}
		var heard [2][]word
		for i := range heard {
			r := rand.New(rand.NewPCG(seed, 77))
			password := ""
			for range 8 + r.IntN(8) {
				password += string(rune("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!?"[r.IntN(59)]))
			}
			d := newDrive(seed, 0, false)
			d.words = []word{}
			s := &script{Rand: r, blind: r.IntN(4) == 0}
			for range 1 + r.IntN(4) {
				d.client.pieces = slices.Insert(d.client.pieces, r.IntN(len(d.client.pieces)+1), s.leak(password)...)
			}
			l := new(lines)
			if i > 0 {
				d.facts.Trace = NewTrace(&d.facts, l)
			}
			problem := d.run()
			d.facts.Trace.End("client")
			heard[i] = d.words
			shown += len(l.all)
			for _, form := range forms(password) {
				if at := strings.Index(l.String(), form); at >= 0 {
					bad++
					t.Errorf("seed %d: password %q in the trace:\n%s\n%s\n%s", seed, password, l, problem, d.describe())
					return
				}
			}
		}
		if !reflect.DeepEqual(heard[0], heard[1]) {
			bad++
			t.Errorf("seed %d: a trace changes what is said", seed)
		}
	})
	if shown < 1000 && *onlySeed == 0 {
		t.Errorf("only %d lines were shown", shown)
	}
}
