// Events: what has happened that an operator, an abuse desk or a program beside us may
// want to know of. This file owns their kinds and fields, in one table each: the tool,
// the history, the exporter and the manual follow them. A field or a kind is only ever
// added.

package imsg

import (
	"net/netip"
	"time"
)

// EventKind is a kind of event.
type EventKind uint8

// The kinds. The first three tell of what a client heard.
const (
	EventRefuse EventKind = iota + 1
	EventReject
	EventDefer
	EventLock
	EventUnlock
	EventExpire
	EventScan
	EventUnscanned
	EventAuthFail
	EventWould
	EventFinding
	EventReload
	EventRoom
	EventLost
	EventSession

	EventKinds // how many there are, and one
)

// EventKindRow is all there is to say of a kind.
type EventKindRow struct {
	Name  string
	Help  string // a sentence
	From  Rooms  // who may tell of it; nobody: it is lockd's own
	Named bool   // it is shown only to who asks for it by name
}

// EventKindTable tells of each kind.
var EventKindTable = [EventKinds]EventKindRow{
	EventRefuse:    {"refuse", "A connection was refused, in place of a greeting.", toSession, false},
	EventReject:    {"reject", "A command or a message was refused for good.", toSession, false},
	EventDefer:     {"defer", "A command or a message was refused for now.", toSession, false},
	EventLock:      {"lock", "A client was locked out.", 0, false},
	EventUnlock:    {"unlock", "A lock was removed.", 0, false},
	EventExpire:    {"expire", "A lock has come to its end.", 0, false},
	EventScan:      {"scan", "An engine has looked at a message, or could not.", toSession, false},
	EventUnscanned: {"unscanned", "A message passed that no engine has looked at.", toSession, false},
	EventAuthFail:  {"auth-fail", "A server refused a log-in.", toSession, false},
	EventWould:     {"would", "A rule of policy.monitor would have refused.", toSession, false},
	EventFinding:   {"finding", "A finding of status has begun, or ended.", 0, false},
	EventReload:    {"reload", "The configuration was read again.", 0, false},
	EventRoom:      {"room", "A room has ended unasked, or hung, and was replaced.", 0, false},
	EventLost:      {"lost", "Events were lost: there were more than could be kept.", 0, false},
	EventSession:   {"session", "A session was admitted, or has ended; the detail is open or close.", 0, true},
}

func (k EventKind) String() string { return EventKindTable[k%EventKinds].Name }

// Event is one event. What does not apply is zero, and is not shown.
type Event struct {
	Time       int64     `rule:"0.."` // Unix nanoseconds
	Kind       EventKind `rule:"1.."`
	ID         string    `rule:"..64 name"` // of the session: what its client can quote
	Client     netip.AddrPort
	Ident      string `rule:"..MaxIdent word"`
	Login      string `rule:"..MaxLogin login"` // of the session, as Login writes it
	Claimed    string `rule:"..MaxLogin login"` // by a log-in that the server refused
	Target     netip.AddrPort
	Rule       PolicyRule
	Detail     string  `rule:"..255 printable"` // what of the rule: a block list and its answer, a quota, a lock's name, a finding and its object, a room
	Code       int     `rule:"0..599"`          // of the reply
	Text       string  `rule:"..512 printable"` // of the reply, or the last that is known
	Engine     string  `rule:"..32 printable"`
	Virus      string  `rule:"..255 printable"`
	Scored     bool    // Score means something
	Score      float64 `rule:"-MaxScore..MaxScore"`
	Size       int64   `rule:"0.."` // of the message, in octets
	MessageID  string  `rule:"..MaxHeader printable"`
	Sender     string  `rule:"..MaxSender printable"`
	Subject    string  `rule:"..MaxSubject readable"`
	ServerName string  `rule:"..MaxHeader printable"` // that a client asks for in TLS
	Until      int64   `rule:"0.."`                   // of a lock, Unix nanoseconds
	Would      EventKind
	Count      uint64 `rule:"any: it is only shown"`
}

// How long fields of an event may be, in octets.
const (
	MaxHeader  = 255 // a Message-ID, a host (RFC 1035, 2.3.4)
	MaxSender  = 320 // of an address: 64 before the "@", 255 behind it (RFC 5321, 4.5.3.1)
	MaxSubject = 200
)

// EventPage is the largest number of events in one message: as many as fit
// with the longest texts.
const EventPage = 23

// EventKindSet is a set of kinds.
type EventKindSet uint32

// Has tells whether k is in the set.
func (s EventKindSet) Has(k EventKind) bool { return s&(1<<k) != 0 }

// With is the set and k.
func (s EventKindSet) With(k EventKind) EventKindSet { return s | 1<<k }

// UsualEvents are the kinds that need not be asked for by name.
func UsualEvents() (s EventKindSet) {
	for k := range EventKinds {
		if k > 0 && !EventKindTable[k].Named {
			s = s.With(k)
		}
	}
	return s
}

// ParseEventKind is the inverse of String.
func ParseEventKind(name string) (EventKind, bool) {
	for k := range EventKinds {
		if k > 0 && EventKindTable[k].Name == name {
			return k, true
		}
	}
	return 0, false
}

// Events is what a worker has to tell, at most so often as ten times a second. Lost
// counts what there was no room for.
type Events struct {
	Events []Event `rule:"..EventPage"`
	Lost   uint64  `rule:"..MaxReport"`
}

func (*Events) notice() {}

// EventsAfter asks for events, oldest first. If there is none, the answer waits for one.
type EventsAfter struct {
	After  uint64        `rule:"any: those behind it are looked up"` // number of the last one that is known, 0: none is
	Since  int64         `rule:"0.."`                                // and those that happened earlier are not wanted, Unix nanoseconds
	Kinds  EventKindSet  `rule:"any: those of no kind there is are none"`
	Client netip.Addr    // of clients, with Bits leading ones; invalid: any
	Bits   int           `rule:"0..128"`
	Login  string        `rule:"..MaxLogin login"` // of whom, or claimed, as Login writes it; empty: any
	Wait   time.Duration `rule:"0..1m"`            // at most
}

func (*EventsAfter) answer(*EventList) {}

// EventList answers EventsAfter. It is empty when there was none in time.
type EventList struct {
	Events []Event `rule:"..EventPage"`
	Last   uint64  `rule:"any: it is only said again"` // the number to go on behind
	Lost   uint64  `rule:"any: it is only shown"`      // events that went by, too old to be kept
}

// EventField is one field as it is shown: its name in JSON, and what it holds.
type EventField struct {
	Name  string
	Help  string
	Value func(*Event) any // nil: absent
}

// EventFields is the one table of them, in the order in which they are shown.
var EventFields = []EventField{
	{"time", "when it happened", func(e *Event) any { return time.Unix(0, e.Time) }},
	{"kind", "what happened", func(e *Event) any { return e.Kind.String() }},
	{"id", "the session, as log, headers and replies name it", func(e *Event) any { return present(e.ID) }},
	{"client", "its client's address", func(e *Event) any { return present(e.Client.Addr()) }},
	{"port", "and port", func(e *Event) any { return present(e.Client.Port()) }},
	{"ident", "whom a router says the client calls for", func(e *Event) any { return present(e.Ident) }},
	{"login", "whom the server took the client for, by its log-in", func(e *Event) any { return present(e.Login) }},
	{"claimed", "whom a log-in was for that the server refused", func(e *Event) any { return present(e.Claimed) }},
	{"target", "the server", func(e *Event) any { return present(e.Target) }},
	{"rule", "what decided", func(e *Event) any { return present(e.Rule.String()) }},
	{"detail", "and what of it: a block list and its answer, a quota, a lock's name, a finding and its object, a room", func(e *Event) any { return present(e.Detail) }},
	{"code", "of the reply", func(e *Event) any { return present(e.Code) }},
	{"text", "of the reply; of a finding, what was last seen", func(e *Event) any { return present(e.Text) }},
	{"engine", "that looked", func(e *Event) any { return present(e.Engine) }},
	{"virus", "its name", func(e *Event) any { return present(e.Virus) }},
	{"score", "of the message", func(e *Event) any {
		if !e.Scored {
			return nil
		}
		return e.Score
	}},
	{"size", "of the message, in octets", func(e *Event) any { return present(e.Size) }},
	{"message_id", "its Message-ID", func(e *Event) any { return present(e.MessageID) }},
	{"sender", "its envelope sender", func(e *Event) any { return present(e.Sender) }},
	{"subject", "its Subject, where history.subject is on", func(e *Event) any { return present(e.Subject) }},
	{"server_name", "the server that the client asks for as it begins TLS; nobody has checked it", func(e *Event) any { return present(e.ServerName) }},
	{"until", "when the lock ends", func(e *Event) any {
		if e.Until == 0 {
			return nil
		}
		return time.Unix(0, e.Until)
	}},
	{"would", "what was not done: refuse, reject or defer", func(e *Event) any { return present(e.Would.String()) }},
	{"count", "how many", func(e *Event) any { return present(e.Count) }},
}

// present is v, or nil if there is nothing to it.
func present[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}
