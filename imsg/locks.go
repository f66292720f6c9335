// What a client was caught at, the lock it gets for that, the script that hears of
// it, and locks as the operator sees them.

package imsg

import (
	"net/netip"
	"time"
)

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

var foundWords = [...]string{
	FoundVirus:         "VIRUS",
	FoundSpam:          "SPAM",
	FoundMaxHost:       "MAX_HOST",
	FoundMaxIdent:      "MAX_IDENT",
	FoundDNSBL:         "DNSBL",
	FoundSPF:           "SPF",
	FoundRegexHelo:     "REGEX_HELO",
	FoundRegexMailFrom: "REGEX_MAIL_FROM",
	FoundRegexRcptTo:   "REGEX_RCPT_TO",
	FoundEarlyTalk:     "EARLYTALK",
	FoundRateMailFrom:  "RATELIMIT_MAILFROM_REJECTS",
	FoundRateRcptTo:    "RATELIMIT_RCPTTO_REJECTS",
}

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

// Rule returns the rule by which such a client is refused.
func (f Found) Rule() PolicyRule {
	return [...]PolicyRule{
		NoRule, FoundVirus: RuleVirus, FoundSpam: RuleSpam, FoundMaxHost: RuleMaxHost, FoundMaxIdent: RuleMaxIdent, FoundDNSBL: RuleDNSBL,
		FoundSPF: RuleSPF, FoundRegexHelo: RuleRegex, FoundRegexMailFrom: RuleRegex, FoundRegexRcptTo: RuleRegex,
		FoundEarlyTalk: RuleEarlyTalk, FoundRateMailFrom: RuleRate, FoundRateRcptTo: RuleRate,
	}[f]
}

// Offence reports what a session was caught at. lockd knows the rest of it (its
// addresses, its start) since Enter. Strings come from the client, cleaned of
// control characters.
type Offence struct {
	Number      uint64  `rule:"any: looked up among the sender's sessions"`
	Transaction int     `rule:"1.."` // from 1; a repeat of the same is counted once
	Found       Found   `rule:"1.."`
	Virus       string  `rule:"..255 printable"`
	Score       float64 `rule:"-MaxScore..MaxScore"`
	Target      netip.AddrPort
	Helo        string `rule:"..MaxWord printable"`
	MailFrom    string `rule:"..MaxWord printable"`
	Recipients  int    `rule:"0.."` // accepted in the whole session
	Size        int64  `rule:"0.."`
	Auth        AuthFlags
	Spool       string `rule:"..64 name"`             // START.N if a file was kept, else empty
	Subject     string `rule:"..MaxSubject readable"` // of the message, where history.subject is on
}

func (*Offence) answer(*Done) {}

// Locked tells a worker that the clients of sessions have been locked meanwhile.
type Locked struct {
	Numbers []uint64 `rule:"..LockedPage each any: looked up among the receiver's sessions"`
}

func (*Locked) notice() {}

// LockedPage is the largest number of sessions in one Locked.
const LockedPage = 512

// Run asks for the action script. The path and the arguments' order belong to
// the runner's own configuration; this carries only values.
type Run struct {
	Offence
	Started      int64          `rule:"0.."`
	Client       netip.AddrPort `rule:"set"`
	Local        netip.AddrPort
	Ident        string `rule:"..MaxIdent word"`
	IdentCount   int    `rule:"0.."`
	Login        string `rule:"..MaxLogin login"`
	LockFile     string `rule:"..4096 free: a path of the administrator's, made printable for the script"` // full path
	LockDuration int    `rule:"-1.."`                                                                      // seconds, -1 for ever, 0 none
}

func (*Run) notice() {}

// RunDone says that one Run is dealt with: the script has ended, or it was logged why
// it was not run. Problem is why it did not end with success, empty if it did.
type RunDone struct {
	Problem string `rule:"..200 printable"`
}

func (*RunDone) notice() {}

// Locks asks for the locks whose name sorts behind After.
type Locks struct {
	After string `rule:"..255 free: those behind it are looked up"`
}

func (*Locks) answer(*LockList) {}

// LockList answers Locks, ordered by Name.
type LockList struct {
	Locks []LockEntry `rule:"..LockPage"`
	More  bool
}

// LockPage is the largest number of locks in one LockList: as many as fit with the longest
// names and causes.
const LockPage = 100

// LockEntry is one lock file.
type LockEntry struct {
	Name    string `rule:"..255 word"` // address, address "-" ident, or "login=" and a login
	Cause   string `rule:"..255 printable"`
	Created int64  `rule:"any: a file may be of any time"`
	Expires int64  `rule:"any: a file may be of any time"` // 0: never
	Saint   bool   // a whitelist mark: owned by uid 0

	Bits      int    `rule:"0..128"` // leading ones of the address, all behind which are the client's; 0: the client is no address or network
	Protected bool   // a packet filter must never block it: it is ours, a server's, or exempt
	Refusals  uint64 `rule:"any: it is shown and compared"` // how often it was turned away since it is locked, as far as lockd has lived to see it
}

// Lock asks to lock a client by hand.
type Lock struct {
	Name  string        `rule:"..MaxWord free: parsed as a client's name"`
	Cause string        `rule:"..MaxWord free: lockd makes it printable"`
	For   time.Duration `rule:"0..87600h"` // 0: as lock_duration has it
}

// MaxLockTime is the longest time for which a lock is made by hand: ten years.
const MaxLockTime = 87600 * time.Hour

func (*Lock) answer(*Done) {}

// Unlock asks to remove a client's lock.
type Unlock struct {
	Name string `rule:"..MaxWord free: parsed as a client's name"`
}

func (*Unlock) answer(*Done) {}
