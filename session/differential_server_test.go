// Mail servers as a test plays them, each reading the same octets its own way.
// What one of them did is told by the octets alone: fed again, it does the same.

package session

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// reading is what sets one kind of server apart from others.
type reading struct {
	name     string
	line     func(buf []byte) (line []byte, n int)          // n 0: the line is not complete
	dot      func(line []byte) (content []byte, ended bool) // of a line of text
	chunking bool
	early    func(m *mta) bool // how it reads what follows a text it has refused before its end; nil: it does not
}

func strictLine(buf []byte) ([]byte, int) {
	line, _, ok := bytes.Cut(buf, []byte("\r\n"))
	if !ok {
		return nil, 0
	}
	return line, len(line) + 2
}

func lfLine(buf []byte) ([]byte, int) {
	line, _, ok := bytes.Cut(buf, []byte("\n"))
	if !ok {
		return nil, 0
	}
	return bytes.TrimSuffix(line, []byte("\r")), len(line) + 1
}

func crLine(buf []byte) ([]byte, int) {
	i := bytes.IndexAny(buf, "\r\n")
	switch {
	case i < 0, buf[i] == '\r' && i+1 == len(buf):
		return nil, 0
	case buf[i] == '\r' && buf[i+1] == '\n':
		return buf[:i], i + 2
	}
	return buf[:i], i + 1
}

func nulLine(buf []byte) ([]byte, int) {
	line, n := lfLine(buf)
	line, _, _ = bytes.Cut(line, []byte{0})
	return line, n
}

func plainDot(line []byte) ([]byte, bool) {
	return bytes.TrimPrefix(line, []byte(".")), string(line) == "."
}

func trimmedDot(line []byte) ([]byte, bool) {
	return bytes.TrimPrefix(line, []byte(".")), string(bytes.TrimRight(line, " \t\r")) == "."
}

func doubledDot(line []byte) ([]byte, bool) {
	if bytes.HasPrefix(line, []byte("..")) {
		return line[1:], false
	}
	return line, string(line) == "."
}

// readings are ways in which servers have been seen to read.
var readings = []reading{
	{"strict", strictLine, plainDot, true, nil},
	{"LF-lenient", lfLine, plainDot, true, nil},
	{"CR-lenient", crLine, plainDot, true, nil},
	{"NUL-truncating", nulLine, plainDot, true, nil},
	{"blank-trimming", lfLine, trimmedDot, true, nil},
	{"two-dots-only", strictLine, doubledDot, true, nil},
	{"no chunking", lfLine, plainDot, false, nil},
	{"early, then text", lfLine, plainDot, true, (*mta).deaf},
	{"early, then commands", lfLine, plainDot, true, (*mta).command},
}

// tooBig in a text is what some servers refuse it for, there and then.
const tooBig = "TOO BIG"

// mta is a server's state. It takes what any server anywhere takes: whatever it
// is not told by the gateway to refuse would be acted on.
type mta struct {
	reading
	fickle uint32 // seed of its refusals; 0 refuses only what asks for it

	buf      []byte
	mode     func(m *mta) bool // reads the next thing in buf; false: more octets are needed
	tag      string            // the argument of the client's first EHLO
	rcpts    int
	mail     bool
	chunks   bool
	noData   bool
	text     []byte
	left     int // octets of a chunk to come
	last     bool
	broken   bool // the chunk belongs to no transaction
	asks     int  // AUTH challenges to come
	reply    []byte
	over     bool     // after QUIT and STARTTLS nothing is looked at any more
	each     bool     // a reply for each recipient comes behind a message
	mute     bool     // no more replies come
	did      []string // the lines it acted on, AUTH responses among them
	messages []string
}

func newMTA(r reading) *mta { return &mta{reading: r, mode: (*mta).command} }

// feed gives octets to the server and returns what it says.
func (m *mta) feed(b []byte) []byte {
	m.buf = append(m.buf, b...)
	m.reply = nil
	for !m.over && len(m.buf) > 0 && m.mode(m) {
	}
	return m.reply
}

// finish tells the server that no octet follows: a CR it hesitated about ends a line.
func (m *mta) finish() {
	if m.name == "CR-lenient" && bytes.HasSuffix(m.buf, []byte("\r")) {
		m.feed([]byte("\n"))
	}
}

func (m *mta) say(format string, args ...any) {
	if !m.mute {
		m.reply = fmt.Appendf(m.reply, format+"\r\n", args...)
	}
}

// privateOffers are what a server offers that no gateway can follow.
var privateOffers = []string{
	"BURL imap", "XEXCH50", "PRDR", "PIPECONNECT", "X_PIPE_CONNECT", "VERB", "XACK", "XMRG", "XLSMTP-ACKRCPT", "X-EXPS GSSAPI NTLM LOGIN",
	"X-EXPS=LOGIN", "X-LINK2STATE", "X-ANONYMOUSTLS", "TURN", "ATRN", "SAML", "SEND", "SOML", "XEXDATA", "QUICKSTART", "CHECKPOINT",
}

func (m *mta) reset() {
	m.mail, m.rcpts, m.chunks, m.noData, m.broken, m.each, m.text = false, 0, false, false, false, false, nil
}

func (m *mta) took(text []byte) {
	m.messages = append(m.messages, string(text))
	m.reset()
}

// whim answers a command that may be refused: 250, or what chance says, the same
// for the same line. Every third answer has several lines.
func (m *mta) whim(line []byte) bool {
	if bytes.Contains(line, []byte("refuse")) {
		m.say("550 5.1.0 refused")
		return false
	}
	chance := uint32(0)
	if m.fickle != 0 && !bytes.Contains(line, []byte("take")) {
		h := fnv.New32a()
		fmt.Fprintf(h, "%d %s", m.fickle, line)
		chance = h.Sum32() >> 8
	}
	if chance%3 == 1 {
		m.say("250-2.0.0 here is\r\n250-\r\n250-2.0.0 more")
	}
	switch {
	case chance%7 == 1 && chance%3 != 1:
		m.say("452-4.5.3 some other time\r\n452 4.5.3 perhaps")
		return false
	case chance%7 == 2 && chance%3 != 1:
		m.say("554 5.5.4 no")
		return false
	}
	m.say("250 2.0.0 ok")
	return true
}

func (m *mta) command() bool {
	line, n := m.line(m.buf)
	if n == 0 {
		return false
	}
	m.buf = m.buf[n:]
	m.did = append(m.did, string(line))
	verb, arg, _ := strings.Cut(strings.ReplaceAll(strings.Trim(string(line), " \t"), "\t", " "), " ")
	arg = strings.TrimSpace(arg)
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO", "LHLO", "QHLO":
		m.reset()
		m.each = strings.EqualFold(verb, "LHLO")
		if m.tag == "" && arg != "gate.example" { // that is the gateway itself
			m.tag = arg
		}
		if strings.EqualFold(verb, "HELO") {
			m.say("250 mx.example hello")
			break
		}
		m.say("250-mx.example hello\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250-STARTTLS\r\n" +
			"250-XCLIENT NAME ADDR PROTO HELO PORT LOGIN")
		for _, line := range privateOffers {
			m.say("250-%s", line)
		}
		if m.chunking {
			m.say("250-CHUNKING\r\n250-BINARYMIME")
		}
		m.say("250 SMTPUTF8")
	case "MAIL", "SEND", "SOML", "SAML", "XMRG":
		switch {
		case m.mail:
			m.say("503 5.5.1 nested MAIL")
		case m.whim(line):
			m.mail = true
			m.each = m.each || strings.Contains(strings.ToUpper(arg), " PRDR")
			m.noData = strings.Contains(arg, "nodata")
		}
	case "RCPT":
		switch {
		case !m.mail:
			m.say("503 5.5.1 MAIL first")
		case m.whim(line):
			m.rcpts++
		}
	case "DATA", "EXDATA", "XPRT":
		switch {
		case m.rcpts == 0 || m.chunks:
			m.say("503 5.5.1 not now")
		case m.noData:
			m.say("451 4.3.0 no DATA today")
			m.reset()
		default:
			m.say("354 go ahead")
			m.mode = (*mta).body
		}
	case "BDAT":
		m.chunk(arg)
	case "BURL":
		m.took([]byte("what BURL names: " + arg))
		m.say("250 2.0.0 fetched")
	case "XEXCH50":
		m.left, _ = strconv.Atoi(strings.Fields(arg + " 0")[0])
		m.say("354 send binary data")
		m.mode = (*mta).blob
	case "XACK", "XLSMTP-ACKRCPT":
		m.mute = true
	case "VERB", "XVRB":
		m.say("050 so verbose\r\n250 2.0.0 verbose mode")
	case "TURN", "ATRN":
		m.say("250 2.0.0 you serve me\r\nEHLO mx.example")
	case "X-ANONYMOUSTLS":
		m.say("220 2.0.0 go ahead")
		m.over = true
	case "AUTH", "X-EXPS", "XAUTH":
		kind, initial, _ := strings.Cut(arg, " ")
		m.asks = map[string]int{"PLAIN": 1, "LOGIN": 2}[strings.ToUpper(kind)]
		if initial != "" {
			m.asks--
		}
		m.challenge()
	case "STARTTLS":
		if len(m.buf) > 0 {
			m.did = append(m.did, "in clear behind STARTTLS: "+string(m.buf))
		}
		m.say("220 2.0.0 go ahead")
		m.over = true
	case "RSET":
		m.reset()
		m.say("250 2.0.0 ok")
	case "XCLIENT":
		m.xclient()
	case "NOOP":
		m.whim(line)
	case "VRFY":
		m.say("252-2.1.5 send some mail\r\n252 2.1.5 and see")
	case "QUIT":
		m.say("221 2.0.0 bye")
		m.over = true
	default:
		m.say("500 5.5.2 what?")
	}
	return true
}

// xclient starts the session over, as if nobody had said anything yet.
func (m *mta) xclient() {
	if m.mail {
		m.say("503 5.5.1 not now")
		return
	}
	m.reset()
	m.say("220 mx.example ESMTP")
}

const noEmptyChunk = "504 5.5.4 zero size for BDAT command"

func (m *mta) chunk(arg string) {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(size)
	switch {
	case !m.chunking: // it does not know what follows
		m.say("500 5.5.2 what?")
		return
	case err != nil || n < 0 || last != "" && !strings.EqualFold(strings.TrimSpace(last), "LAST"):
		m.say("501 5.5.4 BDAT what?")
		return
	case n == 0 && last == "" && m.rcpts > 0: // as Exim does
		m.say("%s", noEmptyChunk)
		return
	}
	m.left, m.last = n, last != ""
	m.broken = m.rcpts == 0
	m.chunks = !m.broken
	m.mode = (*mta).octets
	if n == 0 {
		m.octets()
	}
}

func (m *mta) octets() bool {
	n := min(m.left, len(m.buf))
	m.text = append(m.text, m.buf[:n]...)
	m.buf = m.buf[n:]
	if m.left -= n; m.left > 0 {
		return false
	}
	m.mode = (*mta).command
	switch {
	case m.broken:
		m.text = nil
		m.say("503 5.5.1 RCPT first")
	case m.last:
		m.took(m.text)
		m.say("250 2.0.0 queued")
	default:
		m.say("250 2.0.0 chunk taken")
	}
	return true
}

func (m *mta) body() bool {
	line, n := m.line(m.buf)
	if n == 0 {
		return false
	}
	m.buf = m.buf[n:]
	content, ended := m.dot(line)
	if ended {
		m.mode = (*mta).command
		if m.each {
			m.say("353 for each")
			for range m.rcpts {
				m.say("250 2.0.0 for one")
			}
		}
		m.took(m.text)
		m.say("250 2.0.0 queued")
		return true
	}
	m.text = append(append(m.text, content...), "\r\n"...)
	if m.early != nil && bytes.Contains(content, []byte(tooBig)) {
		m.say("552-5.3.4 too big\r\n552 5.3.4 for me")
		m.reset()
		m.mode = m.early
	}
	return true
}

// deaf reads a text to its end and says nothing to it.
func (m *mta) deaf() bool {
	line, n := m.line(m.buf)
	if n == 0 {
		return false
	}
	m.buf = m.buf[n:]
	if _, ended := m.dot(line); ended {
		m.mode = (*mta).command
	}
	return true
}

// blob takes the octets of XEXCH50 for properties of a message.
func (m *mta) blob() bool {
	n := min(m.left, len(m.buf))
	m.buf = m.buf[n:]
	if m.left -= n; m.left > 0 {
		return false
	}
	m.mode = (*mta).command
	m.say("250 2.0.0 got it")
	return true
}

func (m *mta) challenge() {
	m.mode = (*mta).command
	switch {
	case m.asks > 0:
		m.say("334 ")
		m.mode = (*mta).response
	case m.asks == 0:
		m.say("235 2.7.0 welcome")
	default:
		m.say("504 5.5.4 unknown mechanism")
	}
}

func (m *mta) response() bool {
	line, n := m.line(m.buf)
	if n == 0 {
		return false
	}
	m.buf = m.buf[n:]
	m.did = append(m.did, "response: "+string(line))
	if string(line) == "*" {
		m.mode = (*mta).command
		m.say("501 5.7.0 cancelled")
		return true
	}
	m.asks--
	m.challenge()
	return true
}

// call is one connection a server had.
type call struct {
	mta
	heard []byte // all octets, up to where the server stopped looking
	tls   []byte // what came behind an accepted STARTTLS
	over  chan struct{}
}

// acted is what it acted on behind the client's first EHLO, whoever the client was.
func (c *call) acted() (list []string) {
	first := slices.IndexFunc(c.did, func(line string) bool { return strings.HasSuffix(line, " "+c.tag) })
	for _, line := range c.did[first+1:] {
		if before, after, ok := strings.Cut(line, " PORT="); ok {
			_, after, _ = strings.Cut(after, " ")
			line = before + " " + after
		}
		list = append(list, line)
	}
	return list
}

// mx is a server with a socket. It remembers its calls by the name in their
// first EHLO.
type mx struct {
	addr   string
	fickle uint32
	secure bool // it has TLS, by STARTTLS, before its client hears of it

	mu    sync.Mutex
	live  sync.WaitGroup
	calls map[string]*call
	stray []*call // those that never said EHLO
}

func newMX(t testing.TB, r reading) *mx {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &mx{addr: l.Addr().String(), calls: make(map[string]*call)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			x.live.Add(1)
			go x.serve(c, r)
		}
	}()
	return x
}

func (x *mx) serve(conn net.Conn, r reading) {
	defer x.live.Done()
	defer conn.Close()
	conn.SetDeadline(imsgtest.Deadline())
	c := &call{mta: *newMTA(r), over: make(chan struct{})}
	x.mu.Lock()
	c.fickle = x.fickle
	x.mu.Unlock()
	defer close(c.over)
	conn, greeted := x.begin(conn)
	if conn == nil {
		return
	}
	if !greeted {
		io.WriteString(conn, "220 mx.example ESMTP\r\n")
	}
	known := false
	for b := make([]byte, 64<<10); ; {
		n, err := conn.Read(b)
		if c.mta.over { // TLS: it closes after QUIT
			c.tls = append(c.tls, b[:n]...)
			if err != nil {
				break
			}
			continue
		}
		c.heard = append(c.heard, b[:n]...)
		reply := c.feed(b[:n])
		if err != nil {
			c.finish()
			break
		}
		if !known && c.tag != "" {
			known = true
			x.mu.Lock()
			x.calls[c.tag] = c
			x.mu.Unlock()
		}
		if _, err := conn.Write(reply); err != nil {
			// What was sent already is heard all the same.
			continue
		}
		if bytes.HasSuffix(reply, []byte("bye\r\n")) {
			break
		}
	}
	if !known {
		x.mu.Lock()
		x.stray = append(x.stray, c)
		x.mu.Unlock()
	}
}

// call returns the finished connection whose client had this name, nil if there was none.
func (x *mx) call(t testing.TB, tag string) *call {
	t.Helper()
	x.mu.Lock()
	c := x.calls[tag]
	x.mu.Unlock()
	if c != nil {
		wait(t, c.over)
	}
	return c
}

// begin has TLS begin, if there is to be any, and tells whether the server has greeted
// before. It is nil if that failed.
func (x *mx) begin(conn net.Conn) (secured net.Conn, greeted bool) {
	if !x.secure {
		return conn, false
	}
	lines := bufio.NewReader(conn)
	io.WriteString(conn, "220 mx.example ESMTP\r\n")
	for _, say := range []string{"250-mx.example\r\n250 STARTTLS\r\n", "220 go ahead\r\n"} {
		if _, err := lines.ReadString('\n'); err != nil {
			return nil, false
		}
		io.WriteString(conn, say)
	}
	server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{serverIdentity.Certificate}})
	if server.Handshake() != nil {
		return nil, false
	}
	return server, true
}
