// What a session asks lookupd.

package imsg

import "net/netip"

// DNSBLQuery asks whether a client stands on one of the DNS block lists.
type DNSBLQuery struct{ Client netip.Addr }

func (*DNSBLQuery) answer(*DNSBLResult) {}

// DNSBLResult answers DNSBLQuery. Zone is empty if no list names the client.
type DNSBLResult struct {
	Zone   string `rule:"..255 word"`
	Answer netip.Addr
	Failed int        `rule:"0.."` // lists that could not be asked
	DNS    DNSOutcome // silent: there were such

	// The lists by their places in the configuration, a bit each, up to the one that
	// names the client.
	Answered uint32 `rule:"any: those there are"`
	Silent   uint32 `rule:"any: those there are"`
}

// DNSOutcome is how the DNS did that was asked.
type DNSOutcome uint8

// The outcomes.
const (
	DNSNotAsked DNSOutcome = iota
	DNSAnswered
	DNSSilent
)

// TargetQuery asks which server a connection was meant for, and on whose behalf the
// client, if it is a router, called. Failures: NotFound, the connection is not
// known or not translated; Timeout; Invalid, an answer to another question;
// Malformed, an answer that names no usable address.
type TargetQuery struct{ Client, Local netip.AddrPort }

func (*TargetQuery) answer(*TargetResult) {}

// TargetResult answers TargetQuery.
type TargetResult struct {
	Target netip.AddrPort `rule:"server"`
	Ident  string         `rule:"..32 word"` // empty if none
}

// SPFVerdict is what a domain says of a client that uses its name (RFC 7208
// section 2.6).
type SPFVerdict uint8

// The verdicts.
const (
	SPFNone SPFVerdict = iota
	SPFNeutral
	SPFPass
	SPFFail
	SPFSoftFail
	SPFTempError
	SPFPermError
)

var spfNames = [...]string{
	SPFNone:      "none",
	SPFNeutral:   "neutral",
	SPFPass:      "pass",
	SPFFail:      "fail",
	SPFSoftFail:  "softfail",
	SPFTempError: "temperror",
	SPFPermError: "permerror",
}

func (v SPFVerdict) String() string { return spfNames[min(int(v), len(spfNames)-1)] }

// SPF asks whether Client may use the names it gave. MailFrom is an address
// without brackets, empty for the null reverse-path.
type SPF struct {
	Client   netip.Addr
	Helo     string `rule:"..4000 printable"`
	MailFrom string `rule:"..4000 printable"`
}

func (*SPF) answer(*SPFResult) {}

// SPFResult answers SPF. Problem, for the log, says what an error was.
type SPFResult struct {
	Verdict SPFVerdict
	DNS     DNSOutcome // silent: no name server has answered anything
	Problem string     `rule:"..200 printable"`
}
