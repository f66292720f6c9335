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

// Type numbers a message on the wire: its place in Table, from 1.
type Type uint16

// Message is anything that can cross a link: a pointer to a struct that has a row
// in Table. It is a Notice, a Question, or what answers one.
type Message any

// Notice is a message that is told: nothing comes back.
type Notice interface{ notice() }

// Question is a message that is asked. A answers it, or a Failure.
type Question[A any] interface{ answer(*A) }

// Way is the kind of conversation a message belongs to.
type Way uint8

// A message is told, asked, or answers what was asked.
const (
	Tell Way = iota
	Ask
	Answer
)

var wayNames = [...]string{Tell: "tell", Ask: "ask", Answer: "answer"}

func (w Way) String() string { return wayNames[w] }

// Entry is one row of the table.
type Entry struct {
	Type   Type
	Name   string
	From   Rooms
	To     Rooms
	Denied Rooms // who may ask it, too, and hears ReadOnly: nobody looks at what it says
	Way    Way
	Answer string // of an Ask: the name of the one type that answers it (a Failure always may)
	Report bool   // of an Ask: it tells what has happened, is never refused, and is dealt with when its asker waits no more
	Files  int    // descriptors that must come with it, no more and no less
	Max    int    // largest body in octets
	New    func() Message

	rules func() (rule, error) // of its message's fields

	// Back is for an Answer that hands something out: what is told to give it
	// back when nobody waits for it any more, or nil if it hands out nothing. An
	// answer says enough of itself for that, for its question is forgotten.
	Back func(Message) Notice

	// Gives is for what gives back what was handed out. A full queue takes it all
	// the same: there is no more of it than of that, and no later word makes up
	// for it.
	Gives bool

	// Spare is for what is told with descriptors and can be done without: where the
	// receiver has none free for them, it is as if it had not been told.
	Spare bool
}

// HeaderLen is what a frame has before its body, in octets.
const HeaderLen = 16

// How long bodies may be, in octets. MaxBody bounds all that is said in daily
// life; more is only configuration, for which the parent raises the socket's
// buffers.
const (
	small   = 1 << 10
	medium  = 8 << 10
	MaxBody = 64<<10 - HeaderLen
	huge    = 1 << 20
)

var (
	toParent   = set(Parent)
	toSession  = set(Session)
	toLockd    = set(Lockd)
	toKeys     = set(Keys)
	toOperator = set(Control)
	operators  = set(Control, Reader)
	children   = set(Children()...)
)

// Table is the map of the house, in the order of Type. The fingerprint in Hello
// keeps two different tables from talking to each other.
var Table = number([]Entry{
	answer[Failure](children|toParent, children|toParent|operators, small),
	answer[Done](set(Parent, Lockd), set(Parent, Session, Lockd, Control), medium),

	// between the parent and a room
	tell[Hello](children, toParent, small),
	tell[SessionConfig](toParent, set(Session), huge),
	tell[LookupdConfig](toParent, set(Lookupd), huge),
	tell[ScandConfig](toParent, set(Scand), huge),
	tell[LockdConfig](toParent, set(Lockd), huge),
	tell[ActionConfig](toParent, set(Action), huge),
	tell[KeysConfig](toParent, toKeys, huge),
	tell[Sink](toParent, children, small).withFile(),
	tell[Peer](toParent, children, small).withFile(),
	tell[Listener](toParent, toSession, small).withFile(),
	tell[ControlSocket](toParent, toLockd, small).withFile(),
	tell[Ledger](toParent, toLockd, small).withFile(),
	tell[Ready](children, toParent, small),
	tell[Start](toParent, children, small),
	tell[Drain](toParent, children, MaxBody),
	tell[Drained](toSession, toParent, small),
	tell[BadPeer](children, toParent, small),
	tell[Family](toParent, toLockd, MaxBody),
	tell[Load](toParent, toLockd, small),
	tell[Condition](toLockd, toParent, small),
	ask[Dump, Done](toParent, toLockd, small).withFile(),
	ask[Reload, Done](toLockd, toParent, small),
	ask[Upgrade, Done](toLockd, toParent, small),
	ask[Stop, Done](toLockd, toParent, small),
	ask[LogLevel, Done](toLockd, toParent, small),
	tell[NatDevice](toParent, set(Lookupd), small).withFile(),
	tell[RateStore](toParent, toLockd, small).withFile(),
	tell[HistoryFile](toParent, toLockd, small).withFile(),
	tell[ExemptFile](toParent, toLockd, small).withFile(),
	tell[Pair](toParent, toKeys, small).withFiles(2),
	tell[PairLost](toParent, toKeys, small),
	tell[Shown](toKeys, toParent, small),
	tell[TicketKeys](toParent, toKeys, small),
	tell[Sockets](toSession, toParent, small),
	tell[Socket](toParent, toSession, small).withFile(),
	ask[Ping, Pong](toParent, children, small),
	answer[Pong](children, toParent, small),

	// a session asks
	ask[Enter, Admission](toSession, toLockd, small),
	givenBackBy(answer[Admission](toLockd, toSession, small), admissionBack),
	tell[Announce](toSession, toLockd, MaxBody),
	tell[Leave](toSession, toLockd, small).gives(),
	tell[Counts](toSession, toLockd, small),
	tell[Events](toSession, toLockd, MaxBody),
	tell[Observed](toSession, toLockd, MaxBody),
	ask[Offence, Done](toSession, toLockd, medium).report(),
	tell[Locked](toLockd, toSession, medium),
	tell[MustEnd](toLockd, toSession, small),
	tell[TraceFile](toLockd, toSession, small).withFile().spare(),
	tell[TraceEnd](toLockd, toSession, small),
	ask[Snapshot, Live](toLockd, toSession, small),
	answer[Live](toSession, toLockd, MaxBody),
	ask[Scan, Verdict](toSession, set(Scand), small).withFile(),
	answer[Verdict](set(Scand), toSession, medium),
	ask[DNSBLQuery, DNSBLResult](toSession, set(Lookupd), small),
	answer[DNSBLResult](set(Lookupd), toSession, small),
	ask[TargetQuery, TargetResult](toSession, set(Lookupd), small),
	answer[TargetResult](set(Lookupd), toSession, small),
	ask[SPF, SPFResult](toSession, set(Lookupd), medium),
	answer[SPFResult](set(Lookupd), toSession, small),
	ask[Ident, Admission](toSession, toLockd, small),
	ask[LoginTaken, LoginResult](toSession, toLockd, small),
	answer[LoginResult](toLockd, toSession, small),
	ask[QuotaUse, QuotaResult](toSession, toLockd, small),
	givenBackBy(answer[QuotaResult](toLockd, toSession, small), allowanceBack),
	tell[QuotaUnused](toSession, toLockd, small).gives(),
	tell[GiveUp](toSession, set(Lookupd, Scand, Keys), small),
	tell[Certificate](toKeys, toSession, MaxBody),
	ask[Sign, Signature](toSession, toKeys, small),
	answer[Signature](toKeys, toSession, 2*small),
	ask[SealTicket, Ticket](toSession, toKeys, medium),
	answer[Ticket](toKeys, toSession, medium),
	ask[OpenTicket, TicketState](toSession, toKeys, medium),
	answer[TicketState](toKeys, toSession, medium),
	tell[Certificates](toKeys, toLockd, MaxBody),

	// lockd to the script runner
	tell[Run](toLockd, set(Action), medium),
	tell[RunDone](set(Action), toLockd, small),

	// the operator asks, and who may only look
	ask[Status, StatusReport](operators, toLockd, small),
	answer[StatusReport](toLockd, operators, MaxBody),
	ask[Sessions, SessionList](operators, toLockd, small),
	answer[SessionList](toLockd, operators, MaxBody),
	ask[EndSession, Done](toOperator, toLockd, small).order(),
	ask[Locks, LockList](operators, toLockd, small),
	answer[LockList](toLockd, operators, MaxBody),
	ask[Lock, Done](toOperator, toLockd, small).order(),
	ask[Unlock, Done](toOperator, toLockd, small).order(),
	ask[ReloadNow, Done](toOperator, toLockd, small).order(),
	ask[UpgradeNow, Done](toOperator, toLockd, small).order(),
	ask[StopNow, Done](toOperator, toLockd, small).order(),
	ask[SetLogLevel, Done](toOperator, toLockd, small).order(),
	ask[Rates, RateList](operators, toLockd, small),
	answer[RateList](toLockd, operators, MaxBody),
	ask[RateShow, RateRecord](operators, toLockd, small),
	answer[RateRecord](toLockd, operators, medium),
	ask[RateSetQuota, Done](toOperator, toLockd, small).order(),
	ask[RateReset, Done](toOperator, toLockd, small).order(),
	ask[EventsAfter, EventList](operators, toLockd, small),
	answer[EventList](toLockd, operators, MaxBody),
	ask[Explain, Explanation](operators, toLockd, small),
	answer[Explanation](toLockd, operators, MaxBody),
	ask[HistoryForget, Done](toOperator, toLockd, small).order(),
	ask[ScanNow, FileVerdict](toOperator, toLockd, small).withFile().order(),
	ask[ScanFile, FileVerdict](toLockd, toSession, small).withFile(),
	answer[FileVerdict](set(Session, Lockd), set(Lockd, Control), medium),
	ask[Trace, Done](toOperator, toLockd, small).order().withFile(),
	ask[Exemptions, ExemptionList](operators, toLockd, small),
	answer[ExemptionList](toLockd, operators, MaxBody),
	ask[ExemptAdd, Done](toOperator, toLockd, medium).order(),
	ask[ExemptRemove, Done](toOperator, toLockd, small).order(),
})

func tell[M any, P interface {
	*M
	Notice
}](from, to Rooms, most int) Entry {
	return row[M](Tell, from, to, most)
}

func ask[M, A any, P interface {
	*M
	Question[A]
}](from, to Rooms, most int) Entry {
	e := row[M](Ask, from, to, most)
	e.Answer = reflect.TypeFor[A]().Name()
	return e
}

func answer[M any](from, to Rooms, most int) Entry { return row[M](Answer, from, to, most) }

func row[M any](way Way, from, to Rooms, most int) Entry {
	return Entry{
		Name: reflect.TypeFor[M]().Name(), From: from, To: to, Way: way, Max: most,
		New: func() Message { return new(M) }, rules: rulesOf(reflect.TypeFor[M]()),
	}
}

func (e Entry) withFile() Entry { return e.withFiles(1) }
func (e Entry) withFiles(n int) Entry {
	e.Files = n
	return e
}

func (e Entry) report() Entry { e.Report = true; return e }
func (e Entry) gives() Entry  { e.Gives = true; return e }
func (e Entry) spare() Entry  { e.Spare = true; return e }

// order is for what an operator asks that changes something.
func (e Entry) order() Entry { e.Denied = set(Reader); return e }

// givenBackBy says what gives back what the answer M hands out.
func givenBackBy[M any, B any, P interface {
	*B
	Notice
}](e Entry, back func(*M) P) Entry {
	e.Back = func(m Message) Notice {
		if a, ok := m.(*M); ok {
			if b := back(a); b != nil {
				return b
			}
		}
		return nil
	}
	return e
}

// number gives each row its type.
func number(rows []Entry) []Entry {
	for i := range rows {
		rows[i].Type = Type(i + 1)
	}
	return rows
}

// byGo finds the row of a message.
var byGo = func() map[reflect.Type]*Entry {
	m := make(map[reflect.Type]*Entry, len(Table))
	for i := range Table {
		m[reflect.TypeOf(Table[i].New())] = &Table[i]
	}
	return m
}()

// Row returns the row of a message, or nil if it has none.
func Row(m Message) *Entry { return byGo[reflect.TypeOf(m)] }

// RowOf returns the row of a type, or nil for one nobody knows.
func RowOf(t Type) *Entry {
	if t == 0 || int(t) > len(Table) {
		return nil
	}
	return &Table[t-1]
}

// Order tells whether the message changes something, and who only looks may not ask it.
func (e *Entry) Order() bool { return e.Denied.Has(Reader) }

// Crosses tells whether the message may come from one room to another, be it to be
// denied.
func (e *Entry) Crosses(from, to Room) bool { return (e.From | e.Denied).Has(from) && e.To.Has(to) }

// PrintTable writes the table for people: the manual page and README show it.
func PrintTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "message\tfrom\tto\tway\tfiles\tlargest\tanswered by")
	for i := range Table {
		e := &Table[i]
		answer := "-"
		if e.Way == Ask {
			answer = e.Answer
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", e.Name, e.From, e.To, e.Way, e.Files, e.Max, answer)
	}
	return tw.Flush()
}

// Fingerprint is a hash of the table and of every message's fields and their rules. Two
// programs talk only if theirs are equal.
func Fingerprint() uint64 {
	h := fnv.New64a()
	PrintTable(h)
	for i := range Table {
		Table[i].describe(h)
	}
	describeSlots(h)
	return h.Sum64()
}

// FingerprintBetween is one of what two rooms say to each other: those of two programs
// talk if theirs are equal.
func FingerprintBetween(a, b Room) uint64 {
	h := fnv.New64a()
	for i := range Table {
		e := &Table[i]
		there, back := e.From.Has(a) && e.To.Has(b), e.From.Has(b) && e.To.Has(a)
		if there || back {
			fmt.Fprintln(h, e.Type, e.Name, there, back, e.Way, e.Answer, e.Report, e.Files, e.Max, e.Gives)
			e.describe(h)
		}
	}
	describeSlots(h)
	return h.Sum64()
}

// describeSlots names what is counted: a number that means something else to who hears it
// would be added to the wrong sum.
func describeSlots(w io.Writer) {
	for c := range Counters {
		fmt.Fprintln(w, c)
	}
	for h := range Histograms {
		fmt.Fprintln(w, h, TimeBounds)
	}
}

func (e *Entry) describe(w io.Writer) { describe(w, reflect.TypeOf(e.New()).Elem()) }

func describe(w io.Writer, t reflect.Type) {
	switch {
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		fmt.Fprintf(w, "[%s", t.Kind())
		describe(w, t.Elem())
	case t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Entry]().PkgPath():
		for field := range t.Fields() {
			fmt.Fprintf(w, "%s %s ", field.Name, field.Tag)
			describe(w, field.Type)
		}
	default:
		fmt.Fprintf(w, "%s;", t)
	}
}
