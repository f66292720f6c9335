// Rate limits: uses of a client's quotas, and its record for the operator's eyes.
// This file owns the fields and the names of the quotas' counters.

package imsg

import "net/netip"

// Rate numbers one of the counters a client has a quota of.
type Rate uint8

// The counters of the rate limiter.
const (
	RateConnections     Rate = iota // judged with the target, at Enter or Ident, never by QuotaUse
	RateMessages                    // at DATA
	RateRecipients                  // at each RCPT
	RateBytes                       // at the end of a message, its octets
	RateMailFromRejects             // MAIL refused by the server with 5xx
	RateRcptToRejects               // RCPT refused by the server with 5xx
	RateAuthRejects                 // AUTH refused by the server
	RateTLSSessions                 // at STARTTLS, if the session is to go on in an encryption that is not ours
	RateTLSBytes                    // octets of such sessions: they have passed already, and are not given back
	RateTLSServers                  // that such sessions call, each once
	RateCounters                    // how many there are
)

// MaxRateServers is the largest quota of RateTLSServers: so many of a client's are told
// apart.
const MaxRateServers = 64

// RateTargets is no counter, but asked for like one: the call of a session's
// target, which the block lists come before.
const RateTargets = RateCounters

var rateNames = [RateCounters]string{
	RateConnections:     "connections",
	RateMessages:        "messages",
	RateRecipients:      "recipients",
	RateBytes:           "bytes",
	RateMailFromRejects: "mailfrom_rejects",
	RateRcptToRejects:   "rcptto_rejects",
	RateAuthRejects:     "auth_rejects",
	RateTLSSessions:     "tls_sessions",
	RateTLSBytes:        "tls_bytes",
	RateTLSServers:      "tls_servers",
}

// String is the counter's name in logs and for the operator: the option is
// ratelimit_ and this.
func (r Rate) String() string {
	if r >= RateCounters {
		return "unknown"
	}
	return rateNames[r]
}

// ParseRate is the inverse of String.
func ParseRate(name string) (Rate, bool) {
	for r, n := range rateNames {
		if n == name {
			return Rate(r), true
		}
	}
	return 0, false
}

// RateSet is a set of counters.
type RateSet uint16

// Has tells whether r is in the set.
func (s RateSet) Has(r Rate) bool { return s&(1<<r) != 0 }

// QuotaUse asks whether a session's client may use Amount more of a quota. A session
// asks only for the counters its Admission named. It is asked once: an answer
// that is lost with lockd does not make it twice.
type QuotaUse struct {
	Number  uint64 `rule:"any: looked up among the sender's sessions"` // of the session
	Counter Rate   `rule:"1.."`                                        // connections are counted with the admission
	Amount  uint64 `rule:"..MaxReport"`
}

func (*QuotaUse) answer(*QuotaResult) {}

// QuotaResult answers QuotaUse: Admitted, RefusedRate, RefusedRateError or RefusedTargets.
type QuotaResult struct {
	QuotaUse
	Refusal Refusal
}

// QuotaUnused gives back what a QuotaResult let pass that came too late.
type QuotaUnused struct{ QuotaUse }

func (*QuotaUnused) notice() {}

func allowanceBack(a *QuotaResult) *QuotaUnused {
	// That a server was called is no use of it, and is known all the same; and octets
	// have passed.
	if a.Refusal == Admitted && a.Counter < RateCounters && a.Counter != RateTLSBytes {
		return &QuotaUnused{a.QuotaUse}
	}
	return nil
}

// Rates asks for the records of the clients whose name sorts behind After.
type Rates struct {
	After string `rule:"..255 free: those behind it are looked up"`
}

func (*Rates) answer(*RateList) {}

// RateList answers Rates, ordered by Client.
type RateList struct {
	Period  int64       `rule:"0.."` // what a client's quotas are for, in nanoseconds; 0: nothing is limited
	Records []RateEntry `rule:"..RatePage"`
	More    bool
}

// RatePage is the largest number of records in one RateList: as many as fit with the
// longest names and largest numbers.
const RatePage = 100

// RateEntry is one client's record.
type RateEntry struct {
	Client     string   `rule:"..255 free: a key out of a file; the tool makes it printable"` // address, address "-" ident, or "login=" and a login
	Bits       int      `rule:"0..128"`                                                       // of the network that the address stands for
	Damaged    bool     // it cannot be read, and the client is refused; the rest is zero
	Own        bool     // the quotas are its own: no configuration of today's generation changes them
	Generation uint64   `rule:"any: it is only shown"` // whose quotas these are
	Cleared    int64    `rule:"any: it is only shown"` // when the period began
	Expires    int64    `rule:"any: it is only shown"` // when it ends, 0 if the limiter is off
	Quotas     []uint64 `rule:"..RateCounters each any: it is only shown"`
	Used       []uint64 `rule:"..RateCounters each any: it is only shown"`
	Tries      []uint64 `rule:"..RateCounters each any: it is only shown"` // used or refused; these three are indexed by Rate
	Targets    int      `rule:"0.."`                                       // servers remembered
}

// RateShow asks for one client's record; NotFound if there is none, Off if there
// are none at all.
type RateShow struct {
	Client string `rule:"..MaxWord free: parsed as a client's name"`
}

func (*RateShow) answer(*RateRecord) {}

// RateRecord answers RateShow.
type RateRecord struct {
	NoClient string `rule:"..255 printable"` // why the name is no client's, then the rest is zero
	Entry    RateEntry
	Targets  []RateTarget `rule:"..64"` // the latest first
}

// RateTarget is a server a client has called.
type RateTarget struct {
	Address netip.Addr
	Last    int64 `rule:"any: it is only shown"`
}

// RateSetQuota asks to give a client quotas of its own. What is not named stays as
// it is.
type RateSetQuota struct {
	Client     string      `rule:"..MaxWord free: parsed as a client's name"`
	Generation uint64      `rule:"any: compared with the configuration's"` // 0: the highest, which no configuration passes
	Quotas     []RateQuota `rule:"..RateCounters"`
}

func (*RateSetQuota) answer(*Done) {}

// RateQuota is the quota of one counter, 0 for none.
type RateQuota struct {
	Counter Rate
	Quota   uint64 `rule:"any: a quota may be of any size"`
}

// RateReset asks to begin a client's period anew, or to forget its quotas, too.
type RateReset struct {
	Client string `rule:"..MaxWord free: parsed as a client's name"`
	Forget bool
}

func (*RateReset) answer(*Done) {}
