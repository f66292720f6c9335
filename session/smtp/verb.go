// This file owns the list of command verbs the gateway acts upon. A verb that
// merely passes is Other: adding one here must mean that something checks it.

package smtp

// Verb tells which command a client sent. The zero value is Other.
type Verb uint8

const (
	Other    Verb = iota // passes as it is; the MSA judges
	HELO                 // RFC 5321, 4.1.1.1
	EHLO                 // RFC 5321, 4.1.1.1
	MAIL                 // RFC 5321, 4.1.1.2
	RCPT                 // RFC 5321, 4.1.1.3
	DATA                 // RFC 5321, 4.1.1.4
	RSET                 // RFC 5321, 4.1.1.5
	NOOP                 // RFC 5321, 4.1.1.9
	QUIT                 // RFC 5321, 4.1.1.10
	BDAT                 // RFC 3030, 2
	AUTH                 // RFC 4954, 4
	STARTTLS             // RFC 3207, 4
	XCLIENT              // Postfix
	Masked               // one of an extension that is always masked
)

var verbNames = [...]string{
	Other: "other", HELO: "HELO", EHLO: "EHLO", MAIL: "MAIL", RCPT: "RCPT", DATA: "DATA",
	RSET: "RSET", NOOP: "NOOP", QUIT: "QUIT", BDAT: "BDAT", AUTH: "AUTH", STARTTLS: "STARTTLS",
	XCLIENT: "XCLIENT", Masked: "masked",
}

// String returns the verb in capitals, "other" for Other.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "invalid"
}

// lookupVerb finds the verb spelled by word in any case (RFC 5321, 2.4).
func lookupVerb(word []byte) Verb {
	// A server may take "BDAT12" for BDAT, and what follows for octets.
	if len(word) > len("BDAT") && equalFold(word[:len("BDAT")], "BDAT") {
		return BDAT
	}
	var up [len("STARTTLS")]byte
	if len(word) > len(up) {
		return maskedVerb(word)
	}
	for i, c := range word {
		up[i] = upper(c)
	}
	switch string(up[:len(word)]) {
	case "HELO":
		return HELO
	case "EHLO":
		return EHLO
	case "MAIL":
		return MAIL
	case "RCPT":
		return RCPT
	case "DATA":
		return DATA
	case "RSET":
		return RSET
	case "NOOP":
		return NOOP
	case "QUIT":
		return QUIT
	case "BDAT":
		return BDAT
	case "AUTH":
		return AUTH
	case "STARTTLS":
		return STARTTLS
	case "XCLIENT":
		return XCLIENT
	}
	return maskedVerb(word)
}
