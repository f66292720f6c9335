// The family's counters.

package imsg

// Counter numbers one of the family's counters.
type Counter uint8

// The counters. Those of the state file first (behaviour of the status file).
const (
	CountTotal Counter = iota // every accepted connection
	CountDirect
	CountEmpty // ended without a 354
	CountViruses
	CountSpams
	CountNoAuth
	CountSPF
	CountRegex
	CountEarlyTalk
	CountRejectHost
	CountRejectIdent
	CountRejectLock
	CountRejectDNSBL
	CountRejectRate
	CountRejectRateLimit
	CountRejectOther
	CountPipeline // times a client was read no further until a reply came
	CountAuthAccepted
	CountAuthRejected
	CountBugs // panics caught in a session
	CountMessages
	CountRecipients
	CountClientBytes
	CountServerBytes
	CountUnscanned // passed without a look because ignore_errors says so
	CountScanFailed
	Counters // how many there are
)

var counterNames = [Counters]string{
	"total", "direct", "empty", "viruses", "spams", "noauths", "spf", "regex", "earlytalk",
	"reject_host", "reject_ident", "reject_lock", "reject_dnsbl", "reject_rate", "reject_ratelimit", "reject_other",
	"pipeline", "auth_accepted", "auth_rejected", "bugs", "messages", "recipients", "client_bytes", "server_bytes",
	"unscanned", "scan_failed",
}

func (c Counter) String() string { return counterNames[c] }
