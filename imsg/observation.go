// Findings: what is wrong with the gateway or with what it depends on. This file owns
// their table, and what rooms and the parent tell lockd of what went well and what did
// not; which of it comes to a finding is lockd's to judge.

package imsg

// FindingID is a kind of finding.
type FindingID uint8

// The findings.
const (
	FindingServer FindingID = iota + 1
	FindingEngineDown
	FindingEngineSlow
	FindingUnscanned
	FindingSpool
	FindingLock
	FindingDNS
	FindingLimit
	FindingLoop
	FindingReload
	FindingRestarted
	FindingHung
	FindingLogLost
	FindingHistoryLost
	FindingScript
	FindingUpstreamTLS
	FindingCertificate
	FindingXclient

	FindingIDs // how many there are, and one
)

// FindingRow is all there is to say of a finding.
type FindingRow struct {
	Name   string
	From   Rooms  // whose observations count; none: lockd's own, and what the parent tells
	Row    uint64 // failures without a success that make one
	Help   string // what it means and what its object is, in sentences
	Ends   string // what counts as a success, a sentence
	Remedy string // what to do, for people: a sentence
}

// FindingTable tells of each.
var FindingTable = [FindingIDs]FindingRow{
	FindingServer: {
		"server-unreachable", toSession, 3,
		"The mail server was not reached, or did not greet, three times in a row. Of several servers one is passed over then, and counts once for each session that would have gone there. Where clients choose their servers it is said when none was.",
		"A server greets with 220.",
		"Look at the server, at the network between, and at the firewall.",
	},
	FindingEngineDown: {
		"engine-down", toSession, 1,
		"A scan engine does not answer, or answers what is no verdict; scand is the room that asks them.",
		"The engine comes to a verdict.",
		"Look whether it runs, and whether its socket is open to the scanning room's user.",
	},
	FindingEngineSlow: {
		"engine-slow", toSession, 1,
		"A scan took more than half of the engine's time-out.",
		"The engine comes to a verdict sooner.",
		"The scanner is overloaded, or its time-out too short.",
	},
	FindingUnscanned: {
		"passed-unscanned", toSession, 1,
		"Messages pass that were not looked at. Because of size or auth no engine has looked; because of load, engine or ignore_errors one that is on has not; tls is a session that went on in an encryption that is not ours, and monitor is {policy_monitor} with virus in it.",
		"All engines that are to look at a message have.",
		"If this is not meant, change what lets them pass.",
	},
	FindingSpool: {
		"spool-trouble", toSession, 1,
		"The spool cannot take messages.",
		"It has taken a message.",
		"Look at the disk of {spool_path}: space, inodes, mount options, health.",
	},
	FindingLock: {
		"lock-trouble", 0, 1,
		"Locks cannot be looked up (look), or not be made (make), or the disk does not answer in time. Clients whose lock cannot be looked up are turned away.",
		"A lock was looked up, or made. Once a minute that is tried.",
		"Look at the disk of {lock_path}, and at the folder's owner.",
	},
	FindingDNS: {
		"dns-silent", toSession, 1,
		"Block lists (dnsbl) or SPF records (spf) cannot be asked: no name server answers, or a list does not.",
		"All lists, or a name server, have answered.",
		"Look at the name servers: {nameservers}, or /etc/resolv.conf as it was at the last reload.",
	},
	FindingLimit: {
		"limit-reached", 0, 1,
		"A limit of all clients together has turned some away: {max_connections} or {max_load}.",
		"There is room below the limit again.",
		"Raise it, or find out who uses it up: smtp-gatectl sessions.",
	},
	FindingLoop: {
		"loop", toSession, 1,
		"The gateway's own connections come back to it, and are refused. So is who calls its port from elsewhere, which is no finding.",
		"A connection leads elsewhere.",
		"The firewall must not redirect the gateway's own connections.",
	},
	FindingReload: {
		"reload-failed", 0, 1,
		"The configuration on disk is not the one in force.",
		"It was read again, and is.",
		"Correct the file, look at it with smtp-gatectl check, and reload.",
	},
	FindingRestarted: {
		"room-restarted", 0, 1,
		"A room has ended unasked.",
		"Its replacement is ready.",
		"The log says how it ended.",
	},
	FindingHung: {
		"room-hung", 0, 1,
		"A room did not answer, and was ended.",
		"Its replacement is ready.",
		"Look at the disks and at the load of the machine.",
	},
	FindingLogLost: {
		"log-lost", 0, 1,
		"Lines of a room's log were lost.",
		"None were in ten seconds.",
		"Look at the log's daemon or disk.",
	},
	FindingHistoryLost: {
		"history-lost", 0, 1,
		"Records of the history were lost, or will be at a restart, for it has no file (file).",
		"One was kept.",
		"Look at the disk of {history_path}.",
	},
	FindingScript: {
		"script-failed", 0, 1,
		"The action script was not run, failed, or was ended at its time-out.",
		"It has run, with exit status 0.",
		"The log has what became of it; run it by hand with the same environment.",
	},
	FindingUpstreamTLS: {
		"upstream-tls", set(Session), 1,
		"TLS with the server fails: its certificate is not what {tls_verify} asks for, or there is no handshake. With the word STARTTLS behind the server it does not offer that: then lockstep offers it to no client, and what needs TLS with the server fails. With clear it demands TLS, and {tls_upstream} is never.",
		"TLS with the server has begun; it offers STARTTLS; it takes a MAIL in clear.",
		"Look at the server's certificate, and at {tls_verify}, {tls_pins}, {tls_ca_file} and {tls_server_name}. Where it does not offer STARTTLS turn that on there, or set {tls_upstream} to never if it is on this machine; where it demands TLS set that to lockstep or always.",
	},
	FindingCertificate: {
		"certificate", 0, 1,
		"A certificate ends within 14 days or has ended, or the one on disk was not taken: then the one before is shown to clients as long as it lives.",
		"It lives longer than that, and is the one on disk.",
		"Renew it; smtp-gatectl check looks at its files. Both files are looked at once a minute, and at a reload.",
	},
	FindingXclient: {
		"xclient", toSession, 1,
		"The server does not offer XCLIENT, by which the mode fixed+xclient tells it the client's address. No session succeeds.",
		"It has taken an XCLIENT.",
		"In Postfix, smtpd_authorized_xclient_hosts has to name this machine's address; others have it in their manuals. Or set {mode} to fixed.",
	},
}

// ObjectRemedy is what to do about one object of a finding, where that is not what to do
// about the others: a sentence.
type ObjectRemedy struct{ Object, Remedy string }

// ObjectRemedies are those there are.
var ObjectRemedies = [FindingIDs][]ObjectRemedy{
	FindingEngineDown: {
		{ObjectScand, "The room that asks the engines has ended, and is replaced by itself; the log says how it ended."},
	},
	FindingUnscanned: {
		{UnscannedSize, "Let {scan_max_size} and {spam_max_size} be as large as {size_limit}, or that smaller."},
		{UnscannedLoad, "Raise {spam_max_load}, or find out what keeps the machine busy."},
		{UnscannedEngine, "See engine-down: spam alone keeps no mail back for an engine that fails."},
		{UnscannedAuth, "{auth_skip} says what clients that log in are spared."},
		{UnscannedExempt, "smtp-gatectl exempt list shows whom an operator spares."},
		{UnscannedIgnored, "Set {ignore_errors} to {no}: then mail waits at its sender until the engine works again."},
		{UnscannedTLS, "{tls_policy} says what becomes of STARTTLS: terminate scans what is in it."},
		{UnscannedMonitor, "Leave virus out of {policy_monitor}."},
	},
}

// Remedy is what to do about a finding, with the marks of options.
func (f *StatusFinding) Remedy() string {
	id := f.Finding % FindingIDs
	for _, o := range ObjectRemedies[id] {
		if o.Object == f.Object {
			return o.Remedy
		}
	}
	return FindingTable[id].Remedy
}

func (f FindingID) String() string { return FindingTable[f%FindingIDs].Name }

// The objects of findings, but for those that the configuration names: servers, engines
// and folders. Those of which there is one have none.
const (
	ObjectAnyServer      = "any server" // where clients choose theirs
	ObjectScand          = "scand"      // who asks the engines
	UnscannedSize        = "size"
	UnscannedLoad        = "load"
	UnscannedEngine      = "engine" // a spam engine that failed: spam alone never keeps mail back for that
	UnscannedAuth        = "auth"
	UnscannedExempt      = "exempt" // an operator spares the client the spam engine
	UnscannedIgnored     = "ignore_errors"
	UnscannedTLS         = "tls"
	UnscannedMonitor     = "monitor" // policy.monitor has virus
	ObjectLook           = "look"    // for a lock
	ObjectMake           = "make"    // one
	ObjectDNSBL          = "dnsbl"
	ObjectSPF            = "spf"
	ObjectSTARTTLS       = "STARTTLS" // behind the server: it does not offer that
	ObjectClear          = "clear"    // behind the server: it takes nothing in clear
	ObjectMaxConnections = "connections"
	ObjectMaxLoad        = "load"
)

// Observation is what a room has seen of one thing since it last told: how often it went
// well, how often not, how often not since it last did, and when either was last: what two
// rooms have seen comes in any order. One that went well and has no object is about all
// objects of its finding. Times are Unix nanoseconds, 0 for never.
type Observation struct {
	Finding FindingID `rule:"1.."`
	Object  string    `rule:"..255 printable"` // a server, an engine, a cause
	Good    uint64    `rule:"..MaxReport"`
	Bad     uint64    `rule:"..MaxReport"`
	Row     uint64    `rule:"..MaxReport"` // of Bad, those behind the last good one
	Went    int64     `rule:"0.."`         // well
	Failed  int64     `rule:"0.."`
	Text    string    `rule:"..200 printable"` // of the last bad one
}

// Observed is what a room has seen, once a second. The objects of a finding are few, for
// no client chooses them.
type Observed struct {
	Observations []Observation `rule:"..ObservedPage"`
}

func (*Observed) notice() {}

// ObservedPage is the largest number of observations in one message.
const ObservedPage = 64

// Trouble is what the parent has seen go wrong of one thing, as it stands: a lockd that is
// new knows it at once. Times are Unix nanoseconds.
type Trouble struct {
	Finding FindingID `rule:"1.."`
	Object  string    `rule:"..255 printable"`
	Since   int64     `rule:"0.."`
	Last    int64     `rule:"0.."` // time it went wrong
	Good    bool      // it went well since
	Count   uint64    `rule:"any: it is only shown"`
	Text    string    `rule:"..200 printable"` // of the last time
}
