package session

import (
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// obey plays a server that answers whatever comes and returns what came. Replies
// go out octet by octet if slow.
func (p *talker) obey(slow bool) string {
	var heard strings.Builder
	say := func(s string) {
		if !slow {
			io.WriteString(p.conn, s)
			return
		}
		for i := range len(s) {
			io.WriteString(p.conn, s[i:i+1])
		}
	}
	line := func() string {
		s, _ := p.r.ReadString('\n')
		heard.WriteString(s)
		return s
	}
	say("220-mx\r\n220 mx ESMTP\r\n")
	for {
		s := line()
		verb, arg, _ := strings.Cut(strings.TrimSuffix(s, "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "":
			return heard.String()
		case "EHLO":
			say("250-mx\n250-PIPELINING\r\n250-AUTH LOGIN\r\n250-BURL\r\n250 CHUNKING\r\n")
		case "AUTH":
			say("334 user\r\n")
			line()
			say("334 secret\r\n")
			line()
			say("235 welcome\r\n")
		case "DATA":
			if strings.Contains(arg, "no") {
				say("554 no\r\n")
				continue
			}
			say("354 go\r\n")
			for line() != ".\r\n" {
			}
			say("250 queued\r\n")
		case "BDAT":
			size, last, _ := strings.Cut(arg, " ")
			n, _ := strconv.Atoi(size)
			io.CopyN(&heard, p.r, int64(n))
			say("250-" + last + "\r\n250 chunk of " + size + "\r\n")
		case "QUIT":
			say("221 bye\r\n")
			p.conn.Close()
			return heard.String()
		default:
			say("250-" + verb + "\r\n250 ok\r\n")
		}
	}
}

// Each dialogue passes the same in one piece and octet by octet, in both
// directions.
func TestAnyCutting(t *testing.T) {
	long := strings.Repeat("long ", 30_000)
	for name, tc := range map[string]struct{ says, reaches, hears, scanned string }{
		"two mails": {
			"EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.x\r\n.\r\nRSET\r\nmail  from:<c> BODY=8BITMIME\r\nRCPT TO:<\xc3\xa9>\r\nDATA no\r\nDATA\r\n.\r\nQUIT\r\n",
			"EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nX: 127.0.0.1\r\nSubject: x\r\n\r\n..\r\nx\r\n.\r\nRSET\r\nmail from:<c> BODY=8BITMIME\r\nRCPT TO:<\xc3\xa9>\r\nDATA no\r\nDATA\r\nX: 127.0.0.1\r\n.\r\nQUIT\r\n",
			"EHLO MAIL RCPT 354 250 RSET mail RCPT 554 354 250 221",
			"Subject: x\r\n\r\n.\r\nx\r\n|",
		},
		"bare": {
			"EHLO c\nMAIL FROM:<a>\nRCPT TO:<b>\r\nDATA\r\na\n.\nb\r\n.\nc\rd\r.\r\n\x00.\r\n\n.\r\n.\r\nNO\rOP\r\nQUIT\n",
			"EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nX: 127.0.0.1\r\n\r\na\r\n..\r\nb\r\n..\r\nc d .\r\n..\r\n\r\n..\r\n.\r\nQUIT\r\n",
			"EHLO MAIL RCPT 354 250 500 221",
			"\r\na\r\n.\r\nb\r\n.\r\nc d .\r\n.\r\n\r\n.\r\n",
		},
		"chunks and text": {
			"EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 5\r\n.\r\n.\nBDAT 7 LAST\r\nBDAT 9\rMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nBDAT 9\r\n.\r\nQUIT\r\n",
			"EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 16\r\nX: 127.0.0.1\r\n\r\nBDAT 5\r\n.\r\n.\nBDAT 7\r\nBDAT 9\rBDAT 0 LAST\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nX: 127.0.0.1\r\n\r\nBDAT 9\r\n.\r\nQUIT\r\n",
			"EHLO MAIL RCPT 250:5 250:0 MAIL RCPT 354 250 221",
			"\r\n.\r\n.\nBDAT 9\r|\r\nBDAT 9\r\n",
		},
		"login": {
			"EHLO c\r\nAUTH LOGIN\r\nQUIT\r\nDATA\r\nBURL x\r\nNOOP\r\nQUIT\r\n",
			"EHLO c\r\nAUTH LOGIN\r\nQUIT\r\nDATA\r\nNOOP\r\nQUIT\r\n",
			"EHLO 334 334 235 502 NOOP 221", "",
		},
		"long": {
			"EHLO " + strings.Repeat("x", 3000) + "\r\nNOOP " + strings.Repeat("x", 2041) + "\r\nNOOP " + strings.Repeat("x", 2042) + "\r\nAUTH LOGIN\r\n" + strings.Repeat("u", 12286) + "\r\n" + strings.Repeat("s", 12287) + "\r\nQUIT\r\n",
			"NOOP " + strings.Repeat("x", 2041) + "\r\nAUTH LOGIN\r\n" + strings.Repeat("u", 12286) + "\r\n*\r\nQUIT\r\n",
			"500 NOOP 500 334 334 235 221", "",
		},
		"long text": {
			"MAIL FROM:<a>\r\nDATA\r\n" + long + "\r\n." + long + "\n." + long + "\r\n.\r\nQUIT\r\n",
			"MAIL FROM:<a>\r\nDATA\r\nX: 127.0.0.1\r\n\r\n" + long + "\r\n" + long + "\r\n.." + long + "\r\n.\r\nQUIT\r\n",
			"MAIL 354 250 221",
			"\r\n" + long + "\r\n" + long + "\r\n." + long + "\r\n",
		},
	} {
		for _, slow := range []bool{false, true} {
			if slow && len(tc.says) > 100_000 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, func(c *imsg.SessionConfig) {
					c.ScanChunks, c.EarlyTalk = true, false
					c.NatHeader, c.NatHeaderType = "X", imsg.NatIPOnly
				})
				heard := make(chan string, 1)
				go func() { heard <- r.server.obey(slow) }()
				go func() {
					if !slow {
						r.client.say(tc.says)
						return
					}
					for i := range len(tc.says) {
						r.client.say(tc.says[i : i+1])
					}
				}()
				got, err := io.ReadAll(r.client.r)
				if err != nil {
					t.Fatal(err)
				}
				if want := expand(tc.hears); string(got) != want {
					t.Errorf("client hears %q\nwant %q", got, want)
				}
				if got := wait(t, heard); got != tc.reaches {
					t.Errorf("server hears %.2000q\nwant %.2000q", got, tc.reaches)
				}
				if got := strings.Join(r.scannedBodies(), "|"); got != tc.scanned {
					t.Errorf("scanned %.2000q\nwant %.2000q", got, tc.scanned)
				}
			})
		}
	}
}

// expand writes out the replies of obey, and ours, that words stand for.
func expand(words string) string {
	var b strings.Builder
	b.WriteString("220-mx\r\n220 mx ESMTP\r\n")
	replies := map[string]string{
		"EHLO": "250-mx\r\n250-PIPELINING\r\n250-AUTH LOGIN\r\n250-BUR*\r\n250 CHUNKING\r\n",
		"354":  "354 go\r\n", "250": "250 queued\r\n", "554": "554 no\r\n", "221": "221 bye\r\n", "235": "235 welcome\r\n",
		"500": "500 gate.example msg_proto_error\r\n", "502": "502 gate.example msg_unimpl_command\r\n",
		"250:5": "250-\r\n250 chunk of 5\r\n", "250:0": "250-LAST\r\n250 chunk of 0\r\n",
	}
	challenges := 0
	for w := range strings.FieldsSeq(words) {
		switch text, ok := replies[w]; {
		case w == "334":
			b.WriteString([]string{"334 user\r\n", "334 secret\r\n"}[challenges])
			challenges++
		case ok:
			b.WriteString(text)
		default:
			b.WriteString("250-" + w + "\r\n250 ok\r\n")
		}
	}
	return b.String()
}

// What a server may say at a bad moment, and what the client makes of it.
func TestServerInterrupts(t *testing.T) {
	down, nonsense := "421 mx going down\r\n", "421 gate.example msg_proto_error\r\n"
	for name, tc := range map[string]struct {
		prepare     func(r *rig)
		says, hears string
	}{
		"421 in a reply":            {func(r *rig) { r.toServer("HELP\r\n") }, "214-first\r\n" + down, "214-first\r\n" + down},
		"421 of two lines":          {func(r *rig) { r.toServer("HELP\r\n") }, "421-mx\r\n421 down\r\n", "421-mx\r\n421 down\r\n"},
		"421 for one of many":       {func(r *rig) { r.toServer("NOOP\r\nNOOP\r\nNOOP\r\n") }, "250 one\r\n" + down + "250 three\r\n", "250 one\r\n" + down},
		"421 to DATA":               {func(r *rig) { r.toServer("DATA\r\n") }, down, down},
		"421 to AUTH":               {func(r *rig) { r.toServer("AUTH LOGIN\r\n") }, down, down},
		"421 to STARTTLS":           {func(r *rig) { r.toServer("STARTTLS\r\n") }, down, down},
		"421 in the text":           {(*rig).midText, down, down},
		"250 in the text":           {(*rig).midText, "250 queued\r\n", nonsense},
		"354 in the text":           {(*rig).midText, "354 go on\r\n", nonsense},
		"half a refusal":            {(*rig).midText, "552-too\r\n552 ", "552-too\r\n"},
		"a refusal and rubbish":     {(*rig).midText, "552-too\r\nbig\r\n", "552-too\r\n" + nonsense},
		"250 to DATA":               {func(r *rig) { r.toServer("DATA\r\n") }, "250 ok\r\n", nonsense},
		"two replies to one":        {func(r *rig) { r.toServer("NOOP\r\n") }, "250 one\r\n250 two\r\n", "250 one\r\n" + nonsense},
		"challenge and more":        {func(r *rig) { r.toServer("AUTH LOGIN\r\n") }, "334 x\r\n235 already\r\n", "334 x\r\n" + nonsense},
		"354 and more":              {func(r *rig) { r.toServer("DATA\r\n") }, "354 x\r\n250 already\r\n", "354 x\r\n" + nonsense},
		"334 to DATA":               {func(r *rig) { r.toServer("DATA\r\n") }, "334 x\r\n", nonsense},
		"354 to AUTH":               {func(r *rig) { r.toServer("AUTH LOGIN\r\n") }, "354 x\r\n", nonsense},
		"rubbish":                   {func(r *rig) { r.toServer("NOOP\r\n") }, "OK\r\n", nonsense},
		"1yz":                       {func(r *rig) { r.toServer("NOOP\r\n") }, "150 x\r\n", nonsense},
		"two codes":                 {func(r *rig) { r.toServer("NOOP\r\n") }, "250-x\r\n251 y\r\n", "250-x\r\n" + nonsense},
		"a long line":               {func(r *rig) { r.toServer("NOOP\r\n") }, "250 " + strings.Repeat("x", 4096) + "\r\n", nonsense},
		"the longest line":          {func(r *rig) { r.toServer("NOOP\r\n") }, "250 " + strings.Repeat("x", 4090) + "\r\n" + down, "250 " + strings.Repeat("x", 4090) + "\r\n" + down},
		"close":                     {func(r *rig) { r.toServer("NOOP\r\n") }, "", ""},
		"close in the text":         {(*rig).midText, "", ""},
		"half a reply":              {func(r *rig) { r.toServer("NOOP\r\n") }, "250 ok", ""},
		"421 to a chunk":            {(*rig).midChunk, down, down},
		"early refusal of a chunk":  {(*rig).midChunk, "552 too big\r\n" + down, "552 too big\r\n" + down},
		"a refused chunk, twice":    {(*rig).midChunk, "552 one\r\n552 two\r\n", "552 one\r\n" + nonsense},
		"too many replies to chunk": {(*rig).midChunk, "250 one\r\n250 two\r\n", "250 one\r\n" + nonsense},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, scanChunks)
			r.toClient("220 mx\r\n")
			tc.prepare(r)
			r.server.say(tc.says)
			if tc.says == "" || strings.HasPrefix(name, "half a") {
				r.server.conn.Close()
			}
			r.client.hears(tc.hears)
			r.client.end()
			r.client.conn.Close()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
			r.nothingSpooled()
		})
	}
}

func (r *rig) midText() {
	r.toServer("DATA\r\n")
	r.toClient("354 go\r\n")
	r.text("some text\r\n")
}

func (r *rig) midChunk() {
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 CHUNKING\r\n")
	r.nextEnvelope()
	r.client.say("BDAT 100\r\nsome text\r\n")
	r.natChunk()
	r.server.hears("BDAT 100\r\nsome text\r\n")
}

// Challenges and responses of 12288 octets pass while AUTH is open, and only then.
func TestLongChallenge(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	long := strings.Repeat("A", smtp.AuthLimit-len("334 \r\n"))
	r.toServer("AUTH GSSAPI\r\n")
	r.toClient("334 " + long + "\r\n")
	r.toServer(long + "\r\n")
	r.toClient("334 " + long + "\r\n")
	r.toServer("*\r\n")
	r.toClient("501 cancelled\r\n")
	r.toServer("NOOP\r\n")
	r.server.say("250 " + long + "\r\n")
	r.client.hears("421 gate.example msg_proto_error\r\n")
}

// However much a client sends at once behind the last words, it gets the time to
// read them.
func TestMuchIsDiscarded(t *testing.T) {
	r := newRig(t, nil)
	r.data()
	r.server.say("421 down\r\n")
	r.server.end()
	for range 10 {
		r.client.say(strings.Repeat("x", 4*stream.BufferSize))
		time.Sleep(10 * time.Millisecond)
	}
	r.client.hears("421 down\r\n")
	r.client.end()
}

// A server that gives up in the middle of a message is heard although the
// client goes on sending.
func TestServerGivesUpWhileClientSends(t *testing.T) {
	r := newRig(t, nil)
	r.data()
	sent := make(chan bool)
	go func() {
		defer close(sent)
		block := []byte(strings.Repeat("0123456789abcdef0123456789abc\r\n", 1000))
		for range 100 {
			if _, err := r.client.conn.Write(block); err != nil {
				return
			}
		}
	}()
	r.natHeaderApart()
	r.server.say("421 enough\r\n")
	r.client.hears("421 enough\r\n")
	wait(t, sent)
}

// Replies of our own come in their turn.
func TestOwnRepliesInTurn(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.AuthRequire, c.SizeLimit = imsg.AuthMandatory, 10 })
	r.toClient("220 mx\r\n")
	r.client.say("NOOP 1\r\nBURL\r\nDATA\r\nNOOP 2\r\nMAIL FROM:<a> SIZE=11\r\nN\x00\r\nXEXCH50\r\nNOOP 3\r\nBDAT 6\r\nQUIT\r\n")
	r.server.hears("NOOP 1\r\nNOOP 2\r\nNOOP 3\r\n")
	r.toClient("250 one\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n530 gate.example msg_auth_required\r\n")
	r.toClient("250 two\r\n")
	r.client.hears("552 gate.example msg_size_limit (10 octets at most)\r\n500 gate.example msg_proto_error\r\n502 gate.example msg_unimpl_command\r\n")
	r.toClient("250 three\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n")
}

// auth_require ifsupported holds for a DATA in one group with the EHLO that
// tells what is supported.
func TestAuthRequireInOneGroup(t *testing.T) {
	for _, offers := range []bool{false, true} {
		r := newRig(t, func(c *imsg.SessionConfig) { c.AuthRequire = imsg.AuthIfSupported })
		r.toClient("220 mx\r\n")
		r.client.say("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n")
		r.server.hears("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\n")
		if !offers {
			r.toClient("250-mx\r\n250 AUTH=LOGIN\r\n250 ok\r\n250 ok\r\n")
			r.server.hears("DATA\r\n")
			continue
		}
		r.toClient("250-mx\r\n250 AUTH LOGIN\r\n250 ok\r\n250 ok\r\n")
		r.client.hears("530 gate.example msg_auth_required\r\n")
	}
}

// A client that talks and never listens keeps nobody waiting but itself.
func TestClientThatDoesNotRead(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.TimeoutIdle = 2 * time.Second })
	r.toClient("220 mx\r\n")
	deaf := r.client
	deaf.conn.(*net.TCPConn).SetReadBuffer(4096)
	go func() {
		for {
			if _, err := io.WriteString(deaf.conn, strings.Repeat("BURL\r\n", 1000)); err != nil {
				return
			}
		}
	}()
	// The worker's clock ends it, so it has not stopped either.
	r.server.end()
	r.seen("Leave", func() bool { return len(r.left) == 1 })
}

// A bug ends the session it is in, and no other.
func TestPanicEndsOneSession(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.Texts = c.Texts[:1] })
	r.toClient("220 mx\r\n")
	other := r.dial()
	other.say("QUIT\r\n")
	other.end() // its early talk has no text
	r.seen("the bug counted", func() bool { return r.counts[imsg.CountBugs] == 1 })
	r.Logs("CLOSE by=error, ")
	r.toServer("NOOP\r\n")
	r.toClient("250 ok\r\n")
}

// The kernel moves what the direct proxy passes: this process does not read it.
func TestDirectIsSpliced(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("splice is Linux's")
	}
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.toServer("STARTTLS\r\n")
	r.toClient("220 go\r\n")
	r.toServer("hello")
	r.toClient("hello")
	const size = 32 << 20
	before := readOctets(t)
	go r.client.conn.Write(make([]byte, size))
	if _, err := io.CopyN(io.Discard, readerOnly{r.server.conn}, size); err != nil {
		t.Fatal(err)
	}
	// The test itself reads everything once.
	if n := readOctets(t) - before; n > size+size/4 {
		t.Errorf("%d octets read in user space to pass %d", n-size, size)
	}
}

// readerOnly keeps the test's own reading from being spliced.
type readerOnly struct{ io.Reader }

// readOctets tells how many octets this process has got from read(2).
func readOctets(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("no accounting: ", err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	n, err := strconv.Atoi(strings.TrimPrefix(first, "rchar: "))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDirectTimesOut(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.TimeoutDirect = time.Second })
	r.toClient("220 mx\r\n")
	r.toServer("STARTTLS\r\n")
	r.toClient("220 go\r\n")
	r.client.end()
	r.server.end()
}
