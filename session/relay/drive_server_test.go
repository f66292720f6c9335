package relay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// This file owns the server: it reads octets as a server would, and answers each command
// once, in a reply that names it. What it refuses depends on how many commands it has
// had, never on when they came.

// mta is a server.
type mta struct {
	drive    *drive
	seed     uint64
	offers   []string
	lenient  bool // LF alone ends a line
	refuses  int  // one command in so many is refused; 0: none
	odd      int  // one reply in so many is none
	floods   bool // some replies have thousands of lines
	chunking bool // it has offered that
	tls      bool // it has said 220 to STARTTLS, or speaks nothing else
	shy      bool // it speaks TLS alone, and not before its client has
	silent   bool // it answers nothing any more
	chunky   bool // it refuses chunks, too

	in      []byte
	passed  []byte // of TLS
	out     []byte // said, and not sent yet
	said    int    // octets it has said
	mark    int    // how many of them are replies that somebody waits for, or came before such
	mode    mtaMode
	count   uint64 // of commands
	mail    bool
	rcpts   int
	chunks  bool
	failed  bool // a chunk was refused
	text    []byte
	left    int64 // of a chunk
	line    string
	asks    int  // AUTH challenges to come
	deaf    bool // it has answered the message already
	astray  bool // what it has said by its own may be taken for another reply, and text for commands
	closing bool
	ends    int      // of messages
	did     []string // what it acted on
}

type mtaMode uint8

const (
	mtaCommands mtaMode = iota
	mtaText
	mtaOctets
	mtaResponse
	mtaOver // it looks at nothing any more
)

// chance draws by the seed and the number of the command.
func (m *mta) chance(n int, what uint64) bool {
	return n > 0 && rand.New(rand.NewPCG(m.seed, m.count<<8|what)).IntN(n) == 0
}

func (m *mta) say(format string, args ...any) {
	if m.silent {
		return
	}
	b := fmt.Appendf(nil, format, args...)
	m.out = append(m.out, b...)
	m.said += len(b)
}

// reply answers what is named so.
func (m *mta) reply(code int, text string) {
	if m.closing {
		return
	}
	if m.chance(m.odd, 'o') {
		m.oddity()
		return
	}
	end := "\r\n"
	if m.chance(9, 'l') {
		end = "\n"
	}
	if m.chance(5, 'm') {
		m.say("%d-several lines%s%d-%s", code, end, code, end)
	}
	if m.floods && m.chance(10, 'f') {
		m.say("%s", strings.Repeat(fmt.Sprintf("%d-a flood of lines%s", code, end), 6000))
	}
	m.say("%d %s [%s]%s", code, text, m.line, end)
	m.mark = m.said
}

// oddity says what is no reply, or none to this.
func (m *mta) oddity() {
	m.drive.loose = true
	list := []string{
		"what?\r\n", "099 x\r\n", "250-a\r\n251 b\r\n", "354 go on\r\n", "334 go on\r\n", "200 ok\r\n", "2500 x\r\n", "250-open\r\n",
		"250 a\r\n250 b\r\n", "421 bye\r\n", "250-x\r\n421 bye\r\n", "550 " + strings.Repeat("x", 5000) + "\r\n", "250 " + strings.Repeat("x", 4000) + "\r\n",
		"220 go ahead\r\n", "235 in\r\n", strings.Repeat("250-SIZE\n", 4000) + "250 x\n", "250", "",
	}
	m.say("%s", list[rand.New(rand.NewPCG(m.seed, m.count)).IntN(len(list))])
	m.mark = m.said
}

// blurt says what nobody has asked for.
func (m *mta) blurt(order *rand.Rand) {
	switch {
	case m.closing:
	case m.mode == mtaText && !m.deaf:
		m.line = "."
		m.say("%s", []string{"552 5.3.4 early [.]\r\n", "451-early\r\n451-\r\n451 early [.]\r\n"}[order.IntN(2)])
		if m.deaf = true; order.IntN(3) == 0 {
			m.mode, m.text, m.drive.loose, m.astray = mtaCommands, nil, true, true
		}
	case m.deaf:
	default:
		m.drive.loose, m.astray = true, true
		m.say("%s", []string{"421 bye\r\n", "451 farewell\r\n", "550-fare\r\n550 well\r\n", "250 surprise\r\n", "451 half", "garbage\r\n"}[order.IntN(6)])
		m.closing = order.IntN(2) == 0
	}
}

// ended is that no octet will come.
func (m *mta) ended() {
	m.closing = true
	m.mode = mtaOver
}

// hear reads octets.
func (m *mta) hear(b []byte) {
	if m.shy && len(m.passed) == 0 && b[0] == 22 {
		m.shy = false
		m.say("\x16\x03\x03\x00\x01a")
	}
	if m.tls && m.mode == mtaOver {
		m.passed = append(m.passed, b...)
	}
	if m.drive.tlsPort && m.count == 0 && len(m.in) == 0 && b[0] == 22 { // plain, and strict
		m.mode = mtaOver
	}
	m.in = append(m.in, b...)
	for len(m.in) > 0 && m.next() {
	}
	if m.mode == mtaOver {
		m.in = nil
	}
}

// next reads the next thing. False: more octets are needed.
func (m *mta) next() bool {
	switch m.mode {
	case mtaOver:
		return false
	case mtaOctets:
		n := min(m.left, int64(len(m.in)))
		m.text = append(m.text, m.in[:n]...)
		m.in = m.in[n:]
		if m.left -= n; m.left > 0 {
			return false
		}
		m.mode = mtaCommands
		m.chunkDone()
		return true
	}
	end := []byte("\r\n")
	if m.lenient {
		end = end[1:]
	}
	line, rest, ok := bytes.Cut(m.in, end)
	if !ok {
		return false
	}
	m.in = rest
	if m.lenient {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch m.mode {
	case mtaText:
		m.textLine(line)
	case mtaResponse:
		m.acts(line)
		m.authenticate(string(line) == "*")
	default:
		m.acts(line)
		m.command(string(line))
	}
	return true
}

// acts notes a line that is acted on.
func (m *mta) acts(line []byte) {
	m.line = named(line)
	m.count++
	m.note(line)
}

// note keeps what it has acted on, if that is wanted.
func (m *mta) note(b []byte) {
	if m.drive.words != nil {
		m.did = append(m.did, string(b))
	}
}

func (m *mta) textLine(line []byte) {
	if string(line) != "." {
		line = bytes.TrimPrefix(line, []byte("."))
		m.text = append(append(m.text, line...), "\r\n"...)
		return
	}
	m.mode, m.line = mtaCommands, "."
	m.ends++
	m.note(m.text)
	m.drive.released(m.text)
	m.reset()
	if m.deaf {
		m.deaf = false
		return
	}
	m.count++
	m.whim(250, "taken")
}

func (m *mta) reset() { m.mail, m.rcpts, m.chunks, m.failed, m.text = false, 0, false, false, nil }

// whim answers so, or refuses.
func (m *mta) whim(code int, text string) bool {
	if m.chance(m.refuses, 'r') || strings.Contains(m.line, "refuse") {
		m.reply([]int{451, 550, 452, 554}[m.count%4], "no")
		return false
	}
	m.reply(code, text)
	return true
}
