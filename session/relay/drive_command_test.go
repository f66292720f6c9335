package relay

import (
	"slices"
	"strconv"
	"strings"
)

// This file owns what the server does about each command.

// command acts on a line.
func (m *mta) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		if m.chance(m.refuses, 'e') { // and is where it was (RFC 5321, 4.1.4)
			m.reply(502, "HELO is enough")
			return
		}
		m.reset()
		m.say("250-mx.example\r\n")
		for _, offer := range m.offers {
			m.say("250-%s\r\n", offer)
		}
		m.say("250 HELP [%s]\r\n", m.line)
		m.chunking = slices.Contains(m.offers, "CHUNKING")
		m.mark = m.said
	case "HELO":
		m.reset()
		m.chunking = false
		m.reply(250, "mx.example")
	case "MAIL":
		if m.mail {
			m.reply(503, "nested")
		} else if m.whim(250, "ok") {
			m.mail = true
		}
	case "RCPT":
		if !m.mail {
			m.reply(503, "no sender")
		} else if m.whim(250, "ok") {
			m.rcpts++
		}
	case "DATA":
		if m.rcpts == 0 || m.chunks {
			m.reply(503, "no recipients")
		} else if m.chance(m.refuses, 'd') {
			m.reply(451, "not now")
		} else {
			m.mode, m.text = mtaText, nil
			m.reply(354, "go on")
		}
	case "BDAT":
		m.chunk(arg)
	case "RSET":
		m.reset()
		m.reply(250, "ok")
	case "AUTH":
		m.asks = int(m.count % 3)
		m.authenticate(false)
	case "STARTTLS":
		if m.whim(220, "go ahead") {
			m.mode, m.tls = mtaOver, true
		}
	case "XCLIENT":
		if strings.HasPrefix(arg, "ADDR=") && !m.mail {
			m.reply(220, "mx.example ESMTP")
		} else {
			m.reply(550, "not you")
		}
	case "QUIT":
		m.reply(221, "bye")
		m.closing, m.mode = true, mtaOver
	default:
		m.whim(250, "well")
	}
}

func (m *mta) authenticate(cancelled bool) {
	m.mode = mtaCommands
	switch {
	case cancelled:
		m.reply(501, "cancelled")
	case m.asks > 0:
		m.asks--
		m.reply(334, "VXNlcm5hbWU6")
		m.mode = mtaResponse
	case m.chance(3, 'a'):
		m.reply(535, "no")
	default:
		m.drive.authed = true
		m.reply(235, "welcome")
	}
}

// chunk begins to read a chunk.
func (m *mta) chunk(arg string) {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	switch {
	case m.astray:
	case err != nil || last != "" && last != "LAST" || last != "" && n != 0:
		m.drive.fail("the server is asked to read BDAT %q", arg)
	case !m.chunking && !m.drive.loose:
		m.drive.fail("the server gets a chunk, and does not know what that is")
	case !m.chunks && !m.failed && (!m.mail || m.rcpts == 0) && !m.drive.loose:
		m.drive.fail("the server gets a chunk, and has no transaction")
	}
	m.chunks = true
	if last == "" {
		m.left, m.mode = n, mtaOctets
		return
	}
	if !m.astray {
		m.ends++
	}
	if !m.failed {
		m.note(m.text)
		m.drive.released(m.text)
	}
	refused := m.failed
	m.reset()
	if refused {
		m.reply(503, "chunks were refused")
		return
	}
	m.whim(250, "taken")
}

func (m *mta) chunkDone() {
	if m.failed || m.chunky && m.chance(m.refuses, 'c') {
		m.failed = true
		m.reply(552, "no")
		return
	}
	m.reply(250, "octets received")
}
