// What the messages carry. This file owns the fields and their units; who may
// send what to whom stands in table.go, what each room is told in config.go.
//
// Fields are written as msgpack arrays in the order they stand here. Addresses
// are netip types, moments Unix nanoseconds, durations time.Duration.

package imsg

import (
	"net/netip"
	"time"
)

// Failure answers an Ask that could not be fulfilled.
type Failure struct{ Kind Kind }

// Done answers an Ask that has no result but its outcome. Kind is zero when all
// went well. Detail is for an operator's eyes; no room acts on it.
type Done struct {
	Kind   Kind
	Detail string
}

// Hello is a room's first message to the parent, sent from inside its sandbox.
type Hello struct {
	Room        Room
	PID         int
	Fingerprint uint64
}

// SinkKind says what stands behind a Sink's descriptor.
type SinkKind uint8

// The kinds of log sink.
const (
	SinkStream       SinkKind = iota + 1 // stderr or a file: one line a record, with its time
	SinkSyslog                           // a connected /dev/log datagram socket: RFC 3164
	SinkJournal                          // a connected journal socket: native protocol
	SinkSyslogStream                     // a connected /dev/log stream socket: RFC 3164, NUL ended
)

// Sink hands over where the log goes, with its descriptor. It may come at any
// time; the last one counts.
type Sink struct {
	Kind     SinkKind
	Level    int // slog level below which records are dropped
	Facility int // syslog facility code (RFC 3164 section 4.1.1), not shifted
	JSON     bool
	Root     string // where the room's root lies in the administrator's tree, for file names in its log; empty: unknown
}

// Peer hands over one end of a link to another room, with its descriptor.
type Peer struct {
	Room   Room
	Member int // which of several, counted over the family's life
}

// Listener hands over one listening TCP socket.
type Listener struct {
	Address netip.AddrPort
	Name    string // as systemd named it, else empty
}

// ControlSocket hands the listening control socket to lockd.
type ControlSocket struct{}

// Ledger hands lockd an unlinked file in which counters outlive its crash.
type Ledger struct{}

// NatDevice hands lookupd the packet filter's device, opened read-only, in the
// modes that ask it.
type NatDevice struct{}

// Ready says that a room has read its configuration and closed its last door.
type Ready struct{}

// Start lifts the barrier: every room is ready, work begins.
type Start struct{}

// Drain asks a room to take no new work and to end when the last is done. It may
// come once more, with End.
type Drain struct {
	// Closing are the listeners that nobody will serve any more: a worker says so
	// to who waits there.
	Closing []netip.AddrPort
	// End has a worker end its sessions, too, but for messages under way.
	End bool
}

// Drained answers a worker's first Drain: it accepts nobody any more, and whom it
// has accepted is judged.
type Drained struct{}

// Ping asks a room whether it still does its work. Home answers it.
type Ping struct{}

// Pong says that it does.
type Pong struct{}

// BadPeer reports a link on which something unsayable was said.
type BadPeer struct {
	Room   Room
	Member int
}

// Family tells lockd who lives, for the operator's eyes.
type Family struct {
	Version    string
	Config     string // path of the configuration in force
	Generation int
	Started    int64 // of the family
	Reloaded   int64 // of the last completed reload, 0 for none
	Crashes    int   // rooms that ended unasked
	LastCrash  int64
	Rooms      []Member
}

// Member is one running room.
type Member struct {
	Room       Room
	Member     int
	PID        int
	Generation int
	State      MemberState
	Started    int64
}

// MemberState is how far a room has come in its life.
type MemberState uint8

// The states of a room.
const (
	Starting MemberState = iota + 1
	Running
	Draining
)

func (s MemberState) String() string {
	return [...]string{"unknown", "starting", "running", "draining"}[min(s, Draining)]
}

// Dump asks lockd to write the state file into the descriptor that comes along.
type Dump struct{}

// Reload asks the parent to read its configuration again. Detail of the answer
// says where the file is wrong.
type Reload struct{}

// Stop asks the parent to end the family: after the last session, or at once.
type Stop struct{ Now bool }

// Enter asks for admission of one accepted connection.
type Enter struct {
	Client netip.AddrPort
	Local  netip.AddrPort // the listener's side of it
	Target netip.AddrPort // invalid if it is not known yet
}

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
)

// Admission answers Enter and Ident. A refused session is not live: nothing more
// need be said of it.
type Admission struct {
	Number   uint64 // of the session, given to refused ones too
	Refusal  Refusal
	Sessions int     // live in the family, this one included
	Same     int     // live of this client, or of this client and ident, this one included
	Load     float64 // load average of the last minute
	Uses     RateSet // counters the client has a quota of: their uses are asked for
}

// Ident tells what was found out of an admitted session's connection, and asks
// for admission once more: under the limits that could not be judged before.
// Ident counts in the remote modes, Target if Enter had none. No connection is
// counted before its target is known.
type Ident struct {
	Number uint64
	Ident  string
	Target netip.AddrPort
}

// Announce tells a fresh lockd of sessions that are already live. Last is true
// in the final one; a worker always sends at least that one on a new link.
type Announce struct {
	Sessions []LiveSession
	Last     bool
}

// Leave says that a session is over, or gives its admission back.
type Leave struct {
	Number uint64
	Late   bool // the Admission came too late: what it used of a quota goes back
}

func admissionBack(m Message) Message {
	if a := m.(*Admission); a.Refusal == Admitted {
		return &Leave{Number: a.Number, Late: true}
	}
	return nil
}

// Counts adds to the family's counters, indexed by Counter.
type Counts struct{ Add []uint64 }

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

// Found is the cause of an Offence.
type Found uint8

// The causes, in the numbering of the lock_on bits: bit i of lock_on stands for
// the causes whose LockOn is i.
const (
	FoundVirus Found = iota + 1
	FoundSpam
	FoundMaxHost
	FoundMaxIdent
	FoundDNSBL
	FoundSPF
	FoundRegexHelo
	FoundRegexMailFrom
	FoundRegexRcptTo
	FoundEarlyTalk
	FoundRateMailFrom
	FoundRateRcptTo
)

var foundWords = [...]string{"", "VIRUS", "SPAM", "MAX_HOST", "MAX_IDENT", "DNSBL", "SPF", "REGEX_HELO", "REGEX_MAIL_FROM",
	"REGEX_RCPT_TO", "EARLYTALK", "RATELIMIT_MAILFROM_REJECTS", "RATELIMIT_RCPTTO_REJECTS"}

// String is the FOUND word of scripts and lock files.
func (f Found) String() string { return foundWords[min(int(f), len(foundWords)-1)] }

// LockOn returns the lock_on bit that makes this cause lock.
func (f Found) LockOn() LockOn {
	switch f {
	case FoundVirus:
		return LockVirus
	case FoundSpam:
		return LockSpam
	case FoundMaxHost:
		return LockMaxHost
	case FoundMaxIdent:
		return LockMaxIdent
	case FoundDNSBL:
		return LockDNSBL
	case FoundSPF:
		return LockSPF
	case FoundRegexHelo, FoundRegexMailFrom, FoundRegexRcptTo:
		return LockRegex
	case FoundEarlyTalk:
		return LockEarlyTalk
	case FoundRateMailFrom, FoundRateRcptTo:
		return LockRateLimit
	}
	return 0
}

// Offence reports what a session was caught at. lockd knows the rest of it (its
// addresses, its start) since Enter. Strings come from the client, cleaned of
// control characters.
type Offence struct {
	Number      uint64
	Transaction int // from 1; a repeat of the same is counted once
	Found       Found
	Virus       string
	Score       float64
	Target      netip.AddrPort
	Helo        string
	MailFrom    string
	Recipients  int // accepted in the whole session
	Size        int64
	Auth        AuthFlags
	Spool       string // START.N if a file was kept, else empty
}

// AuthFlags is what is known of a session's SMTP AUTH.
type AuthFlags uint8

// The bits as scripts and the CLOSE line show them.
const (
	AuthSupported AuthFlags = 1 << iota
	AuthAccepted
	AuthRejected
)

// Locked tells a worker that the clients of sessions have been locked meanwhile.
type Locked struct{ Numbers []uint64 }

// LockedPage is the largest number of sessions in one Locked.
const LockedPage = 512

// Snapshot asks a worker for its live sessions with a number above After.
type Snapshot struct{ After uint64 }

// Live answers Snapshot, ordered by Number; More tells that there are others.
type Live struct {
	Sessions []LiveSession
	More     bool
}

// LivePage is the largest number of sessions in one Live, Announce or SessionList.
const LivePage = 256

// LiveSession is one running session as its worker sees it.
type LiveSession struct {
	Number       uint64
	State        State
	Auth         AuthFlags
	Started      int64
	Client       netip.AddrPort
	Local        netip.AddrPort
	Target       netip.AddrPort // invalid until it is known
	Transactions int
	ClientBytes  int64
	ServerBytes  int64
	Ident        string
}

// State is what a session is doing.
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
)

var stateNames = [...]string{"start", "helo", "ident", "connect", "pre", "spf", "dnsdb", "data", "bdat", "direct", "scan", "spam", "post", "rset", "quit", "taken"}

func (s State) String() string { return stateNames[min(int(s), len(stateNames)-1)] }

// Scan asks for a verdict over the spooled message behind the descriptor, which
// is open for reading only. Engines use pread: they share its offset.
type Scan struct {
	Number uint64
	Size   int64
	Virus  bool
	Spam   bool
	Spool  string // its name inside the spool directory
}

// Outcome is how one engine's work ended.
type Outcome uint8

// The outcomes. Only Clean and Found are verdicts.
const (
	NotAsked Outcome = iota
	Clean
	Caught
	Failed
	TimedOut
)

func (o Outcome) String() string {
	return [...]string{"not asked", "clean", "caught", "failed", "timed out"}[min(o, TimedOut)]
}

// Verdict answers Scan. Problem words a Failed outcome for the log.
type Verdict struct {
	Virus        Outcome
	VirusName    string // at most 255 octets, printable
	VirusProblem string
	VirusTime    time.Duration
	Spam         Outcome // Caught is never said: the session compares Score with its threshold
	Score        float64
	SpamProblem  string
	SpamTime     time.Duration
}

// Listed asks whether a client stands on one of the DNS block lists.
type Listed struct{ Client netip.Addr }

// Listing answers Listed. Zone is empty if no list names the client.
type Listing struct {
	Zone   string
	Answer netip.Addr
	Failed int // lists that could not be asked
}

// Locate asks which server a connection was meant for, and on whose behalf the
// client, if it is a router, called. Failures: NotFound, the connection is not
// known or not translated; Timeout; Invalid, an answer to another question;
// Malformed, an answer that names no usable address.
type Locate struct{ Client, Local netip.AddrPort }

// Location answers Locate.
type Location struct {
	Target netip.AddrPort
	Ident  string // printable ASCII without blanks, 32 octets at most; empty if none
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

var spfNames = [...]string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}

func (v SPFVerdict) String() string { return spfNames[min(int(v), len(spfNames)-1)] }

// SPF asks whether Client may use the names it gave. MailFrom is an address
// without brackets, empty for the null reverse-path.
type SPF struct {
	Client   netip.Addr
	Helo     string
	MailFrom string
}

// SPFResult answers SPF. Problem, for the log, says what an error was; it holds
// no more than 200 octets.
type SPFResult struct {
	Verdict SPFVerdict
	Problem string
}

// GiveUp says that nobody waits any more for the answer to the question of this
// id, which came over the same link. The link itself takes it.
type GiveUp struct{ ID uint32 }

// Run asks for the action script. The path and the arguments' order belong to
// the runner's own configuration; this carries only values.
type Run struct {
	Offence
	Started      int64
	Client       netip.AddrPort
	Local        netip.AddrPort
	Ident        string
	IdentCount   int
	LockFile     string // full path
	LockDuration int    // seconds, -1 for ever, 0 none
}

// Ran says that one Run is dealt with: the script has ended, or it was logged why
// it was not run.
type Ran struct{}

// Status asks for the family's state.
type Status struct{}

// StatusReport answers Status.
type StatusReport struct {
	Family   Family
	Now      int64
	Sessions int // live
	Limit    int // max_connections
	Load     float64
	Locks    int
	Counters []uint64 // indexed by Counter
}

// Sessions asks for the live sessions with a number above After.
type Sessions struct{ After uint64 }

// SessionList answers Sessions. Silent counts the workers that did not answer in time.
type SessionList struct {
	Sessions []LiveSession
	More     bool
	Silent   int
}

// Locks asks for the locks whose name sorts behind After.
type Locks struct{ After string }

// LockList answers Locks, ordered by Name.
type LockList struct {
	Locks []LockEntry
	More  bool
}

// LockEntry is one lock file.
type LockEntry struct {
	Name    string // address, or address "-" ident
	Cause   string
	Created int64
	Expires int64 // 0: never
	Saint   bool  // a whitelist mark: owned by uid 0
}

// Lock asks to lock a client by hand.
type Lock struct{ Name, Cause string }

// Unlock asks to remove a client's lock.
type Unlock struct{ Name string }

// ReloadNow asks for a reload.
type ReloadNow struct{}

// StopNow asks to stop: after the last session, or at once.
type StopNow struct{ Now bool }

// Type implements Message.
func (*Failure) Type() Type       { return tFailure }
func (*Done) Type() Type          { return tDone }
func (*Hello) Type() Type         { return tHello }
func (*SessionConfig) Type() Type { return tSessionConfig }
func (*LookupdConfig) Type() Type { return tLookupdConfig }
func (*ScandConfig) Type() Type   { return tScandConfig }
func (*LockdConfig) Type() Type   { return tLockdConfig }
func (*ActionConfig) Type() Type  { return tActionConfig }
func (*Sink) Type() Type          { return tSink }
func (*Peer) Type() Type          { return tPeer }
func (*Listener) Type() Type      { return tListener }
func (*ControlSocket) Type() Type { return tControlSocket }
func (*Ledger) Type() Type        { return tLedger }
func (*Ready) Type() Type         { return tReady }
func (*Start) Type() Type         { return tStart }
func (*Drain) Type() Type         { return tDrain }
func (*Drained) Type() Type       { return tDrained }
func (*BadPeer) Type() Type       { return tBadPeer }
func (*Family) Type() Type        { return tFamily }
func (*Dump) Type() Type          { return tDump }
func (*Reload) Type() Type        { return tReload }
func (*Stop) Type() Type          { return tStop }
func (*NatDevice) Type() Type     { return tNatDevice }
func (*Ping) Type() Type          { return tPing }
func (*Pong) Type() Type          { return tPong }
func (*Enter) Type() Type         { return tEnter }
func (*Admission) Type() Type     { return tAdmission }
func (*Ident) Type() Type         { return tIdent }
func (*Announce) Type() Type      { return tAnnounce }
func (*Leave) Type() Type         { return tLeave }
func (*Counts) Type() Type        { return tCounts }
func (*Offence) Type() Type       { return tOffence }
func (*Locked) Type() Type        { return tLocked }
func (*Snapshot) Type() Type      { return tSnapshot }
func (*Live) Type() Type          { return tLive }
func (*Scan) Type() Type          { return tScan }
func (*Verdict) Type() Type       { return tVerdict }
func (*Listed) Type() Type        { return tListed }
func (*Listing) Type() Type       { return tListing }
func (*Locate) Type() Type        { return tLocate }
func (*Location) Type() Type      { return tLocation }
func (*SPF) Type() Type           { return tSPF }
func (*SPFResult) Type() Type     { return tSPFResult }
func (*GiveUp) Type() Type        { return tGiveUp }
func (*Run) Type() Type           { return tRun }
func (*Ran) Type() Type           { return tRan }
func (*Status) Type() Type        { return tStatus }
func (*StatusReport) Type() Type  { return tStatusReport }
func (*Sessions) Type() Type      { return tSessions }
func (*SessionList) Type() Type   { return tSessionList }
func (*Locks) Type() Type         { return tLocks }
func (*LockList) Type() Type      { return tLockList }
func (*Lock) Type() Type          { return tLock }
func (*Unlock) Type() Type        { return tUnlock }
func (*ReloadNow) Type() Type     { return tReloadNow }
func (*StopNow) Type() Type       { return tStopNow }
