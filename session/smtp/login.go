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
	mechanism
	responses  int // of the client's
	login      []byte
	unreadable bool
}

// mechanism is what is to be known of one to read the authentication identity, never the
// authorization identity, in the client's first response: its initial one, or, where the
// server speaks first, that to the challenge.
type mechanism struct {
	name func(response []byte) []byte // nothing if it is not what the mechanism has there
	most int                          // responses that a client can have to give
}

// mechanisms are those that name somebody to us. All others do not.
var mechanisms = map[string]mechanism{
	"PLAIN":       {secondField, 1},     // RFC 4616
	"LOGIN":       {whole, 2},           // draft-murchison-sasl-login
	"CRAM-MD5":    {beforeDigest, 1},    // RFC 2195
	"XOAUTH2":     {userOf, 2},          // Google, OAuth 2.0 Mechanism; the second answers an error
	"OAUTHBEARER": {authorizationOf, 2}, // RFC 7628, which has no other identity; so does the second
}

// scram begins the names of the mechanisms of RFC 5802.
const scram = "SCRAM-"

func mechanismOf(name []byte) mechanism {
	upper := string(bytes.ToUpper(name))
	if len(upper) > len(scram) && upper[:len(scram)] == scram {
		return mechanism{saslName, 3}
	}
	return mechanisms[upper]
}

// BeginExchange begins one with the argument of AUTH: the mechanism, and the initial
// response, if there is one. "=" is an empty one (RFC 4954, 4).
func BeginExchange(arg []byte) (x Exchange) {
	name, initial := arg, []byte(nil)
	if i := bytes.IndexAny(arg, " \t"); i >= 0 {
		name, initial = arg[:i], bytes.Trim(arg[i:], " \t")
	}
	x.mechanism = mechanismOf(name)
	switch {
	case string(initial) == "=":
		x.Respond(nil)
	case len(initial) > 0:
		x.Respond(initial)
	}
	return x
}

// Respond takes a response of the client's. "*" cancels the exchange (RFC 4954, 4). A name
// stands in the first one alone: others may look the same, as the last of SCRAM with an
// extension. Who is asked for more than there is to say has not been understood by the
// server as by us.
func (x *Exchange) Respond(line []byte) {
	if x.name == nil || x.unreadable || string(line) == "*" {
		return
	}
	switch x.responses++; {
	case x.responses == 1:
		x.login = x.read(line)
		x.unreadable = len(x.login) == 0
	case x.responses > x.most:
		x.login, x.unreadable = nil, true
	}
}

// read reads the name in a response, nothing if it has none in the one form that base64
// (RFC 4648, 3) and the mechanism leave it. A NUL ends a name to some servers.
func (x *Exchange) read(line []byte) []byte {
	response := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	defer clear(response) // there may be a password in it
	n, err := base64.StdEncoding.Strict().Decode(response, line)
	if err != nil || base64.StdEncoding.EncodedLen(n) != len(line) {
		return nil
	}
	name := x.name(response[:n])
	if bytes.IndexByte(name, 0) >= 0 {
		return nil
	}
	return bytes.Clone(name)
}

// Login is whom the client claims to be, empty if nobody can tell.
func (x *Exchange) Login() []byte { return x.login }

// Unreadable tells that the mechanism has a name, and the client's responses have none as
// its standard would have it: a server may read one in them that is hidden from us.
func (x *Exchange) Unreadable() bool { return x.unreadable }

func whole(response []byte) []byte { return response }

// secondField is the identity between the authorization identity and the password, without
// which it may be the password itself.
func secondField(response []byte) []byte {
	fields := bytes.SplitN(response, []byte{0}, 3)
	if len(fields) < 3 || len(fields[2]) == 0 {
		return nil
	}
	return fields[1]
}

const (
	digest = 32            // octets, in hexadecimal
	blanks = " \t\n\v\f\r" // of isspace(3), by which some servers end a name
)

// beforeDigest is what stands before the digest. A name may have blanks in it, but none at
// its end.
func beforeDigest(response []byte) []byte {
	i := bytes.LastIndexAny(response, blanks) + 1
	if len(response)-i != digest {
		return nil
	}
	return bytes.TrimRight(response[:i], blanks)
}

// saslName is the name in the first message of SCRAM (RFC 5802, 7): behind the header of
// GS2, which may name another identity. Extensions there are none.
func saslName(response []byte) []byte {
	fields := bytes.Split(response, []byte{','})
	if len(fields) != 4 || !gs2(fields[0], fields[1]) || !bytes.HasPrefix(fields[3], []byte("r=")) {
		return nil
	}
	name, found := bytes.CutPrefix(fields[2], []byte("n="))
	if !found {
		return nil
	}
	return unescape(name)
}

// gs2 tells whether fields are those of a header of GS2 (RFC 5801, 4).
func gs2(binding, identity []byte) bool {
	return (string(binding) == "n" || string(binding) == "y" || bytes.HasPrefix(binding, []byte("p="))) &&
		(len(identity) == 0 || bytes.HasPrefix(identity, []byte("a=")))
}

// unescape reads a saslname (RFC 5802, 5.1).
func unescape(name []byte) []byte {
	comma, equals := []byte("=2C"), []byte("=3D")
	if bytes.Count(name, equals[:1]) != bytes.Count(name, comma)+bytes.Count(name, equals) {
		return nil
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(name, comma, []byte{','}), equals, equals[:1])
}

// userOf is what "user=" says, the first of fields that end in ^A. Of two some servers take
// the last.
func userOf(response []byte) []byte {
	fields := bytes.Split(response, []byte{1})
	name, found := bytes.CutPrefix(fields[0], []byte("user="))
	for _, f := range fields[1:] {
		key, _, _ := bytes.Cut(f, []byte{'='})
		found = found && !equalFold(key, "USER")
	}
	if !found {
		return nil
	}
	return name
}

// authorizationOf is the identity in the header of GS2, behind which stand fields with a
// word for a key (RFC 7628, 3.1).
func authorizationOf(response []byte) []byte {
	fields := bytes.Split(response, []byte{1})
	header := bytes.Split(fields[0], []byte{','})
	if len(header) != 3 || len(header[2]) > 0 || len(header[1]) == 0 || !gs2(header[0], header[1]) {
		return nil
	}
	for _, f := range fields[1:] {
		key, _, _ := bytes.Cut(f, []byte{'='})
		if bytes.ContainsFunc(key, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
			return nil
		}
	}
	return unescape(header[1][len("a="):])
}
