// Whom a client logs in as: what the mechanisms of AUTH (RFC 4954) say of that. This file
// follows an exchange only to read the name in it: it decides nothing.

package smtp

import (
	"bytes"
	"encoding/base64"
)

// Exchange is one AUTH exchange. The zero Exchange is that of no mechanism, which names
// nobody.
type Exchange struct {
	name   func(response []byte) []byte // reads the authentication identity out of a response
	once   bool                         // out of the first one alone: what follows may look the same
	login  []byte
	heard  bool // a response was read
	cannot bool // one was no base64
}

// mechanisms tell how the authentication identity, never the authorization identity,
// stands in the first response of the client's: its initial one, or, where the server
// speaks first, that to the challenge. All others name nobody to us.
var mechanisms = map[string]func(response []byte) []byte{
	"PLAIN":       secondField,     // RFC 4616
	"LOGIN":       whole,           // draft-murchison-sasl-login
	"CRAM-MD5":    beforeLastWord,  // RFC 2195
	"XOAUTH2":     userOf,          // Google, OAuth 2.0 Mechanism
	"OAUTHBEARER": authorizationOf, // RFC 7628, which has no other
}

// scram begins the names of the mechanisms of RFC 5802.
const scram = "SCRAM-"

// Names tells whether the login can be read that a mechanism is for.
func Names(mechanism string) bool { return reader([]byte(mechanism)) != nil }

func reader(mechanism []byte) func([]byte) []byte {
	name := string(bytes.ToUpper(mechanism))
	if len(name) > len(scram) && name[:len(scram)] == scram {
		return saslName
	}
	return mechanisms[name]
}

// BeginExchange begins one with the argument of AUTH: the mechanism, and the initial
// response, if there is one. "=" is an empty one (RFC 4954, 4).
func BeginExchange(arg []byte) (x Exchange) {
	mechanism, initial := arg, []byte(nil)
	if i := bytes.IndexAny(arg, " \t"); i >= 0 {
		mechanism, initial = arg[:i], bytes.Trim(arg[i:], " \t")
	}
	x.name, x.once = reader(mechanism), equalFold(mechanism, "LOGIN")
	switch {
	case string(initial) == "=":
		x.Respond(nil)
	case len(initial) > 0:
		x.Respond(initial)
	}
	return x
}

// Respond takes a response of the client's. "*" cancels the exchange (RFC 4954, 4).
func (x *Exchange) Respond(line []byte) {
	if x.name == nil || x.once && x.heard || string(line) == "*" {
		return
	}
	x.heard = true
	response := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	defer clear(response) // there may be a password in it
	n, err := base64.StdEncoding.Strict().Decode(response, line)
	if err != nil || base64.StdEncoding.EncodedLen(n) != len(line) {
		x.login, x.cannot = nil, true
		return
	}
	if name := x.name(response[:n]); len(name) > 0 {
		x.login = bytes.Clone(name)
	}
}

// Login is whom the client claims to be, empty if nobody can tell.
func (x *Exchange) Login() []byte { return x.login }

// Unreadable tells that a response is no base64 in the one form it has (RFC 4648, 3): a
// server may read a name in it that is hidden from us.
func (x *Exchange) Unreadable() bool { return x.cannot }

func whole(response []byte) []byte { return response }

// secondField is the identity between the authorization identity and the password.
func secondField(response []byte) []byte {
	_, rest, _ := bytes.Cut(response, []byte{0})
	name, _, found := bytes.Cut(rest, []byte{0})
	if !found {
		return nil
	}
	return name
}

// beforeLastWord is what stands before the digest. A name may have blanks in it, but for
// servers that end it at the first one, and none is one of blanks at its end alone.
func beforeLastWord(response []byte) []byte {
	return bytes.TrimRight(response[:max(0, bytes.LastIndexByte(response, ' '))], " ")
}

// saslName is the name in the first message of SCRAM (RFC 5802, 7): behind the header of
// GS2, which may name another identity.
func saslName(response []byte) []byte {
	parts := bytes.SplitN(response, []byte{','}, 4)
	if len(parts) < 3 {
		return nil
	}
	name, found := bytes.CutPrefix(parts[2], []byte("n="))
	if !found {
		return nil
	}
	return unescape(name)
}

// unescape reads a saslname (RFC 5802, 5.1).
func unescape(name []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(name, []byte("=2C"), []byte{','}), []byte("=3D"), []byte{'='})
}

// userOf is what "user=" says in fields that end in ^A.
func userOf(response []byte) []byte {
	for field := range bytes.SplitSeq(response, []byte{1}) {
		if name, found := bytes.CutPrefix(field, []byte("user=")); found {
			return name
		}
	}
	return nil
}

// authorizationOf is the identity in the header of GS2.
func authorizationOf(response []byte) []byte {
	parts := bytes.SplitN(response, []byte{','}, 3)
	if len(parts) < 3 {
		return nil
	}
	name, _ := bytes.CutPrefix(parts[1], []byte("a="))
	return unescape(name)
}
