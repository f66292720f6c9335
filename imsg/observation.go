// Findings: what is wrong with the gateway or with what it depends on. This file owns
// their table, and what rooms tell lockd of what went well and what did not; which of it
// comes to a finding is lockd's to judge.

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

	FindingIDs // how many there are, and one
)

// FindingRow is all there is to say of a finding.
type FindingRow struct {
	Name   string
	From   Rooms  // whose observations count; none: lockd's own
	Row    uint64 // failures without a success that make one
	Help   string // what it means and what its object is, a sentence
	Remedy string // what to do, for people: a sentence
}

// FindingTable tells of each.
var FindingTable = [FindingIDs]FindingRow{
	FindingServer:      {"server-unreachable", toSession, 3, "The mail server was not reached three times in a row; where each client has a server of its own, none was.", "Look at the server, at the network between, and at the firewall."},
	FindingEngineDown:  {"engine-down", toSession, 1, "A scan engine does not answer, or answers what is no verdict.", "Look whether it runs, and whether its socket is open to the scanning room's user."},
	FindingEngineSlow:  {"engine-slow", toSession, 1, "A scan took more than half of its time-out.", "The scanner is overloaded, or its time-out too short."},
	FindingUnscanned:   {"passed-unscanned", toSession, 1, "Messages pass that no engine has looked at; the object is why.", "If this is not meant, change the option that lets them pass."},
	FindingSpool:       {"spool-trouble", toSession, 1, "The spool cannot take messages.", "Look at the disk of spool_path: space, inodes, mount options, health."},
	FindingLock:        {"lock-trouble", 0, 1, "Locks cannot be read or made, or do not answer in time.", "Look at the disk of lock_path, and at the folder's owner."},
	FindingDNS:         {"dns-silent", toSession, 1, "Block lists or SPF records cannot be asked.", "Look at the name servers: nameservers, or /etc/resolv.conf as it was at the last reload."},
	FindingLimit:       {"limit-reached", 0, 1, "A limit of all clients together is reached.", "Raise it, or find out who uses it up: smtp-gatectl sessions."},
	FindingLoop:        {"loop", toSession, 1, "Connections would come back to the gateway.", "The firewall must not redirect the gateway's own connections."},
	FindingReload:      {"reload-failed", 0, 1, "The configuration on disk is not the one in force.", "Correct the file, look at it with smtp-gatectl check, and reload."},
	FindingRestarted:   {"room-restarted", 0, 1, "A room has ended unasked and was replaced.", "The log says how it ended."},
	FindingHung:        {"room-hung", 0, 1, "A room did not answer and was replaced.", "Look at the disks and at the load of the machine."},
	FindingLogLost:     {"log-lost", 0, 1, "Lines of the log were lost.", "Look at the log's daemon or disk."},
	FindingHistoryLost: {"history-lost", 0, 1, "Records of the history were lost.", "Look at the disk of history.path."},
	FindingScript:      {"script-failed", 0, 1, "The action script was not run, failed, or was ended at its time-out.", "The log has what it said; run it by hand with the same environment."},
}

func (f FindingID) String() string { return FindingTable[f%FindingIDs].Name }

// Observation is what a room has seen of one thing since it last told: how often it went
// well, how often not, and how often not since it last did.
type Observation struct {
	Finding FindingID `rule:"1.."`
	Object  string    `rule:"..255 printable"` // a server, an engine, a cause
	Good    uint64    `rule:"..MaxReport"`
	Bad     uint64    `rule:"..MaxReport"`
	Row     uint64    `rule:"..MaxReport"`     // of Bad, those behind the last good one
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
