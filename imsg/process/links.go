package process

import (
	"os"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// This file owns the links that a room's poller has, so that what comes by them costs no
// goroutine.

// polled is one.
type polled struct {
	p    *Parent
	peer *imsg.Peer
	raw  *loop.Raw

	mu     sync.Mutex // held by who reads
	reader *link.Reader
}

func (p *Parent) acceptPolled(f *os.File, m *imsg.Peer, handle link.Handler) (*link.Conn, error) {
	l := &polled{p: p, peer: m}
	fd, err := link.Take(f)
	if err != nil {
		return nil, err
	}
	l.mu.Lock() // news of it may be there before it is
	defer l.mu.Unlock()
	if l.raw, err = loop.OpenRaw(p.poller, fd, l); err != nil {
		return nil, err
	}
	conn := link.NewConnAt(l.raw, l.close, p.self, m.Room)
	l.reader = conn.NewReader(handle)
	return conn, nil
}

// close closes the link, and has its reader learn of it.
func (l *polled) close() error {
	go l.News(nil)
	return l.raw.Close()
}

// News takes what has come, and does what is to be done behind it.
func (l *polled) News(turn *loop.Turn) {
	for _, f := range l.take() {
		if turn == nil || turn.Wary() {
			go f()
		} else {
			turn.Slow(f)
		}
	}
}

func (l *polled) take() []func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader == nil {
		return nil
	}
	_, over, err := l.reader.Next()
	behind := l.reader.Behind()
	if over {
		l.reader = nil
		l.p.ended(l.peer, err)
	}
	return behind
}
