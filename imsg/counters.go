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
	CountTotal:           "total",
	CountDirect:          "direct",
	CountEmpty:           "empty",
	CountViruses:         "viruses",
	CountSpams:           "spams",
	CountNoAuth:          "noauths",
	CountSPF:             "spf",
	CountRegex:           "regex",
	CountEarlyTalk:       "earlytalk",
	CountRejectHost:      "reject_host",
	CountRejectIdent:     "reject_ident",
	CountRejectLock:      "reject_lock",
	CountRejectDNSBL:     "reject_dnsbl",
	CountRejectRate:      "reject_rate",
	CountRejectRateLimit: "reject_ratelimit",
	CountRejectOther:     "reject_other",
	CountPipeline:        "pipeline",
	CountAuthAccepted:    "auth_accepted",
	CountAuthRejected:    "auth_rejected",
	CountBugs:            "bugs",
	CountMessages:        "messages",
	CountRecipients:      "recipients",
	CountClientBytes:     "client_bytes",
	CountServerBytes:     "server_bytes",
	CountUnscanned:       "unscanned",
	CountScanFailed:      "scan_failed",
}

func (c Counter) String() string { return counterNames[c] }
