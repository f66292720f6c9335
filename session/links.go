package session

import (
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/session/stream"
)

// This file owns the links to other rooms: the poller that has the sessions' connections has
// these, too, so that an answer costs no goroutine.

// roomLink is one.
type roomLink struct {
	w    *worker
	peer *imsg.Peer
	raw  *stream.Raw

	mu     sync.Mutex // held by who reads
	reader *link.Reader
}

// maxTaken is how much is taken of a link before others have their turn.
const maxTaken = 64

// accept makes a link of the Peer m, which r brought, and serves it until it ends.
func (w *worker) accept(r link.Request, m *imsg.Peer, handle link.Handler) (*link.Conn, error) {
	l := &roomLink{w: w, peer: m}
	fd, err := link.Take(r.Files[0])
	if err == nil {
		l.mu.Lock() // news of it may be there before it is
		defer l.mu.Unlock()
		l.raw, err = stream.OpenRaw(w.poller, fd, l)
	}
	if err != nil {
		w.parent.Ended(m, err)
		return nil, err
	}
	conn := link.NewConnAt(l.raw, l.close, imsg.Session, m.Room)
	l.reader = conn.NewReader(handle)
	return conn, nil
}

// close closes the link, and has its reader learn of it.
func (l *roomLink) close() error {
	go l.News(nil)
	return l.raw.Close()
}

// News takes what has come.
func (l *roomLink) News(turn *stream.Turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := 1; l.reader != nil; n++ {
		did, over, err := l.reader.Next()
		switch {
		case over:
			l.reader = nil
			l.w.parent.Ended(l.peer, err)
		case !did:
			l.raw.Again()
			return
		case n%maxTaken == 0 && turn.Again(l):
			return
		}
	}
}
