// A session at lockd: its admission, its life, its end. Moments are Unix
// nanoseconds.

package imsg

import "net/netip"

// SessionKey is the attribute that says which session a record of the log is about.
// It becomes the number in smtp-gated[N] by which log parsers group a session's
// lines; a record without it carries the process id there.
const SessionKey = "session"

// Enter asks for admission of one accepted connection.
type Enter struct {
	Client netip.AddrPort `rule:"set"`
	Local  netip.AddrPort // the listener's side of it
	Target netip.AddrPort // invalid if it is not known yet
	Check  bool           // a load balancer calls for itself: only limits.connections is for it
}

func (*Enter) answer(*Admission) {}

// Refusal says why a connection is not admitted. Zero is admission.
type Refusal uint8

// The refusals, in the order they are looked for.
const (
	Admitted Refusal = iota
	RefusedConnections
	RefusedLoad
	RefusedHost
	RefusedLocked
	RefusedIdent
	RefusedRateError // the client's record of rates is unusable
	RefusedRate      // its quota of connections is used up
	RefusedTargets   // it called too many different servers
	RefusedLogin     // its login has too many sessions
)

// Admission answers Enter and Ident. A refused session is not live: nothing more
// need be said of it.
type Admission struct {
	Number   uint64 `rule:"1..1e18"` // of the session, given to refused ones too
	Refusal  Refusal
	Sessions int           `rule:"0.."`    // live in the family, this one included
	Same     int           `rule:"0.."`    // live of this client, or of this client and ident, this one included
	Load     float64       `rule:"0..1e6"` // load average of the last minute
	Uses     RateSet       // counters the client has a quota of: their uses are asked for
	Would    PolicyRuleSet // rules of policy.monitor that would have refused it
	Trace    uint64        `rule:"any: looked up among the traces of its worker"` // that the session is part of, 0: of none
	Exempt   ExemptSet     // what its worker is to spare it
}

func admissionBack(a *Admission) *Leave {
	if a.Refusal == Admitted {
		return &Leave{Number: a.Number, Late: true}
	}
	return nil
}

// Ident tells what was found out of an admitted session's connection, and asks
// for admission once more: under the limits that could not be judged before.
// Ident counts in the remote modes, Target if Enter had none. No connection is
// counted before its target is known.
type Ident struct {
	Number uint64 `rule:"any: looked up among the sender's sessions"`
	Ident  string `rule:"..MaxIdent word"`
	Target netip.AddrPort
}

func (*Ident) answer(*Admission) {}

// Announce tells a fresh lockd of sessions that are already live. Last is true
// in the final one; a worker always sends at least that one on a new link.
type Announce struct {
	Sessions []LiveSession `rule:"..LivePage"`
	Last     bool
}

func (*Announce) notice() {}

// Leave says that a session is over, or gives its admission back.
type Leave struct {
	Number uint64 `rule:"any: looked up among the sender's sessions"`
	Late   bool   // the Admission came too late: what it used of a quota goes back
	Passed uint64 `rule:"..MaxReport"` // octets to be counted as RateTLSBytes that no QuotaUse has told of
}

func (*Leave) notice() {}

// Counts adds to the family's counters and histograms, by their slots, and to what block
// lists did.
type Counts struct {
	Add   []uint64    `rule:"..Slots each ..MaxReport"`
	Lists []ListCount `rule:"..MaxLists"`
}

func (*Counts) notice() {}

// MustEnd tells a worker that an operator wants a session ended.
type MustEnd struct {
	Number uint64 `rule:"1..1e18"` // looked up among the receiver's
}

func (*MustEnd) notice() {}

// AuthFlags is what is known of a session's SMTP AUTH.
type AuthFlags uint8

// The bits as scripts and the CLOSE line show them.
const (
	AuthSupported AuthFlags = 1 << iota
	AuthAccepted
	AuthRejected
)

// Snapshot asks a worker for its live sessions with a number above After.
type Snapshot struct {
	After uint64 `rule:"any: those above it are looked up"`
}

func (*Snapshot) answer(*Live) {}

// Live answers Snapshot, ordered by Number; More tells that there are others. When there
// are none, States says how many sessions the worker has in each State.
type Live struct {
	Sessions []LiveSession `rule:"..LivePage"`
	More     bool
	States   []uint64 `rule:"..States each ..MaxReport"`
}

// LivePage is the largest number of sessions in one Live, Announce or SessionList: as
// many as fit with the longest logins.
const LivePage = 128

// LiveSession is one running session as its worker sees it.
type LiveSession struct {
	Number       uint64 `rule:"any: looked up among the sender's sessions"`
	State        State
	Auth         AuthFlags
	Started      int64 `rule:"0.."`
	Client       netip.AddrPort
	Local        netip.AddrPort
	Target       netip.AddrPort // invalid until it is known
	Transactions int            `rule:"0.."`
	ClientBytes  int64          `rule:"0.."`
	ServerBytes  int64          `rule:"0.."`
	Ident        string         `rule:"..MaxIdent word"`
	Login        string         `rule:"..MaxLogin login"` // that the server took it for, as Login writes it
	Via          netip.AddrPort // the load balancer by which the client came; invalid: by none
	Check        bool           // such a one's own, as Enter has it
	Barred       bool           // it may not send under that
}

// How much rooms may tell each other of a session.
const (
	MaxIdent  = 64      // octets of an ident
	MaxWord   = 1 << 10 // octets of a text of a client's
	MaxScore  = 1e6     // of a message, either way from 0
	MaxReport = 1e15    // octets, or whatever is counted, at once
)

// State is what a session is doing, or what it waits for.
type State uint8

// The states as the status file words them.
const (
	StateStart State = iota
	StateHelo
	StateIdent
	StateConnect
	StatePre
	StateSPF
	StateDNSBL
	StateData
	StateBDAT
	StateDirect
	StateScan
	StateSpam
	StatePost
	StateRset
	StateQuit
	StateTaken
	StateReply  // the server has to answer
	StateQuota  // lockd has to admit the use of a quota
	StateReport // lockd has to hear what the client was caught at
	StateSpool  // the spool has to take the message
	StateTLS    // a handshake is under way

	States // how many there are
)

// StateRow is all there is to say of a state.
type StateRow struct {
	Name string // as the status file words it
	Help string // what the session does then, or waits for
}

// StateTable tells of each state.
var StateTable = [States]StateRow{
	StateStart:   {"start", "It has just been admitted."},
	StateHelo:    {"helo", "The client says commands."},
	StateIdent:   {"ident", "Its target is looked up."},
	StateConnect: {"connect", "Its server is being called."},
	StatePre:     {"pre", "The client has not said HELO yet."},
	StateSPF:     {"spf", "The sender's domain is asked for its SPF record."},
	StateDNSBL:   {"dnsdb", "The block lists are asked."},
	StateData:    {"data", "A message is on its way, or its end waits for the server's answer."},
	StateBDAT:    {"bdat", "The same, in chunks."},
	StateDirect:  {"direct", "Nobody looks at what passes."},
	StateScan:    {"scan", "The virus scanners, or all of them, look at the message."},
	StateSpam:    {"spam", "The spam scanners look at it."},
	StatePost:    {"post", "A message was answered."},
	StateRset:    {"rset", "The client has said RSET."},
	StateQuit:    {"quit", "The client has said QUIT."},
	StateTaken:   {"taken", "There is no server any more, and smtp-gated answers in its place."},
	StateReply:   {"reply", "The server has to answer a command that decides on what follows, or all that it was asked."},
	StateQuota:   {"quota", "lockd has to admit the use of a quota."},
	StateReport:  {"report", "lockd has to hear what the client was caught at."},
	StateSpool:   {"spool", "The spool has to take the message."},
	StateTLS:     {"tls", "A handshake of TLS is under way, or a server that did not stand it is called anew."},
}

func (s State) String() string {
	if s >= States {
		return "unknown"
	}
	return StateTable[s].Name
}
