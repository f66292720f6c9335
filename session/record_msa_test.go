// The server of a recorded dialogue. What it says is drawn from a seed, word by
// word as it is spoken to: the same dialogue gets the same words.

package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// msa is a server's state; the play's mutex guards it.
type msa struct {
	*rand.Rand
	conn *net.TCPConn

	// What it is.
	offers   []string
	greeting string
	moody    float64 // how often it refuses
	refuses  float64 // the same of chunks
	many     float64 // how often it has several lines to say
	stays    bool    // it does not close behind QUIT
	speedy   bool    // it closes there without a word
	burst    *outburst
	burstAt  int     // words from the start, the greeting is 0
	early    int     // of answers
	waits    bool    // at the client's end it does not close
	unloved  bool    // it takes no XCLIENT
	resets   float64 // how often it refuses RSET

	said     int // words
	mode     func(m *msa) bool
	buf      []byte
	held     []byte
	hold     bool
	struck   bool   // it has had its outburst, or has answered early: it acts on nothing more
	struckAt int    // how much it had heard by then
	total    int    // octets it has heard
	answered bool   // that was the answer to a message
	rest     string // of that
	told     bool   // it has answered the chunk under way
	chunk    []byte
	mail     bool
	rcpts    int
	chunks   bool
	left     int
	asks     int
	tls      bool // nobody reads between client and server
	esmtp    bool // the client has said EHLO
}

func (m *msa) hears(b []byte) {
	m.buf = append(m.buf, b...)
	m.total += len(b)
	for !m.struck && len(m.buf) > 0 && m.mode(m) {
	}
}

// lines is a reply with this code, of one line or more.
func (m *msa) lines(code int, text string) string {
	line := fmt.Sprintf("%d %s\r\n", code, text)
	if m.Float64() < m.many {
		return fmt.Sprintf("%d-%s\r\n%d-\r\n", code, text, code) + line
	}
	return line
}

// whim is a good reply with this code, or a refusal; true: the good one.
func (m *msa) whim(code int, text string) bool {
	if m.Float64() < m.moody {
		no := []int{450, 451, 452, 500, 501, 503, 550, 553, 554}[m.IntN(9)]
		m.say(m.lines(no, "5.0.0 no"))
		return false
	}
	m.say(m.lines(code, text))
	return true
}

func (m *msa) command() bool {
	line, rest, ok := strings.Cut(string(m.buf), "\r\n")
	if !ok {
		return false
	}
	m.buf = []byte(rest)
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		m.hello(verb, arg)
	case "MAIL":
		if m.mail {
			m.say(m.lines(503, "5.5.1 nested"))
			break
		}
		m.mail = m.whim(250, "2.1.0 sender ok")
	case "RCPT":
		switch {
		case !m.mail:
			m.say(m.lines(503, "5.5.1 MAIL first"))
		case m.whim([]int{250, 251}[m.IntN(2)], "2.1.5 recipient ok"):
			m.rcpts++
		}
	case "DATA":
		switch {
		case m.rcpts == 0 || m.chunks:
			m.say(m.lines(503, "5.5.1 not now"))
		case m.Float64() < m.moody/8:
			m.say("250 2.0.0 what?\r\n")
		case m.whim(354, "go ahead"):
			m.mode = (*msa).text
		}
	case "BDAT":
		size, last, _ := strings.Cut(arg, " ")
		m.left, _ = strconv.Atoi(size)
		m.told, m.chunk = false, nil
		m.chunks = last == ""
		m.mode = (*msa).octets
		m.octets()
	case "AUTH":
		kind, initial, _ := strings.Cut(arg, " ")
		m.asks = map[string]int{"PLAIN": 1, "LOGIN": 2}[strings.ToUpper(kind)]
		if initial != "" {
			m.asks--
		}
		m.challenge()
	case "STARTTLS":
		if m.whim(220, "2.0.0 go ahead") {
			m.mode, m.tls = (*msa).echo, true
		}
	case "RSET":
		if m.Float64() < m.resets {
			m.say(m.lines(500, "5.5.2 never"))
			break
		}
		m.reset()
		m.say(m.lines(250, "2.0.0 reset"))
	case "XCLIENT":
		m.reset()
		if m.unloved {
			m.say(m.lines(550, "5.7.0 not you"))
			break
		}
		m.say(m.lines(220, "mx.example ESMTP at your service"))
	case "NOOP":
		m.whim(250, "2.0.0 ok")
	case "VRFY":
		m.say(m.lines(252, "2.1.5 send some mail"))
	case "QUIT":
		m.quit(verb == "QUIT")
	default:
		m.say(m.lines(500, "5.5.2 what?"))
	}
	return true
}

func (m *msa) reset() { m.mail, m.rcpts, m.chunks = false, 0, false }

func (m *msa) hello(verb, arg string) {
	if strings.EqualFold(verb, "HELO") {
		if m.whim(250, "mx.example") {
			m.esmtp = false
			m.reset()
		}
		return
	}
	if arg != "gate.example" && m.Float64() < m.moody/2 {
		m.say(m.lines(502, "5.5.1 HELO only"))
		return
	}
	m.reset()
	m.esmtp = true
	var reply strings.Builder
	list := append([]string{"mx.example"}, m.offers...)
	for i, offer := range list {
		fmt.Fprintf(&reply, "250%c%s\r\n", "- "[map[bool]int{true: 1}[i == len(list)-1]], offer)
	}
	m.say(reply.String())
}

// quit ends its part. One the gateway may have said gets no outburst: nobody
// would hear it.
func (m *msa) quit(calm bool) {
	if calm {
		m.burst = nil
	}
	if m.speedy {
		m.struck, m.answered = true, true
		m.close()
		return
	}
	if m.stays {
		m.say("221 2.0.0 staying\r\n")
		return
	}
	m.say("221 2.0.0 bye\r\n")
	m.struck, m.answered = true, true
	m.close()
}

func (m *msa) challenge() {
	m.mode = (*msa).command
	switch {
	case m.asks > 0:
		m.say(m.lines(334, "VXNlcm5hbWU6"))
		m.mode = (*msa).response
	case m.asks == 0 && m.Float64() >= m.moody:
		m.say(m.lines(235, "2.7.0 welcome"))
	default:
		m.say(m.lines([]int{504, 535, 454, 250, 432}[m.IntN(5)], "5.7.8 no"))
	}
}

func (m *msa) response() bool {
	line, rest, ok := strings.Cut(string(m.buf), "\r\n")
	if !ok {
		return false
	}
	m.buf = []byte(rest)
	if m.speedy && line == "QUIT" {
		m.quit(true)
		return true
	}
	if m.asks--; line == "*" {
		m.asks = -1
	}
	m.challenge()
	return true
}

// text reads a message. Its end is CRLF . CRLF and nothing else.
func (m *msa) text() bool {
	line, rest, ok := bytes.Cut(m.buf, []byte("\r\n"))
	if !ok {
		return false
	}
	m.buf = rest
	switch {
	case string(line) == ".":
		m.mode = (*msa).command
		m.reset()
		m.whim(250, "2.0.0 queued")
	case bytes.Contains(line, []byte(sayMark)):
		m.struck, m.answered = true, answers[m.early].good
		m.write(answers[m.early].first)
		m.rest = answers[m.early].second
		if m.rest == "" {
			m.close()
		}
	}
	return true
}

// octets reads a chunk.
func (m *msa) octets() bool {
	n := min(m.left, len(m.buf))
	chunk := m.buf[:n]
	m.buf = m.buf[n:]
	m.left -= n
	m.chunk = append(m.chunk, chunk...)
	if bytes.Contains(m.chunk, []byte(sayMark)) && !m.told {
		m.told = true
		m.say(m.lines(452, "4.3.1 full"))
	}
	if m.left > 0 {
		return false
	}
	m.mode = (*msa).command
	switch {
	case m.told:
	case m.Float64() < m.refuses:
		m.say(m.lines([]int{452, 503, 552, 554}[m.IntN(4)], "5.0.0 no chunk"))
	case m.chunks:
		m.say(m.lines(250, "2.0.0 chunk taken"))
	default:
		m.reset()
		m.say(m.lines(250, "2.0.0 queued"))
	}
	return true
}

// echo is what a server behind STARTTLS comes to here.
func (m *msa) echo() bool {
	line, rest, ok := strings.Cut(string(m.buf), "\n")
	if !ok {
		return false
	}
	m.buf = []byte(rest)
	m.write("echo " + line + "\n")
	return true
}
