// What the worker asks the room that has the keys. This file owns how long it waits for
// that: a handshake that cannot be finished is best ended soon.

package session

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// keysWait is for one answer.
const keysWait = 5 * time.Second

// keyring is that room, as certificate.Keys has it.
type keyring struct{ room link.Peer }

// askKeys asks it; if it is away that is the answer.
func askKeys[A any](k *keyring, q imsg.Question[A]) (*A, error) {
	conn := k.room.Get()
	if conn == nil {
		return nil, imsg.Gone
	}
	return link.Ask(conn, q, keysWait)
}

func (k *keyring) Sign(q *imsg.Sign) (*imsg.Signature, error)         { return askKeys(k, q) }
func (k *keyring) Seal(q *imsg.SealTicket) (*imsg.Ticket, error)      { return askKeys(k, q) }
func (k *keyring) Open(q *imsg.OpenTicket) (*imsg.TicketState, error) { return askKeys(k, q) }

// attachKeys takes up the room that has the keys, and hears from it of certificates.
func (w *worker) attachKeys(r link.Request, m *imsg.Peer) error {
	conn, err := w.parent.Accept(r, m, func(r link.Request) {
		defer r.Close()
		c, ok := r.Message.(*imsg.Certificate)
		if !ok {
			return
		}
		if err := w.certificates.Take(c); err != nil {
			w.log.Error("link closed", "peer", m.Room, "member", m.Member, "reason", err)
			w.parent.Send(&imsg.BadPeer{Room: m.Room, Member: m.Member})
			r.From().Close()
		}
	})
	if err == nil {
		w.keyring.room.Set(conn)
	}
	return err
}
