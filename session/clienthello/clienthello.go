// Package clienthello reads the server's name in the first octets of a client that
// begins TLS. It is shown octets that go by, and never asks for more: a name that does
// not stand whole in the first record, as far as that is there, is none. It does no I/O.
package clienthello

// What is looked for (RFC 8446, 4 and 5.1; RFC 6066, 3).
const (
	handshake   = 22 // of records
	version     = 3  // the first octet of every version there is
	clientHello = 1  // of handshake messages
	serverName  = 0  // of extensions
	hostName    = 0  // of server names

	recordHeader = 5
	maxRecord    = 1 << 14 // octets of a record's fragment
	beforeID     = 2 + 32  // version and random octets, before the session's identifier
)

// MaxName is the longest name, in octets: that of a host (RFC 1035, 2.3.4).
const MaxName = 255

// Starts tells whether a client's first octets are a TLS record: a handshake of a
// version 3, which SMTP has no use for. It is not known as long as there is but the
// first of them.
func Starts(in []byte) (tls, known bool) {
	if len(in) == 0 || in[0] != handshake {
		return false, len(in) > 0
	}
	return len(in) > 1 && in[1] == version, len(in) > 1
}

// ServerName is the name of the server that a ClientHello asks for, as the client says
// it, empty if there is none. What no host is called so becomes "#". Where the client
// encrypts its hello, this is the outer one's, which it shows to all.
func ServerName(in []byte) string {
	if tls, _ := Starts(in); !tls || len(in) < recordHeader {
		return ""
	}
	rest := octets(in[recordHeader-2:])
	if int(rest[0])<<8|int(rest[1]) > maxRecord {
		return ""
	}
	message, _ := rest.vector(2)
	if len(message) == 0 || message[0] != clientHello {
		return ""
	}
	message = message[1:]
	hello, _ := message.vector(3)
	hello.skip(beforeID)
	hello.vector(1) // session identifier
	hello.vector(2) // ciphers
	hello.vector(1) // compressions
	extensions, _ := hello.vector(2)
	for len(extensions) > 2 {
		kind := int(extensions[0])<<8 | int(extensions[1])
		extensions.skip(2)
		extension, whole := extensions.vector(2)
		if kind == serverName {
			if !whole {
				return ""
			}
			return firstHost(extension)
		}
	}
	return ""
}

// firstHost is the first name of a host in a list of names. There may be no more than
// one of a kind.
func firstHost(extension octets) string {
	names, _ := extension.vector(2)
	for len(names) > 0 {
		kind := names[0]
		names.skip(1)
		name, whole := names.vector(2)
		if kind == hostName && whole {
			return readable(name)
		}
	}
	return ""
}

// readable is a name that may stand in a log and everywhere else.
func readable(name octets) string {
	b := append([]byte(nil), name[:min(len(name), MaxName)]...)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			b[i] = '#'
		}
	}
	return string(b)
}

// octets are what is still to be read of a message, or of a part of it.
type octets []byte

// skip drops n octets, or all.
func (o *octets) skip(n int) { *o = (*o)[min(n, len(*o)):] }

// vector takes what its length stands before, in so many octets. Of one that is not
// whole it takes what is there.
func (o *octets) vector(width int) (v octets, whole bool) {
	if len(*o) < width {
		o.skip(len(*o))
		return nil, false
	}
	n := 0
	for _, c := range (*o)[:width] {
		n = n<<8 | int(c)
	}
	o.skip(width)
	v, whole = (*o)[:min(n, len(*o))], n <= len(*o)
	o.skip(n)
	return v, whole
}
