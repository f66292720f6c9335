// This file owns the table of EHLO keywords and what becomes of each on its way
// to the client. It must never drop a line of the reply, only mask a keyword.

package smtp

import "strconv"

// Cap is a set of capabilities an MSA offered.
type Cap uint16

const (
	CapAuth Cap = 1 << iota
	CapSize
	CapPipelining
	CapChunking
	CapBinaryMIME
	CapStartTLS
	CapEnhancedStatus
	CapXClient
)

// Treatment says what becomes of an EHLO keyword.
type Treatment uint8

const (
	Pass        Treatment = iota // as it is; so do all keywords that are not in the table
	Lower                        // SIZE: the number comes down to our own limit
	Mask                         // always masked
	MaskChunked                  // masked by Offer.NoChunking
	MaskTLS                      // masked by Offer.NoStartTLS
	MaskXClient                  // masked by Offer.NoXClient
)

// Extension is one EHLO keyword the gateway knows.
type Extension struct {
	Keyword   string
	Source    string // the document that defines it
	Treatment Treatment
	Cap       Cap // noted when offered, even if masked
}

// Extensions lists every keyword the gateway knows. What a session cannot watch
// over is masked: BURL and CHECKPOINT let an MSA put a message together from
// octets we never saw, XEXCH50 and X-ANONYMOUSTLS switch to another protocol
// within the session, ATRN exchanges the roles of the two sides.
var Extensions = [...]Extension{
	{"8BITMIME", "RFC 6152", Pass, 0},
	{"ATRN", "RFC 2645", Mask, 0},
	{"AUTH", "RFC 4954", Pass, CapAuth},
	{"BINARYMIME", "RFC 3030", MaskChunked, CapBinaryMIME},
	{"BURL", "RFC 4468", Mask, 0},
	{"CHECKPOINT", "RFC 1845", Mask, 0},
	{"CHUNKING", "RFC 3030", MaskChunked, CapChunking},
	{"CONNEG", "RFC 4141", Pass, 0},
	{"CONPERM", "RFC 4141", Pass, 0},
	{"DELIVERBY", "RFC 2852", Pass, 0},
	{"DSN", "RFC 3461", Pass, 0},
	{"ENHANCEDSTATUSCODES", "RFC 2034", Pass, CapEnhancedStatus},
	{"ETRN", "RFC 1985", Pass, 0},
	{"EXPN", "RFC 5321", Pass, 0},
	{"FUTURERELEASE", "RFC 4865", Pass, 0},
	{"HELP", "RFC 5321", Pass, 0},
	{"LIMITS", "RFC 9422", Pass, 0},
	{"MT-PRIORITY", "RFC 6710", Pass, 0},
	{"MTRK", "RFC 3885", Pass, 0},
	{"NO-SOLICITING", "RFC 3865", Pass, 0},
	{"PIPELINING", "RFC 2920", Pass, CapPipelining},
	{"REQUIRETLS", "RFC 8689", Pass, 0},
	{"RRVS", "RFC 7293", Pass, 0},
	{"SIZE", "RFC 1870", Lower, CapSize},
	{"SMTPUTF8", "RFC 6531", Pass, 0},
	{"STARTTLS", "RFC 3207", MaskTLS, CapStartTLS},
	{"VRFY", "RFC 5321", Pass, 0},
	{"X-ANONYMOUSTLS", "Microsoft Exchange", Mask, 0},
	{"XCLIENT", "Postfix", MaskXClient, CapXClient},
	{"XEXCH50", "Microsoft Exchange", Mask, 0},
	{"XFORWARD", "Postfix", Pass, 0},
}

// findExtension returns the extension whose keyword begins the text of an EHLO
// line, or nil. Keywords are case-blind; "AUTH=" is another keyword than AUTH.
func findExtension(text []byte) *Extension {
	word, _ := nextWord(text)
	for i := range Extensions {
		if equalFold(word, Extensions[i].Keyword) {
			return &Extensions[i]
		}
	}
	return nil
}

// Offer says how much of what an MSA offers in reply to EHLO the client gets to see.
type Offer struct {
	NoChunking bool  // chunking filter
	NoStartTLS bool  // forbid_starttls
	NoXClient  bool  // the gateway speaks XCLIENT itself
	SizeLimit  int64 // largest message the gateway takes, in octets; 0 = no limit
}

// Append appends one line of a successful reply to EHLO (RFC 5321, 4.1.1.1) to
// dst as the client is to see it, with CRLF, and returns dst and what the line
// offered. The first line names the server and offers nothing. In a masked
// keyword the fourth letter is "*": the reply keeps its lines.
func (o Offer) Append(dst []byte, r Reply) ([]byte, Cap) {
	at := len(dst) + len(r.Line) - len(r.Text)
	dst = append(dst, r.Line...)
	var noted Cap
	if x := findExtension(r.Text); x != nil && !r.First {
		noted = x.Cap
		switch {
		case o.masks(x.Treatment):
			at += len(r.Text) - len(trimBlanksLeft(r.Text))
			dst[at+3] = '*'
		case x.Treatment == Lower && o.lowers(r.Text):
			dst = append(dst[:at], "SIZE "...)
			dst = strconv.AppendInt(dst, o.SizeLimit, 10)
		}
	}
	return append(dst, "\r\n"...), noted
}

func (o Offer) masks(t Treatment) bool {
	switch t {
	case Mask:
		return true
	case MaskChunked:
		return o.NoChunking
	case MaskTLS:
		return o.NoStartTLS
	case MaskXClient:
		return o.NoXClient
	}
	return false
}

// lowers tells whether the limit a SIZE line declares is above ours. Without a
// number, or with 0, it declares none (RFC 1870, 4).
func (o Offer) lowers(text []byte) bool {
	if o.SizeLimit == 0 {
		return false
	}
	_, arg := nextWord(text)
	size, _ := number(arg)
	return size == 0 || size > o.SizeLimit
}
