package relay

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what of a line a trace shows. What is not known to be harmless is hidden:
// of it nobody learns more than how many octets it has. A server may say again what it was
// told, and what was hidden once is hidden there, too.

// appendOctets appends what stands in the place of n octets.
func appendOctets(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, '<'), n, 10), " octets>"...)
}

// mechanisms are those of SASL that a trace names. A client that forgets to name one may
// have its password there.
var mechanisms = map[string]bool{
	"PLAIN": true, "LOGIN": true, "CRAM-MD5": true, "DIGEST-MD5": true, "NTLM": true, "GSSAPI": true, "GSS-SPNEGO": true,
	"EXTERNAL": true, "ANONYMOUS": true, "XOAUTH2": true, "OAUTHBEARER": true,
	"SCRAM-SHA-1": true, "SCRAM-SHA-256": true, "SCRAM-SHA-512": true,
	"SCRAM-SHA-1-PLUS": true, "SCRAM-SHA-256-PLUS": true, "SCRAM-SHA-512-PLUS": true,
}

// passedVerbs are those that nobody here knows, and that are no secret.
var passedVerbs = map[string]bool{"HELP": true, "VRFY": true, "EXPN": true, "ETRN": true, "XFORWARD": true, "ONEX": true}

// parameters are those of MAIL, RCPT and XCLIENT that a trace names, and whether it shows
// their values.
var parameters = map[string]bool{
	"SIZE": true, "BODY": true, "SMTPUTF8": true, "RET": true, "NOTIFY": true, "ORCPT": true, "REQUIRETLS": true,
	"BY": true, "MT-PRIORITY": true, "AUTH": false, "ENVID": false,
	"NAME": true, "ADDR": true, "PORT": true, "PROTO": true, "HELO": true, "DESTADDR": true, "DESTPORT": true, "LOGIN": false,
}

// hide appends what stands in the place of b.
func (t *Trace) hide(dst, b []byte) []byte {
	t.hidden.learn(b)
	return appendOctets(dst, int64(len(b)))
}

// appendCommand appends what may be seen of a line of commands.
func (t *Trace) appendCommand(dst, line []byte) []byte {
	cmd, err := smtp.ParseCommand(bytes.Clone(line))
	switch {
	case string(line) == ".": // the end of a message
		return append(dst, '.')
	case err != nil:
		return t.hide(dst, line)
	}
	verb, _, _ := bytes.Cut(cmd.Line, []byte{' '})
	switch name := cmd.Verb.String(); {
	case cmd.Verb == smtp.Other && !passedVerbs[strings.ToUpper(string(verb))]:
		return t.hide(dst, line)
	case cmd.Verb != smtp.Other && cmd.Verb != smtp.Masked:
		verb = verb[:len(name)]
	}
	dst = append(dst, verb...)
	switch {
	case cmd.Verb == smtp.MAIL, cmd.Verb == smtp.RCPT:
		return t.appendPath(append(dst, cmd.Line[len(verb):len(cmd.Line)-len(cmd.Arg)]...), cmd.Arg)
	case len(cmd.Arg) == 0:
		return dst
	}
	dst = append(dst, ' ')
	switch cmd.Verb {
	case smtp.HELO, smtp.EHLO:
		if isHost(cmd.Arg) {
			return append(dst, cmd.Arg...)
		}
	case smtp.BDAT:
		if size, last, err := smtp.ParseBDAT(cmd.Arg); err == nil {
			if dst = strconv.AppendInt(dst, size, 10); last {
				dst = append(dst, " LAST"...)
			}
			return dst
		}
	case smtp.AUTH:
		return t.appendAuth(dst, cmd.Arg)
	case smtp.XCLIENT:
		return t.appendParameters(dst, cmd.Arg)
	}
	return t.hide(dst, cmd.Arg)
}

// appendAuth appends what may be seen of the argument of AUTH: its mechanism.
func (t *Trace) appendAuth(dst, arg []byte) []byte {
	mechanism, initial := arg, []byte(nil)
	if i := bytes.IndexAny(arg, " \t"); i >= 0 {
		mechanism, initial = arg[:i], bytes.TrimLeft(arg[i:], " \t")
	}
	given := len(initial) > 0
	name := strings.ToUpper(string(mechanism))
	t.named = name == "LOGIN" && !given
	switch dst = append(dst, mechanism...); {
	case !mechanisms[name]:
		return t.hide(dst[:len(dst)-len(mechanism)], arg)
	case !given:
		return dst
	case name == "LOGIN":
		t.hidden.keepWords(initial)
		return appendOctets(append(dst, ' '), int64(len(initial)))
	}
	return t.hide(append(dst, ' '), initial)
}

// learnResponse hides an AUTH response from now on. The first one of LOGIN is a name, with
// which addresses begin: its octets are hidden, what they mean is not.
func (t *Trace) learnResponse(line []byte) {
	if t.named {
		t.hidden.keepWords(line)
	} else {
		t.hidden.learn(line)
	}
	t.named = false
}

// appendPath appends the argument of MAIL or RCPT: the address, and what is known of its
// parameters.
func (t *Trace) appendPath(dst, arg []byte) []byte {
	_, params := smtp.Address(arg)
	path := bytes.TrimRight(arg[:len(arg)-len(params)], " ")
	switch trimmed := bytes.TrimLeft(path, " "); {
	case bytes.HasPrefix(trimmed, []byte{'<'}), bytes.IndexByte(trimmed, '@') >= 0:
		dst = smtp.AppendPrintable(dst, path)
	case len(trimmed) > 0:
		dst = t.hide(dst, path)
	}
	if len(params) == 0 {
		return dst
	}
	return t.appendParameters(append(dst, ' '), params)
}

func (t *Trace) appendParameters(dst, params []byte) []byte {
	for i, word := range bytes.Fields(params) {
		if i > 0 {
			dst = append(dst, ' ')
		}
		name, value, given := bytes.Cut(word, []byte{'='})
		shown, known := parameters[strings.ToUpper(string(name))]
		switch {
		case !known:
			dst = t.hide(dst, word)
		case shown || !given:
			dst = smtp.AppendPrintable(dst, word)
		default:
			dst = t.hide(append(append(dst, name...), '='), value)
		}
	}
	return dst
}

// isHost tells whether b could be the name or the address of a host (RFC 5321, 4.1.3).
func isHost(b []byte) bool {
	return !bytes.ContainsFunc(b, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.ContainsRune(".-_:[]", c))
	})
}

// appendReply appends what may be seen of the text of a reply to a command of a kind. What
// answers AUTH, or what nobody here knows, may repeat it.
func (t *Trace) appendReply(dst []byte, k kind, r *smtp.Reply) []byte {
	text := r.Text
	switch {
	case len(text) == 0:
		return dst
	case r.Code == 334:
		return appendOctets(dst, int64(len(text)))
	case k == auth, k == other:
		if n := enhancedLen(text); n > 0 {
			dst, text = append(dst, text[:n]...), text[n:]
		}
		return appendOctets(dst, int64(len(text)))
	case t.hidden.in(text):
		return appendOctets(dst, int64(len(text)))
	}
	return smtp.AppendPrintable(dst, text)
}

// enhancedLen is the length of the enhanced code (RFC 3463, 2) with its blank that a text
// begins with, 0 if it begins with none.
func enhancedLen(text []byte) int {
	code, _, found := bytes.Cut(text, []byte{' '})
	parts := bytes.Split(code, []byte{'.'})
	if !found || len(parts) != 3 || len(parts[0]) != 1 || !bytes.ContainsAny(parts[0], "245") {
		return 0
	}
	for _, p := range parts[1:] {
		if n, err := strconv.Atoi(string(p)); err != nil || len(p) > 3 || n < 0 || p[0] == '+' {
			return 0
		}
	}
	return len(code) + 1
}

const (
	// shortest is the least that is known again, in octets: less is in every text.
	shortest = 3
	// pieceLen is how much of a secret is known again wherever it stands.
	pieceLen = 6
	// maxPieces bounds what is kept of one session. Who says more has all texts of
	// replies hidden.
	maxPieces = 1 << 12
)

// secrets are what was hidden, in pieces, in lower case.
type secrets struct {
	pieces map[string]struct{} // of pieceLen octets each, or whole if they have less
	short  []string            // of these those that are whole
	full   bool
}

// learn keeps what was hidden: its words, and what they mean in base64.
func (s *secrets) learn(b []byte) {
	s.keepWords(b)
	for word := range bytes.FieldsSeq(b) {
		for _, coding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if meant, err := coding.DecodeString(string(word)); err == nil {
				s.learnMeant(meant)
			}
		}
	}
}

// learnMeant keeps the secret of what a response of AUTH means. The last part of PLAIN (RFC
// 4616) is the password, and those before it are names, with which addresses begin; other
// mechanisms have theirs last, too. It may be in UTF-16.
func (s *secrets) learnMeant(b []byte) {
	if bytes.Count(b, []byte{0})*2+1 >= len(b) {
		s.keepWords(bytes.ReplaceAll(b, []byte{0}, nil))
		return
	}
	b = bytes.TrimRight(b, "\x00\x01")
	s.keepWords(b[bytes.LastIndexByte(b, 0)+1:])
	parts := bytes.FieldsFunc(b, func(c rune) bool { return c <= ' ' || c == ',' })
	if len(parts) > 0 {
		s.keepWords(parts[len(parts)-1])
	}
}

// keepWords keeps the words of b.
func (s *secrets) keepWords(b []byte) {
	for w := range bytes.FieldsSeq(b) {
		s.keep(strings.ToLower(string(w)))
	}
}

func (s *secrets) keep(w string) {
	if s.pieces == nil {
		s.pieces = make(map[string]struct{})
	}
	switch {
	case len(w) < shortest, s.full:
		return
	case len(w) < pieceLen:
		if _, known := s.pieces[w]; !known {
			s.short = append(s.short, w)
			s.pieces[w] = struct{}{}
		}
	default:
		for i := range min(len(w)-pieceLen+1, maxPieces+1) {
			s.pieces[w[i:i+pieceLen]] = struct{}{}
		}
	}
	s.full = len(s.pieces) > maxPieces
}

// in tells whether a text has something of what was hidden, be it with a blank behind each
// letter, as UTF-16 comes to.
func (s *secrets) in(text []byte) bool {
	if len(s.pieces) == 0 {
		return false
	}
	lower := strings.ToLower(string(text))
	return s.full || s.within(lower) || s.within(strings.ReplaceAll(lower, " ", ""))
}

func (s *secrets) within(text string) bool {
	for i := range len(text) - pieceLen + 1 {
		if _, known := s.pieces[text[i:i+pieceLen]]; known {
			return true
		}
	}
	for _, w := range s.short {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
