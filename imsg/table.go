// The map of the house: every message, who may say it to whom, with how many
// descriptors, how long it may be, and what answers it. Every receive is
// checked against this table, so what does not stand here cannot be said.

package imsg

import (
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
	"text/tabwriter"
)

// Type numbers a message on the wire.
type Type uint16

// Message is anything that can cross a link: a pointer to one of the structs of
// messages.go, rate.go, socket.go or config.go.
type Message interface{ Type() Type }

// Kind of conversation a message belongs to.
type Way uint8

// A message is told, asked, or answers what was asked.
const (
	Tell Way = iota
	Ask
	Answer
)

func (w Way) String() string { return [...]string{"tell", "ask", "answer"}[w] }

// Entry is one row of the table.
type Entry struct {
	Name   string
	From   Rooms
	To     Rooms
	Way    Way
	Answer Type // of an Ask: the one type that answers it (a Failure always may)
	Report bool // of an Ask: it tells what has happened, is never refused, and is dealt with when its asker waits no more
	Files  int  // descriptors that must come with it, no more and no less
	Max    int  // largest body in octets
	New    func() Message

	// Back is for an Answer that hands something out: what is told to give it
	// back when nobody waits for it any more, or nil if it hands out nothing. An
	// answer says enough of itself for that, for its question is forgotten.
	Back func(Message) Message

	// Gives is for what gives back what was handed out. A full queue takes it all
	// the same: there is no more of it than of that, and no later word makes up
	// for it.
	Gives bool
}

const (
	small  = 1 << 10
	medium = 8 << 10
	large  = 64<<10 - headerLen
	huge   = 1 << 20 // only configuration; the parent raises the socket buffers for it
)

// The types. New ones go at the end of their group; the fingerprint in Hello
// keeps two different tables from talking to each other.
const (
	_ Type = iota
	tFailure
	tDone
	// between the parent and a room
	tHello
	tSessionConfig
	tLookupdConfig
	tScandConfig
	tLockdConfig
	tActionConfig
	tSink
	tPeer
	tListener
	tControlSocket
	tLedger
	tReady
	tStart
	tDrain
	tDrained
	tBadPeer
	tFamily
	tDump
	tReload
	tStop
	tNatDevice
	tRateStore
	tSockets
	tSocket
	tPing
	tPong
	// a session asks
	tEnter
	tAdmission
	tAnnounce
	tLeave
	tCounts
	tOffence
	tLocked
	tSnapshot
	tLive
	tScan
	tVerdict
	tListed
	tListing
	tLocate
	tLocation
	tSPF
	tSPFResult
	tIdent
	tUse
	tAllowance
	tUnused
	tGiveUp
	// lockd to the script runner
	tRun
	tRan
	// the operator asks
	tStatus
	tStatusReport
	tSessions
	tSessionList
	tLocks
	tLockList
	tLock
	tUnlock
	tReloadNow
	tStopNow
	tRates
	tRateList
	tRateShow
	tRateRecord
	tRateSetQuota
	tRateReset
	types
)

var (
	toParent   = set(Parent)
	toSession  = set(Session)
	toLockd    = set(Lockd)
	toOperator = set(Control)
	children   = set(Session, Lookupd, Scand, Lockd, Action)
)

// Table is the map of the house, indexed by Type.
var Table = [types]Entry{
	tFailure: {Name: "Failure", From: children | toParent, To: children | toParent | toOperator, Way: Answer, Max: small, New: func() Message { return new(Failure) }},
	tDone:    {Name: "Done", From: set(Parent, Lockd), To: set(Parent, Session, Lockd, Control), Way: Answer, Max: medium, New: func() Message { return new(Done) }},

	tHello:         {Name: "Hello", From: children, To: toParent, Max: small, New: func() Message { return new(Hello) }},
	tSessionConfig: {Name: "SessionConfig", From: toParent, To: set(Session), Max: huge, New: func() Message { return new(SessionConfig) }},
	tLookupdConfig: {Name: "LookupdConfig", From: toParent, To: set(Lookupd), Max: huge, New: func() Message { return new(LookupdConfig) }},
	tScandConfig:   {Name: "ScandConfig", From: toParent, To: set(Scand), Max: huge, New: func() Message { return new(ScandConfig) }},
	tLockdConfig:   {Name: "LockdConfig", From: toParent, To: set(Lockd), Max: huge, New: func() Message { return new(LockdConfig) }},
	tActionConfig:  {Name: "ActionConfig", From: toParent, To: set(Action), Max: huge, New: func() Message { return new(ActionConfig) }},
	tSink:          {Name: "Sink", From: toParent, To: children, Files: 1, Max: small, New: func() Message { return new(Sink) }},
	tPeer:          {Name: "Peer", From: toParent, To: children, Files: 1, Max: small, New: func() Message { return new(Peer) }},
	tListener:      {Name: "Listener", From: toParent, To: toSession, Files: 1, Max: small, New: func() Message { return new(Listener) }},
	tControlSocket: {Name: "ControlSocket", From: toParent, To: toLockd, Files: 1, Max: small, New: func() Message { return new(ControlSocket) }},
	tLedger:        {Name: "Ledger", From: toParent, To: toLockd, Files: 1, Max: small, New: func() Message { return new(Ledger) }},
	tReady:         {Name: "Ready", From: children, To: toParent, Max: small, New: func() Message { return new(Ready) }},
	tStart:         {Name: "Start", From: toParent, To: children, Max: small, New: func() Message { return new(Start) }},
	tDrain:         {Name: "Drain", From: toParent, To: children, Max: large, New: func() Message { return new(Drain) }},
	tDrained:       {Name: "Drained", From: toSession, To: toParent, Max: small, New: func() Message { return new(Drained) }},
	tBadPeer:       {Name: "BadPeer", From: children, To: toParent, Max: small, New: func() Message { return new(BadPeer) }},
	tFamily:        {Name: "Family", From: toParent, To: toLockd, Max: large, New: func() Message { return new(Family) }},
	tDump:          {Name: "Dump", From: toParent, To: toLockd, Way: Ask, Answer: tDone, Files: 1, Max: small, New: func() Message { return new(Dump) }},
	tReload:        {Name: "Reload", From: toLockd, To: toParent, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(Reload) }},
	tStop:          {Name: "Stop", From: toLockd, To: toParent, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(Stop) }},
	tNatDevice:     {Name: "NatDevice", From: toParent, To: set(Lookupd), Files: 1, Max: small, New: func() Message { return new(NatDevice) }},
	tRateStore:     {Name: "RateStore", From: toParent, To: toLockd, Files: 1, Max: small, New: func() Message { return new(RateStore) }},
	tSockets:       {Name: "Sockets", From: toSession, To: toParent, Max: small, New: func() Message { return new(Sockets) }},
	tSocket:        {Name: "Socket", From: toParent, To: toSession, Files: 1, Max: small, New: func() Message { return new(Socket) }},
	tPing:          {Name: "Ping", From: toParent, To: children, Way: Ask, Answer: tPong, Max: small, New: func() Message { return new(Ping) }},
	tPong:          {Name: "Pong", From: children, To: toParent, Way: Answer, Max: small, New: func() Message { return new(Pong) }},

	tEnter:     {Name: "Enter", From: toSession, To: toLockd, Way: Ask, Answer: tAdmission, Max: small, New: func() Message { return new(Enter) }},
	tAdmission: {Name: "Admission", From: toLockd, To: toSession, Way: Answer, Max: small, New: func() Message { return new(Admission) }, Back: admissionBack},
	tAnnounce:  {Name: "Announce", From: toSession, To: toLockd, Max: large, New: func() Message { return new(Announce) }},
	tLeave:     {Name: "Leave", From: toSession, To: toLockd, Max: small, New: func() Message { return new(Leave) }, Gives: true},
	tCounts:    {Name: "Counts", From: toSession, To: toLockd, Max: small, New: func() Message { return new(Counts) }},
	tOffence:   {Name: "Offence", From: toSession, To: toLockd, Way: Ask, Answer: tDone, Report: true, Max: medium, New: func() Message { return new(Offence) }},
	tLocked:    {Name: "Locked", From: toLockd, To: toSession, Max: medium, New: func() Message { return new(Locked) }},
	tSnapshot:  {Name: "Snapshot", From: toLockd, To: toSession, Way: Ask, Answer: tLive, Max: small, New: func() Message { return new(Snapshot) }},
	tLive:      {Name: "Live", From: toSession, To: toLockd, Way: Answer, Max: large, New: func() Message { return new(Live) }},
	tScan:      {Name: "Scan", From: toSession, To: set(Scand), Way: Ask, Answer: tVerdict, Files: 1, Max: small, New: func() Message { return new(Scan) }},
	tVerdict:   {Name: "Verdict", From: set(Scand), To: toSession, Way: Answer, Max: medium, New: func() Message { return new(Verdict) }},
	tListed:    {Name: "Listed", From: toSession, To: set(Lookupd), Way: Ask, Answer: tListing, Max: small, New: func() Message { return new(Listed) }},
	tListing:   {Name: "Listing", From: set(Lookupd), To: toSession, Way: Answer, Max: small, New: func() Message { return new(Listing) }},
	tLocate:    {Name: "Locate", From: toSession, To: set(Lookupd), Way: Ask, Answer: tLocation, Max: small, New: func() Message { return new(Locate) }},
	tLocation:  {Name: "Location", From: set(Lookupd), To: toSession, Way: Answer, Max: small, New: func() Message { return new(Location) }},
	tSPF:       {Name: "SPF", From: toSession, To: set(Lookupd), Way: Ask, Answer: tSPFResult, Max: medium, New: func() Message { return new(SPF) }},
	tSPFResult: {Name: "SPFResult", From: set(Lookupd), To: toSession, Way: Answer, Max: small, New: func() Message { return new(SPFResult) }},
	tIdent:     {Name: "Ident", From: toSession, To: toLockd, Way: Ask, Answer: tAdmission, Max: small, New: func() Message { return new(Ident) }},
	tUse:       {Name: "Use", From: toSession, To: toLockd, Way: Ask, Answer: tAllowance, Max: small, New: func() Message { return new(Use) }},
	tAllowance: {Name: "Allowance", From: toLockd, To: toSession, Way: Answer, Max: small, New: func() Message { return new(Allowance) }, Back: allowanceBack},
	tUnused:    {Name: "Unused", From: toSession, To: toLockd, Max: small, New: func() Message { return new(Unused) }, Gives: true},
	tGiveUp:    {Name: "GiveUp", From: toSession, To: set(Lookupd, Scand), Max: small, New: func() Message { return new(GiveUp) }},

	tRun: {Name: "Run", From: toLockd, To: set(Action), Max: medium, New: func() Message { return new(Run) }},
	tRan: {Name: "Ran", From: set(Action), To: toLockd, Max: small, New: func() Message { return new(Ran) }},

	tStatus:       {Name: "Status", From: toOperator, To: toLockd, Way: Ask, Answer: tStatusReport, Max: small, New: func() Message { return new(Status) }},
	tStatusReport: {Name: "StatusReport", From: toLockd, To: toOperator, Way: Answer, Max: large, New: func() Message { return new(StatusReport) }},
	tSessions:     {Name: "Sessions", From: toOperator, To: toLockd, Way: Ask, Answer: tSessionList, Max: small, New: func() Message { return new(Sessions) }},
	tSessionList:  {Name: "SessionList", From: toLockd, To: toOperator, Way: Answer, Max: large, New: func() Message { return new(SessionList) }},
	tLocks:        {Name: "Locks", From: toOperator, To: toLockd, Way: Ask, Answer: tLockList, Max: small, New: func() Message { return new(Locks) }},
	tLockList:     {Name: "LockList", From: toLockd, To: toOperator, Way: Answer, Max: large, New: func() Message { return new(LockList) }},
	tLock:         {Name: "Lock", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(Lock) }},
	tUnlock:       {Name: "Unlock", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(Unlock) }},
	tReloadNow:    {Name: "ReloadNow", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(ReloadNow) }},
	tStopNow:      {Name: "StopNow", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(StopNow) }},
	tRates:        {Name: "Rates", From: toOperator, To: toLockd, Way: Ask, Answer: tRateList, Max: small, New: func() Message { return new(Rates) }},
	tRateList:     {Name: "RateList", From: toLockd, To: toOperator, Way: Answer, Max: large, New: func() Message { return new(RateList) }},
	tRateShow:     {Name: "RateShow", From: toOperator, To: toLockd, Way: Ask, Answer: tRateRecord, Max: small, New: func() Message { return new(RateShow) }},
	tRateRecord:   {Name: "RateRecord", From: toLockd, To: toOperator, Way: Answer, Max: medium, New: func() Message { return new(RateRecord) }},
	tRateSetQuota: {Name: "RateSetQuota", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(RateSetQuota) }},
	tRateReset:    {Name: "RateReset", From: toOperator, To: toLockd, Way: Ask, Answer: tDone, Max: small, New: func() Message { return new(RateReset) }},
}

// entry returns the row of t, or nil for a type nobody knows.
func entry(t Type) *Entry {
	if t == 0 || t >= types {
		return nil
	}
	return &Table[t]
}

// PrintTable writes the table for people: the manual page and README show it.
func PrintTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "message\tfrom\tto\tway\tfiles\tlargest\tanswered by")
	for t := Type(1); t < types; t++ {
		e := &Table[t]
		answer := "-"
		if e.Way == Ask {
			answer = Table[e.Answer].Name
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", e.Name, e.From, e.To, e.Way, e.Files, e.Max, answer)
	}
	return tw.Flush()
}

// Fingerprint is a hash of the table and of every message's fields. Two
// programs talk only if theirs are equal.
func Fingerprint() uint64 {
	h := fnv.New64a()
	PrintTable(h)
	for t := Type(1); t < types; t++ {
		describe(h, reflect.TypeOf(Table[t].New()).Elem())
	}
	return h.Sum64()
}

func describe(w io.Writer, t reflect.Type) {
	switch {
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		fmt.Fprintf(w, "[%s", t.Kind())
		describe(w, t.Elem())
	case t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Entry]().PkgPath():
		for i := range t.NumField() {
			fmt.Fprintf(w, "%s ", t.Field(i).Name)
			describe(w, t.Field(i).Type)
		}
	default:
		fmt.Fprintf(w, "%s;", t)
	}
}
