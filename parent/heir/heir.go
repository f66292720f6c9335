// Package heir is what a parent and the program that takes over from it, its heir, say to
// each other: over a pair of sockets, each message with the descriptors that belong to
// it. Both ends are parents, and trust each other; but they are two versions of one
// program, and only what stands here must be the same in both. What they hand over and
// when, they decide.
//
// This file owns the words.
package heir

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Protocol is the version of all this. What is added as a field of its own, and can be
// done without, changes nothing: either end passes over fields it does not know.
const Protocol = 1

// Word says what a message is. The numbers stay what they are.
type Word uint8

// The words, in the order in which they are said. A word of the elder's is his who hands
// over, one of the heir's is hers who takes over.
const (
	Hello    Word = iota + 1 // elder: who speaks. Always the first
	Listener                 // elder: one of them, with its sockets
	Control                  // elder: a socket of config.ControlSockets
	Ledger                   // elder: the file of the counters
	Estate                   // elder: that was all
	Ready                    // heir: every room is, but lockd
	Worker                   // elder: a link to one of his, for her lockd
	Yours                    // elder: his lockd has ended, hers may open what it had
	Serving                  // heir: sessions are accepted
	Leave                    // elder: the names are hers
	Family                   // elder: his rooms that are left
	Relink                   // heir: her lockd is another one, each Worker please again
	Linked                   // elder: that was each
	Failed                   // heir: why she gives up
	End                      // heir: she ends at once, and so should he
)

// Message is what is said: Word says which of the others count.
type Message struct {
	Word     Word
	Version  string            `msgpack:",omitempty"` // Hello: of the program
	Protocol int               `msgpack:",omitempty"` // Hello
	Language uint64            `msgpack:",omitempty"` // Hello: see Language
	Listener *ListenerFacts    `msgpack:",omitempty"`
	Role     imsg.Room         `msgpack:",omitempty"` // Control: of who connects; 0: imsg.Control
	Path     string            `msgpack:",omitempty"` // Control: of the socket; Estate: of the pid file
	Tickets  []imsg.TicketKey  `msgpack:",omitempty"` // Estate: that session tickets are sealed with
	Shown    map[string]int64  `msgpack:",omitempty"` // Estate: until when clients may trust a certificate, by its file
	Started  map[imsg.Room]int `msgpack:",omitempty"` // Estate: how many rooms of each kind, ever
	Number   int               `msgpack:",omitempty"` // Estate: of the generation in force; Worker: of the worker
	Members  []imsg.Member     `msgpack:",omitempty"` // Family
	Closing  []netip.AddrPort  `msgpack:",omitempty"` // Serving: listeners that she has no use for
	Reload   bool              `msgpack:",omitempty"` // Leave: he was asked to reload while she took over
	Text     string            `msgpack:",omitempty"` // Failed
}

// ListenerFacts are what there is to know of a listener beside its sockets.
type ListenerFacts struct {
	Configured  netip.AddrPort // the address of the configuration, invalid if the service manager gave it
	Addr        netip.AddrPort // where it is bound
	Name        string         // as the service manager calls it, or what tells it from another with a picked port
	Given       bool           // by the service manager
	Transparent bool           // takes connections that are not for our addresses
	Open        int            // how many of the sockets, from the first, may be connected to
	Backlog     int            // of those
}

// Language is what a worker and lockd must have in common: the workers of the one program
// speak to the lockd of the other.
func Language() uint64 { return imsg.FingerprintBetween(imsg.Session, imsg.Lockd) }

// Introduce is an elder's first message.
func Introduce(version string) *Message {
	return &Message{Word: Hello, Version: version, Protocol: Protocol, Language: Language()}
}

// Understands tells an heir, by the first message, whether it can take over from who says
// it. The error tells what to do instead.
func Understands(m *Message) error {
	switch {
	case m.Word != Hello:
		return errors.New("what runs hands nothing over")
	case m.Protocol != Protocol:
		return fmt.Errorf("what runs, version %s, hands over by protocol %d, this program takes over by protocol %d: it needs a restart", m.Version, m.Protocol, Protocol)
	case m.Language != Language():
		return fmt.Errorf("the sessions of what runs, version %s, would not understand this program: it needs a restart", m.Version)
	}
	return nil
}
