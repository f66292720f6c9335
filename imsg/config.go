// What each room is told of the configuration: its slice and nothing else. The
// parent resolves users, groups and names to numbers before it fills these.

package imsg

import (
	"net/netip"
	"time"
)

// Mode is how a session finds the server its client wanted.
type Mode uint8

// The modes.
const (
	ModeNone Mode = iota
	ModeFixed
	ModeFixedXclient
	ModeRemote
	ModeRemoteUDP
	ModeGetsockname
	ModeNetfilter
	ModeTproxy
	ModeTproxyNetfilter
	ModeIpfw
	ModeIpfilter
	ModePf
	ModeFixedProxy // last: a mode is told by its number
)

var modeNames = [...]string{
	ModeNone:            "none",
	ModeFixed:           "fixed",
	ModeFixedXclient:    "fixed+xclient",
	ModeRemote:          "remote",
	ModeRemoteUDP:       "remote-udp",
	ModeGetsockname:     "getsockname",
	ModeNetfilter:       "netfilter",
	ModeTproxy:          "tproxy",
	ModeTproxyNetfilter: "tproxy,netfilter",
	ModeIpfw:            "ipfw",
	ModeIpfilter:        "ipfilter",
	ModePf:              "pf",
	ModeFixedProxy:      "fixed+proxy",
}

func (m Mode) String() string { return modeNames[min(int(m), len(modeNames)-1)] }

// Fixed tells whether sessions go to configured servers.
func (m Mode) Fixed() bool { return m == ModeFixed || m == ModeFixedXclient || m == ModeFixedProxy }

// Remote tells whether targets and idents come from a router.
func (m Mode) Remote() bool { return m == ModeRemote || m == ModeRemoteUDP }

// Filter tells whether this machine's packet filter is asked for targets.
func (m Mode) Filter() bool { return m == ModePf || m == ModeIpfilter }

// Transparent tells whether sessions connect from their clients' addresses.
func (m Mode) Transparent() bool { return m == ModeTproxy || m == ModeTproxyNetfilter }

// Shows tells whether servers see a client's address before they greet it.
func (m Mode) Shows() bool { return m.Transparent() || m == ModeFixedProxy }

// Asks tells whether targets are not the session's to find: lookupd is asked.
func (m Mode) Asks() bool { return m.Remote() || m.Filter() }

// LockOn is the set of causes that lock a client out.
type LockOn uint16

// The bits of lock_on, in the manual's order.
const (
	LockVirus LockOn = 1 << iota
	LockSpam
	LockMaxHost
	LockMaxIdent
	LockDNSBL
	LockSPF
	LockRegex
	LockEarlyTalk
	LockRateLimit
)

// LeaveOn is the set of endings after which a spool file is kept.
type LeaveOn uint8

// The bits of spool_leave_on; none of them is "never".
const (
	LeaveError LeaveOn = 1 << iota
	LeaveSpam
	LeaveVirus
	LeaveAlways
)

// AuthSkip is what an authenticated session is spared.
type AuthSkip uint8

// The bits of auth_skip; none of them is "none".
const (
	SkipDirect AuthSkip = 1 << iota
	SkipAntivirus
	SkipAntispam
	SkipDNSBL
	SkipRegex
)

// AuthRequire is whether a client must authenticate before DATA.
type AuthRequire uint8

// The words of auth_require.
const (
	AuthNo AuthRequire = iota
	AuthIfSupported
	AuthMandatory
)

// SPFAddress is which address is held against a sender's policy.
type SPFAddress uint8

// The words of the option spf.
const (
	SPFOff SPFAddress = iota
	SPFIncoming
	SPFOutgoing
	SPFFixed
)

// LogAddress says which envelope addresses are logged, and how.
type LogAddress uint8

// The bits of log_mail_from and log_rcpt_to, numbered as the old files may have them.
const (
	LogAccepted LogAddress = 1 << iota
	LogRejected
	LogBase64
)

// HistoryAddresses is what events and the history have of a sender's address.
type HistoryAddresses uint8

// The words of history_addresses. A hash is lockd's to make: it has the key.
const (
	AddressesAsLogged HistoryAddresses = iota
	AddressesClear
	AddressesHash
	AddressesOff
)

// NatHeader is the form of the header that is put before each message.
type NatHeader uint8

// The words of nat_header_type.
const (
	NatNone NatHeader = iota
	NatGeneric
	NatIPOnly
)

// BareNewline is what becomes of CR and LF that stand alone.
type BareNewline uint8

// The words of bare_newline.
const (
	NewlineNormalize BareNewline = iota
	NewlineReject
	NewlinePass
)

// Message numbers one of the configurable texts (options msg_*).
type Text uint8

// The texts; the option is msg_ and the name in lower case with underscores.
const (
	MsgVirusFound Text = iota
	MsgVirusNoMore
	MsgVirusLocked
	MsgSpamFound
	MsgUnknownVirus
	MsgScannerFailed
	MsgMalformedIP
	MsgCannotConnect
	MsgSpoolProblem
	MsgSpoolOpenFail
	MsgPipelineFull
	MsgLookupFailed
	MsgLookupNotfound
	MsgLookupTimeout
	MsgLookupMismatch
	MsgLookupNomem
	MsgLookupUnknown
	MsgConnectTimeout
	MsgConnectFailed
	MsgSessionTimeout
	MsgSignOff
	MsgHello
	MsgProtoError
	MsgTransactionFailed
	MsgUnimplCommand
	MsgTempUnavail
	MsgMaxReached
	MsgMaxPerHost
	MsgMaxPerIdent
	MsgSystemLoad
	MsgNomem
	MsgUnknownScanner
	MsgAuthRequired
	MsgLoopAvoidance
	MsgSizeLimit
	MsgFixedXclientFail
	MsgDNSDBReject
	MsgSPFReject
	MsgRateReject
	MsgRatelimitError
	MsgRatelimitMessages
	MsgRatelimitRcptto
	MsgRatelimitRcpttoRejects
	MsgRatelimitHelo
	MsgRatelimitMailfrom
	MsgRatelimitMailfromRejects
	MsgRatelimitDst
	MsgEarlytalker
	MsgRegexHelo
	MsgRegexMailFrom
	MsgRegexRcptTo
	MsgRatelimitBytes
	MsgRatelimitAuthRejects
	MsgTLSHello
	MsgRatelimitTLS
	MsgMaxPerLogin
	Texts // how many there are
)

// SessionConfig is what a session worker is told.
type SessionConfig struct {
	ProxyName      string
	Mode           Mode
	Servers        []netip.AddrPort // of the fixed modes, in the order in which they are tried
	Outgoing       []netip.Addr     // sources of connections to servers, at most one of each family; none or unspecified: the system decides
	KeepPort       bool             // a session that connects from its client's address takes its port too
	Marked         bool             // every connection to a server bears a firewall mark: use the parent's sockets
	Listeners      []netip.AddrPort // all of the family, for loop protection
	Own            []netip.Addr     // of this machine, in order, for the same
	ProxyFrom      []netip.Prefix   // whose connections begin with a header of the PROXY protocol: at most MaxProxyFrom
	MaxConnections int
	Alone          bool // no other worker of the generation asks for admission
	PipelineSize   int  // 16 or more
	TakeoverCmds   int
	EnfileSleep    time.Duration
	TimeoutDirect  time.Duration
	TimeoutLookup  time.Duration // 0 none, as the next one and those of connect, locate and scan
	TimeoutSession time.Duration
	TimeoutIdle    time.Duration
	TimeoutConnect time.Duration
	TimeoutLocate  time.Duration // when to give up on lookupd's search for a target
	TimeoutScan    time.Duration // when to give up on scand, over both engines' own limits
	TLS            TLSConfig
	AuthRequire    AuthRequire
	AuthSkip       AuthSkip
	ByLogin        bool // something goes by logins: one that cannot be read is refused
	EarlyTalk      bool
	DNSBL          bool
	Zones          []string // of the block lists, in their order
	SPF            SPFAddress
	SPFLogOnly     bool
	Monitor        PolicyRuleSet // rules that are judged and told of, and nothing follows
	SPFFixedIP     netip.Addr    // of SPFFixed; invalid: none
	EnforceHelo    string        // a regular expression, like the next five; empty: none
	RejectHelo     string
	EnforceMail    string
	RejectMail     string
	EnforceRcpt    string
	RejectRcpt     string
	SizeLimit      int64 // octets, 0 none
	Antivirus      bool
	Antispam       bool
	ScanMaxSize    int64   // octets, 0: no scan
	SpamMaxSize    int64   // octets, 0: no scan
	SpamThreshold  float64 // score
	SpamMaxLoad    float64 // 1-minute load average, 0 none
	SpamRefuse     bool
	IgnoreErrors   bool
	LockDuration   int    // seconds, -1 for ever, 0 none
	SpoolPath      string // as configured: the name told to others
	SpoolPerm      uint32
	SpoolLeaveOn   LeaveOn
	SpoolShared    bool // others use the room's root, too: what lies there is not swept
	NatHeader      string
	NatHeaderType  NatHeader
	SpoolHeader    string
	Abuse          string
	BareNewline    BareNewline
	RejectNUL      bool // nul reject
	ScanChunks     bool // chunking scan
	ReplyID        bool // refusals end in the session's name
	MessageID      bool // events have the Message-ID of a message
	Subject        bool // and, if it was not let through, its Subject

	HistoryAddresses HistoryAddresses // what they have of its sender
	LogHelo          bool
	LogMailFrom      LogAddress
	LogRcptTo        LogAddress
	EmailLength      int
	Texts            []string // indexed by Text, Texts of them
}

func (*SessionConfig) notice() {}

// FromProxy tells whether a connection from an address begins with a header of the PROXY
// protocol.
func (c *SessionConfig) FromProxy(a netip.Addr) bool {
	return len(c.ProxyFrom) > 0 && within(c.ProxyFrom, a)
}

// Longest is how long a question takes at most for which no time-out is set.
const Longest = time.Hour

// Limit is a time-out as a deadline needs it: 0 is no limit of the administrator's.
func Limit(timeout time.Duration) time.Duration {
	if timeout == 0 {
		return Longest
	}
	return timeout
}

// LookupdConfig is what lookupd is told.
type LookupdConfig struct {
	Mode        Mode
	Nameservers []netip.AddrPort
	Zones       []BlockList
	Timeout     time.Duration // 0 none

	// For the remote modes: the helper on the router.
	RemotePort    uint16
	RemoteRetries int // of a lookup by UDP, each as long as Timeout
	RemoteSecret  uint32
}

func (*LookupdConfig) notice() {}

// ScandConfig is what scand is told.
type ScandConfig struct {
	Engines   []EngineConfig // at most MaxEngines
	Parallel  int            // messages at once, per engine
	SpoolPath string         // put before a name that is told to a scanner
}

// EngineConfig is one engine. Exactly one of Socket and Address is set if it is
// Remote, else none.
type EngineConfig struct {
	Engine  Engine
	Roles   Roles  // what it is asked, of what it may be
	Method  Method // one it has, or Auto
	Socket  string // relative to the room's root
	Name    string // of Socket, as the administrator calls it, for errors
	Address netip.AddrPort
	Timeout time.Duration // 0 none
}

func (*ScandConfig) notice() {}

// StateFile is a set of forms of the status file.
type StateFile uint8

// The bits of statefile_type; flat beats human.
const (
	StateHuman StateFile = 1 << iota
	StateFlat
	StateSlots
)

// LockdConfig is what lockd is told. It may come again: lockd switches in place.
type LockdConfig struct {
	ProxyName      string
	Mode           Mode
	Servers        []netip.AddrPort // of the fixed modes: a session may come from one to the next; none in others
	MaxConnections int
	MaxPerHost     int     // 0 none
	MaxPerIdent    int     // 0 none
	MaxPerLogin    int     // 0 none
	MaxLoad        float64 // 0 none
	LockOn         LockOn
	LockBy         By
	LockDuration   int    // seconds, -1 for ever, 0 no locking
	LockPath       string // as configured: the name told to others
	LockPerm       uint32
	LocksShared    bool           // others use the room's root, too: what lies there is not swept
	Protected      []netip.Addr   // plain ones, that a packet filter must never block: at most MaxProtected
	ProxyFrom      []netip.Prefix // load balancers, that it must not block either: at most MaxProxyFrom
	ActionScript   bool           // whether there is one
	Depends        Dependencies
	Certificates   int // the generation whose certificates clients are shown, 0: there are none
	StateFile      StateFile
	Version        string
	CompileDate    string

	Monitored   PolicyRuleSet // rules of admission that are judged and told of, and nothing follows
	HistoryMax  int           // records in the history's file, 0: there is none
	HistoryKeep time.Duration // how long they are shown
	HashSenders bool          // the history has senders as their hash

	ClientPrefixIPv6  int           // leading bits of an IPv6 address that make one client
	RateExpiration    time.Duration // how long a period is, 0: no rate limits
	RateDstExpiration time.Duration // for which a client may call 64 servers, negative: any number
	RateGeneration    uint64
	RateBy            By       // ByAddress or ByLogin
	RateQuotas        []uint64 // indexed by Rate, 0 none
}

func (*LockdConfig) notice() {}

// MaxProxyFrom bounds how many networks of load balancers there are.
const MaxProxyFrom = 256

// MaxProtected bounds what lockd is told of addresses that must never be blocked.
const MaxProtected = 8192

// MaxServers bounds the servers of the fixed modes.
const MaxServers = 16

// Dependencies are what sessions cannot do without, or not so well.
type Dependencies struct {
	Servers      []netip.AddrPort // of the fixed modes; none in others
	Engines      []ScanEngine     // that messages are shown to
	IgnoreErrors bool             // what cannot be scanned passes
	EndsTLS      bool             // of clients, for some sessions at least
	BeginsTLS    bool             // with the server
	Upstream     TLSUpstream      // how they go together
	DNSBL, SPF   bool             // block lists are asked, and senders' domains
	Zones        []string         // of the block lists
	SpoolPath    string           // as configured
}

// ActionConfig is what the script runner is told.
type ActionConfig struct {
	ProxyName string
	Program   string // ours, which becomes the script
	Script    string // absolute; empty: never asked
	Directory string // the script's working directory: spool_path
	SpoolPath string // as configured
	Timeout   time.Duration
	Queue     int   // scripts waiting at most
	Virtual   int64 // limit of the script's address space in octets, 0: as the system has it
	Data      int64 // of its data segment
	File      int64 // of a file it writes
}

func (*ActionConfig) notice() {}
