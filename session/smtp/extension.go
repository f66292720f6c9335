// This file owns the table of the SMTP extensions the gateway knows: what becomes
// of each on its way to the client, and which commands and parameters go with it.
// It must never let through what changes how many replies come, which codes they
// bear, or whether octets are commands, unless a session follows it.

package smtp

import "bytes"

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
	Lower                        // SIZE: the number comes down to our own limit, and by our header
	Mask                         // always masked
	MaskChunked                  // masked by Offer.NoChunking
	MaskTLS                      // masked by Offer.NoStartTLS
	MaskXClient                  // masked by Offer.NoXClient
	Unbind                       // AUTH: Offer.NoBinding leaves out mechanisms that are bound to TLS
)

var treatmentNames = [...]string{
	Pass: "passes", Lower: "lowered", Mask: "masked",
	MaskChunked: "masked with smtp.chunking filter", MaskTLS: "masked with tls.policy mask", MaskXClient: "masked in the mode fixed+xclient",
	Unbind: "passes; where the gateway ends TLS, without mechanisms that are bound to it",
}

// String says the treatment in words.
func (t Treatment) String() string { return treatmentNames[t] }

// Extension is one EHLO keyword the gateway knows. Verbs and Params come with it
// and are refused while it is masked, be it offered or not: no server's word is
// needed for what a client may not say. A parameter is the name of one of MAIL or
// RCPT, or name and value.
type Extension struct {
	Keyword   string
	Source    string // the document that defines it
	Treatment Treatment
	Cap       Cap // noted when offered, even if masked
	Verbs     []string
	Params    []string
	Why       string
}

const (
	oneReply   = "one reply to one command"
	parameter  = "a parameter, which the server judges"
	earlyTalk  = "the client may talk before the greeting, which is early talk here"
	otherBegin = "begins a transaction that no check of MAIL would see"
	turnsRoles = "server and client change places"
)

// Extensions lists every keyword the gateway knows, by its name.
var Extensions = [...]Extension{
	{Keyword: "8BITMIME", Source: "RFC 6152", Why: parameter},
	{Keyword: "ATRN", Source: "RFC 2645", Treatment: Mask, Verbs: []string{"ATRN"}, Why: turnsRoles},
	{Keyword: "AUTH", Source: "RFC 4954", Treatment: Unbind, Cap: CapAuth, Why: "challenges and responses are followed"},
	{Keyword: "BINARYMIME", Source: "RFC 3030", Treatment: MaskChunked, Cap: CapBinaryMIME, Params: []string{"BODY=BINARYMIME"}, Why: "such a message comes in chunks only"},
	{Keyword: "BURL", Source: "RFC 4468", Treatment: Mask, Verbs: []string{"BURL"}, Why: "the server fetches text that no scanner saw"},
	{Keyword: "CHECKPOINT", Source: "RFC 1845", Treatment: Mask, Params: []string{"TRANSID"}, Why: "a message goes on with text of an earlier session"},
	{Keyword: "CHUNKING", Source: "RFC 3030", Treatment: MaskChunked, Cap: CapChunking, Verbs: []string{"BDAT"}, Why: "octets follow a command; chunks are counted and scanned"},
	{Keyword: "CONNEG", Source: "RFC 4141", Why: parameter},
	{Keyword: "CONPERM", Source: "RFC 4141", Why: parameter},
	{Keyword: "DELIVERBY", Source: "RFC 2852", Why: parameter},
	{Keyword: "DSN", Source: "RFC 3461", Why: parameter},
	{Keyword: "ENHANCEDSTATUSCODES", Source: "RFC 2034", Cap: CapEnhancedStatus, Why: "replies of the gateway bear them too"},
	{Keyword: "ETRN", Source: "RFC 1985", Why: oneReply + "; the server sends on another connection"},
	{Keyword: "EXPN", Source: "RFC 5321", Why: oneReply},
	{Keyword: "FUTURERELEASE", Source: "RFC 4865", Why: parameter},
	{Keyword: "HELP", Source: "RFC 5321", Why: oneReply},
	{Keyword: "LHLO", Source: "RFC 2033", Treatment: Mask, Verbs: []string{"LHLO"}, Why: "LMTP: a reply for each recipient behind a message"},
	{Keyword: "LIMITS", Source: "RFC 9422", Why: "tells of limits, changes nothing"},
	{Keyword: "MT-PRIORITY", Source: "RFC 6710", Why: parameter},
	{Keyword: "MTRK", Source: "RFC 3885", Why: parameter},
	{Keyword: "NO-SOLICITING", Source: "RFC 3865", Why: parameter},
	{Keyword: "ONEX", Source: "sendmail, helpfile", Why: oneReply},
	{Keyword: "PIPECONNECT", Source: "Exim, pipelining_connect_advertise_hosts", Treatment: Mask, Why: earlyTalk},
	{Keyword: "PIPELINING", Source: "RFC 2920", Cap: CapPipelining, Why: "each reply is matched with its command"},
	{Keyword: "PIPE_CONNECT", Source: "Exim 4.93", Treatment: Mask, Why: earlyTalk},
	{Keyword: "PRDR", Source: "draft-hall-prdr", Treatment: Mask, Params: []string{"PRDR"}, Why: "353 and a reply for each recipient behind a message"},
	{Keyword: "QUICKSTART", Source: "draft-fanf-smtp-quickstart", Treatment: Mask, Verbs: []string{"QHLO", "QTLS"}, Why: earlyTalk},
	{Keyword: "REQUIRETLS", Source: "RFC 8689", Why: parameter},
	{Keyword: "RRVS", Source: "RFC 7293", Why: parameter},
	{Keyword: "SAML", Source: "RFC 821", Treatment: Mask, Verbs: []string{"SAML"}, Why: otherBegin},
	{Keyword: "SEND", Source: "RFC 821", Treatment: Mask, Verbs: []string{"SEND"}, Why: otherBegin},
	{Keyword: "SIZE", Source: "RFC 1870", Treatment: Lower, Cap: CapSize, Why: "to limits.message_size, and by the header the gateway adds"},
	{Keyword: "SMTPUTF8", Source: "RFC 6531", Why: parameter},
	{Keyword: "SOML", Source: "RFC 821", Treatment: Mask, Verbs: []string{"SOML"}, Why: otherBegin},
	{Keyword: "STARTTLS", Source: "RFC 3207", Treatment: MaskTLS, Cap: CapStartTLS, Verbs: []string{"STARTTLS"}, Why: "what follows is nobody's to read"},
	{Keyword: "SUBMITTER", Source: "RFC 4405", Why: parameter},
	{Keyword: "TURN", Source: "RFC 821", Treatment: Mask, Verbs: []string{"TURN"}, Why: turnsRoles},
	{Keyword: "UTF8SMTP", Source: "RFC 5336", Why: parameter},
	{Keyword: "VERB", Source: "sendmail, helpfile", Treatment: Mask, Verbs: []string{"VERB"}, Why: "replies of 050, as many as the server likes"},
	{Keyword: "VRFY", Source: "RFC 5321", Why: oneReply},
	{Keyword: "X-ANONYMOUSTLS", Source: "Microsoft Exchange", Treatment: Mask, Verbs: []string{"X-ANONYMOUSTLS"}, Why: "TLS by another name"},
	{Keyword: "X-EXPS", Source: "Microsoft Exchange, KB 812455", Treatment: Mask, Verbs: []string{"X-EXPS"}, Why: "AUTH by another name: its responses would be taken for commands"},
	{Keyword: "X-LINK2STATE", Source: "Microsoft Exchange, KB 812455", Treatment: Mask, Verbs: []string{"X-LINK2STATE"}, Why: "data of another protocol, between Exchange servers only"},
	{Keyword: "XACK", Source: "PowerMTA", Treatment: Mask, Verbs: []string{"XACK"}, Why: "switches replies off"},
	{Keyword: "XAUTH", Source: "Snort, auth_cmds", Treatment: Mask, Verbs: []string{"XAUTH"}, Why: "AUTH by another name: its responses would be taken for commands"},
	{Keyword: "XCLIENT", Source: "Postfix, XCLIENT_README", Treatment: MaskXClient, Cap: CapXClient, Verbs: []string{"XCLIENT"}, Why: "the gateway says it itself"},
	{Keyword: "XEXCH50", Source: "Microsoft Exchange, KB 812455", Treatment: Mask, Verbs: []string{"XEXCH50", "X-EXCH50"}, Why: "octets follow a command"},
	{Keyword: "XEXDATA", Source: "Courier, draft-varshavchik-exdata-smtpext", Treatment: Mask, Verbs: []string{"EXDATA", "XEXDATA"}, Why: "a message that DATA did not announce, and a code for each recipient in its reply"},
	{Keyword: "XFORWARD", Source: "Postfix, XFORWARD_README", Why: oneReply},
	{Keyword: "XLSMTP-ACKRCPT", Source: "IronPort Mail Merge", Treatment: Mask, Verbs: []string{"XLSMTP-ACKRCPT"}, Why: "switches replies to RCPT off"},
	{Keyword: "XMESSAGECONTEXT", Source: "Microsoft Exchange", Treatment: Mask, Params: []string{"XMESSAGECONTEXT"}, Why: "chunks that are no part of the message"},
	{Keyword: "XMRG", Source: "IronPort Mail Merge, PowerMTA", Treatment: Mask, Verbs: []string{"XMRG", "XDFN", "XPRT"}, Why: "transactions and texts that MAIL and DATA did not announce"},
	{Keyword: "XPROXY", Source: "Microsoft Exchange", Treatment: Mask, Verbs: []string{"XPROXY"}, Why: "the session goes on in another client's name"},
	{Keyword: "XPROXYFROM", Source: "Microsoft Exchange", Treatment: Mask, Verbs: []string{"XPROXYFROM"}, Why: "the session goes on in another client's name"},
	{Keyword: "XPROXYTO", Source: "Microsoft Exchange", Treatment: Mask, Verbs: []string{"XPROXYTO"}, Why: "the session goes on with another server"},
	{Keyword: "XVERP", Source: "Postfix, VERP_README", Why: parameter},
	{Keyword: "XVRB", Source: "RFC 1869, 4.4", Treatment: Mask, Verbs: []string{"XVRB"}, Why: "VERB by an older name"},
	{Keyword: "X_PIPECONNECT", Source: "Exim", Treatment: Mask, Why: earlyTalk},
	{Keyword: "X_PIPE_CONNECT", Source: "Exim 4.92", Treatment: Mask, Why: earlyTalk},
}

// findExtension returns the extension whose keyword begins the text of an EHLO
// line, or nil. Keywords are case-blind. "AUTH=" is another keyword than AUTH and
// offers nothing; but what is masked is masked with "=" too, as in X-EXPS=LOGIN.
func findExtension(text []byte) *Extension {
	word, _ := nextWord(text)
	name, _, assigned := bytes.Cut(word, []byte{'='})
	for i := range Extensions {
		if x := &Extensions[i]; equalFold(name, x.Keyword) && (!assigned || x.Treatment == Mask) {
			return x
		}
	}
	return nil
}

// maskedVerb returns Masked for a verb that goes with an extension that is always
// masked, else Other.
func maskedVerb(word []byte) Verb {
	for i := range Extensions {
		if Extensions[i].Treatment != Mask {
			continue
		}
		for _, verb := range Extensions[i].Verbs {
			if equalFold(word, verb) {
				return Masked
			}
		}
	}
	return Other
}

// Refused looks through the parameters of MAIL or RCPT, as Address returns them,
// for one that goes with a masked extension, and returns that extension's keyword.
func (o Offer) Refused(params []byte) (keyword string, found bool) {
	for len(params) > 0 {
		var word []byte
		word, params = nextWord(params)
		name, _, _ := bytes.Cut(word, []byte{'='})
		for i := range Extensions {
			x := &Extensions[i]
			for _, p := range x.Params {
				if (equalFold(name, p) || equalFold(word, p)) && o.masks(x.Treatment) {
					return x.Keyword, true
				}
			}
		}
	}
	return "", false
}
