// Package keys is the room that holds private keys, and the keys of session tickets. A
// worker that was taken over has a signature made, as often as it may, and never a key.
//
// The parent opens the files and hands them over; nothing but this room reads them.
package keys

// This file owns the room: what it is told, whom it tells of certificates, and who asks
// too often or what makes no sense.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/keys/pair"
)

// maxHeld bounds the questions that are worked on at once.
const maxHeld = 1024

// room is the room's state.
type room struct {
	parent  *process.Parent
	service *process.Service
	log     *slog.Logger

	mu      sync.Mutex
	config  imsg.KeysConfig
	slots   []slot // by number
	ready   func() // says so, until it was said
	tickets *tickets
	workers map[*link.Conn]bool
	lockd   link.Peer
}

// slot is a certificate of the configuration.
type slot struct {
	heard   bool       // of its files
	pair    *pair.Pair // that is shown; nil: there is none
	before  *pair.Pair // that was shown before, and may be asked for still
	problem string
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	return process.Main(f, imsg.Keys, func(p *process.Parent) process.Room[imsg.KeysConfig] {
		k := &room{
			parent: p, service: process.NewService(p, maxHeld), log: p.Log(),
			tickets: newTickets(nil), workers: make(map[*link.Conn]bool),
		}
		return process.Room[imsg.KeysConfig]{
			Configure: k.configure,
			Ready:     k.whenReady,
			Peers:     map[imsg.Room]process.Peer{imsg.Session: k.attachWorker, imsg.Lockd: k.attachLockd},
			Other:     k.fromParent,
		}
	})
}

func (k *room) configure(c *imsg.KeysConfig) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.config, k.slots = *c, make([]slot, len(c.Certificates))
	return nil
}

// whenReady says so when the files of all certificates have come.
func (k *room) whenReady(say func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = say
	k.settle()
}

// settle is when something of the certificates has changed; mu is held.
func (k *room) settle() {
	for i := range k.slots {
		if !k.slots[i].heard {
			return
		}
	}
	if k.ready != nil {
		k.ready()
		k.ready = nil
	}
}

func (k *room) fromParent(r link.Request) {
	defer r.Close()
	switch m := r.Message.(type) {
	case *imsg.Pair:
		p, err := pair.Read(k.names(m.Number), r.Files[0], r.Files[1])
		k.take(m.Number, p, err)
	case *imsg.PairLost:
		k.take(m.Number, nil, errors.New(m.Problem))
	case *imsg.TicketKeys:
		k.mu.Lock()
		k.tickets = newTickets(m.Keys)
		k.mu.Unlock()
	case *imsg.Drain:
		k.service.Drain()
	}
}

// names are the files of a certificate.
func (k *room) names(number int) (n imsg.PairNames) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if number >= 0 && number < len(k.slots) {
		n = k.config.Certificates[number]
	}
	return n
}

// take puts a pair in the place of the one before, or says why it stays. One that clients
// do not trust any more, or not yet, is better than none: most mail servers do not look.
func (k *room) take(number int, p *pair.Pair, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if number < 0 || number >= len(k.slots) {
		return
	}
	s, names, now := &k.slots[number], k.config.Certificates[number], time.Now()
	s.heard = true
	var untimely error
	if err == nil {
		if untimely = p.Timely(now); untimely != nil && k.hasTimely(number, now) {
			err = fmt.Errorf("its chain: %w", untimely)
		}
	}
	if err != nil && k.config.Strict && s.pair == nil {
		k.parent.End(fmt.Errorf("certificate %s: %w", names.Chain, err))
		return
	}
	about := k.log.With("chain", names.Chain, "key", names.Key)
	if err != nil {
		s.problem = imsg.Printable(err.Error(), 200)
		about.Error("certificate is not taken", "error", err, "there_is_one", s.pair != nil)
	} else {
		if s.pair != nil && s.pair.ID != p.ID {
			s.before = s.pair
		}
		s.pair, s.problem = p, ""
		shown := &imsg.Shown{Number: number}
		if untimely == nil {
			about.Info("certificate", "name", p.Name, "end", p.End)
			shown.Until = p.End.Unix()
		} else {
			about.Error("certificate is shown, and clients that look will not trust it", "name", p.Name, "error", untimely)
		}
		k.parent.Send(shown)
		for conn := range k.workers {
			k.tell(conn, number)
		}
	}
	k.report()
	k.settle()
}

// hasTimely tells whether clients are shown one that they may trust: by us, or by those
// whose place we are to take. mu is held.
func (k *room) hasTimely(number int, now time.Time) bool {
	if p := k.slots[number].pair; p != nil {
		return p.Timely(now) == nil
	}
	return number < len(k.config.Shown) && now.Unix() < k.config.Shown[number]
}

// tell tells a worker of a certificate; mu is held.
func (k *room) tell(conn *link.Conn, number int) {
	if p := k.slots[number].pair; p != nil {
		if err := conn.Send(&imsg.Certificate{Number: number, ID: p.ID, Parts: p.Parts}); err != nil {
			conn.Close() // it gets another link
		}
	}
}

// report tells lockd how all are; mu is held.
func (k *room) report() {
	all := &imsg.Certificates{Generation: k.config.Generation}
	for i := range k.slots {
		s := &k.slots[i]
		status := imsg.CertificateStatus{Problem: s.problem, Name: imsg.Printable(k.config.Certificates[i].Chain, 100)}
		if s.pair != nil {
			status.Name, status.Begin, status.End = s.pair.Name, s.pair.Begin.Unix(), s.pair.End.Unix()
		}
		all.List = append(all.List, status)
	}
	k.lockd.Send(all) // it is told when it comes
}

func (k *room) attachLockd(r link.Request, m *imsg.Peer) error {
	conn, err := k.service.Attach(r, m, func(_ context.Context, r link.Request) { r.Close() })
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lockd.Set(conn)
	k.report()
	return nil
}

func (k *room) attachWorker(r link.Request, m *imsg.Peer) error {
	w := &asker{room: k, member: m.Member, signatures: imsg.Meter{Pace: imsg.Signatures}, tickets: imsg.Meter{Pace: imsg.Tickets}}
	conn, err := k.service.Attach(r, m, w.answer)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.workers[conn] = true
	go func() {
		<-conn.Done()
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.workers, conn)
	}()
	for i := range k.slots {
		k.tell(conn, i)
	}
	return nil
}

// asker is a worker.
type asker struct {
	*room
	member              int
	signatures, tickets imsg.Meter
}

// answer works on a question of a worker. One goroutine calls it.
func (w *asker) answer(ctx context.Context, r link.Request) {
	defer r.Close()
	now := time.Now()
	switch q := r.Message.(type) {
	case *imsg.Sign:
		k, err := w.find(q)
		switch {
		case errors.Is(err, pair.ErrNonsense):
			w.report(r.From(), err)
		case err != nil || !w.signatures.Take(1, now):
			r.Fail(errno(err))
		default:
			process.Work(ctx, w.service, r, q, func(context.Context) (*imsg.Signature, error) { return k.Sign(q) })
		}
	case *imsg.SealTicket:
		w.ticket(r, now, func(t *tickets) { link.ReplyTo(r, q).Answer(&imsg.Ticket{Octets: t.seal(q.State)}) })
	case *imsg.OpenTicket:
		w.ticket(r, now, func(t *tickets) { link.ReplyTo(r, q).Answer(&imsg.TicketState{State: t.open(q.Octets)}) })
	}
}

func errno(err error) imsg.Errno {
	if err != nil {
		return imsg.NotFound
	}
	return imsg.Busy
}

// ticket seals or opens one, which takes a microsecond.
func (w *asker) ticket(r link.Request, now time.Time, do func(*tickets)) {
	w.mu.Lock()
	t := w.room.tickets
	w.mu.Unlock()
	if t.none() || !w.tickets.Take(1, now) {
		r.Fail(imsg.Busy)
		return
	}
	do(t)
}

// find returns the pair a worker means, if what it asks makes sense for that.
func (w *asker) find(q *imsg.Sign) (*pair.Pair, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.slots {
		for _, p := range []*pair.Pair{w.slots[i].pair, w.slots[i].before} {
			if p != nil && p.ID == q.ID {
				return p, p.Fits(q, w.config.Old)
			}
		}
	}
	return nil, errUnknown
}

var errUnknown = errors.New("no such certificate")

// report ends the link to a worker that asks for what no handshake needs; the parent
// hands over another one, or ends who is at odds.
func (w *asker) report(conn *link.Conn, err error) {
	w.log.Error("link closed", "peer", imsg.Session, "member", w.member, "reason", err)
	w.parent.Send(&imsg.BadPeer{Room: imsg.Session, Member: w.member})
	conn.Close()
}
