// How the server of a recorded dialogue says its words, and what it says that it
// may not.

package session

import (
	"io"
	"strings"
)

// outburst is something a server may not do, and what ends its part.
type outburst struct {
	name    string
	behind  bool   // the answer comes first
	says    string // and then it closes
	reset   bool   // it resets
	refuses bool   // a message, if what comes first asks for it
}

var outbursts = []outburst{
	{name: "421", says: "421 4.3.2 going down\r\n"},
	{name: "421 of several lines", says: "421-4.3.2 going\r\n421 4.3.2 down\r\n"},
	{name: "closes"},
	{name: "resets", reset: true},
	{name: "half a line", says: "250 o"},
	{name: "half a reply", says: "250-one\r\n"},
	{name: "half a reply and 421", says: "250-one\r\n421 4.3.2 going down\r\n"},
	{name: "2yz more", behind: true, says: "250 2.0.0 more\r\n"},
	{name: "3yz more", behind: true, says: "354 more\r\n"},
	{name: "4yz more", behind: true, refuses: true, says: "451 4.3.0 more\r\n"},
	{name: "5yz more", behind: true, refuses: true, says: "554-5.3.0 more\r\n554 5.3.0 and more\r\n"},
	{name: "421 more", behind: true, says: "421 4.3.2 more\r\n"},
	{name: "4yz more, half", behind: true, says: "451-4.3.0 more\r\n451 and"},
	{name: "4yz more, then another", behind: true, says: "451-4.3.0 more\r\n452 and\r\n"},
	{name: "rubbish more", behind: true, says: "what?\r\n"},
	{name: "rubbish", says: "what?\r\n"},
	{name: "a code of two digits", says: "25 ok\r\n"},
	{name: "a code of four digits", says: "2500 ok\r\n"},
	{name: "an empty line", says: "\r\n"},
	{name: "1yz", says: "150 wait\r\n"},
	{name: "two codes", says: "250-one\r\n251 two\r\n"},
	{name: "a line too long", says: "250 " + strings.Repeat("long", 1100) + "\r\n"},
	{name: "334", says: "334 what\r\n"},
	{name: "354", says: "354 go\r\n"},
	{name: "220", says: "220 again\r\n"},
	{name: "235", says: "235 welcome\r\n"},
	{name: "bare LF, CR and NUL", says: "250-one\n250 two\rand\x00three\r\n"},
}

// answers are what a server says to a message before its end. The second part
// of one comes when the client has ended it.
var answers = []struct {
	first, second string
	good          bool // it answers the message; else it ends the session
	atScan        bool // the second part may come behind the verdict
}{
	{"552 5.3.4 too big\r\n", "", true, false},
	{"452-4.3.1 full\r\n452 4.3.1 now\r\n", "", true, false},
	{"554 no\r\n250 2.0.0 yes\r\n", "", true, false},
	{"552 \x01 \xff\r\n", "", true, false},
	{"552-too\r\n", "552 big\r\n", true, false},
	{"552 to", "o big\r\n", true, true},
	{"250 2.0.0 taken\r\n", "", false, false},
	{"354 more\r\n", "", false, false},
	{"421 4.3.2 going down\r\n", "", false, false},
	{"rubbish\r\n", "", false, false},
	{"421-so\r\n", "421 long\r\n", false, true},
	{"552-too\r\n", "553 big\r\n", false, false},
	{"552-too\r\n", "", false, false},
}

// sayMark in a text or chunk has the server say what it has of answers.
const sayMark = "say it"

func (m *msa) write(s string) {
	if m.hold {
		m.held = append(m.held, s...)
		return
	}
	io.WriteString(m.conn, s)
}

// say gives the answer to what was heard, or has the outburst in its place.
func (m *msa) say(reply string) {
	n := m.said
	m.said++
	if m.burst == nil || n != m.burstAt {
		m.write(reply)
		return
	}
	m.struck, m.struckAt = true, m.total-len(m.buf)
	b := m.burst
	m.answered = b.refuses && strings.HasPrefix(reply, "354")
	switch {
	case b.reset:
		m.conn.SetLinger(0)
		if !m.hold {
			m.conn.Close()
		}
		return
	case b.behind:
		m.write(reply + b.says)
	default:
		m.write(b.says)
	}
	m.close()
}

// close ends its half, unless it holds back what it has to say.
func (m *msa) close() {
	if !m.hold {
		m.conn.CloseWrite()
	}
}

// release says what was held back.
func (m *msa) release() {
	m.hold = false
	if len(m.held) > 0 {
		m.conn.Write(m.held)
		m.held = nil
	}
	switch {
	case m.struck && m.burst != nil && m.burst.reset:
		m.conn.Close()
	case m.struck:
		m.conn.CloseWrite()
	}
}

// sayRest says what an answer lacks.
func (m *msa) sayRest() {
	if m.rest != "" {
		m.write(m.rest)
		m.rest = ""
		m.close()
	}
}
