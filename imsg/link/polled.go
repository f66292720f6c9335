package link

import (
	"os"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// This file owns the links that a room's poller has: what comes by them costs no goroutine.

// polled is one.
type polled struct {
	raw   *loop.Raw
	ended func(error)

	mu     sync.Mutex // held by who reads
	reader *reader    // nil: it has ended
}

// Poll is NewConn of a link that p waits for: it is served at once, and ended hears what
// Serve would return. It takes f over with an error, too.
func Poll(p loop.Poller, f *os.File, self, peer imsg.Room, handle Handler, ended func(error)) (*Conn, error) {
	fd, err := take(f)
	if err != nil {
		return nil, err
	}
	l := &polled{ended: ended}
	l.mu.Lock() // news of it may be there before it is
	defer l.mu.Unlock()
	if l.raw, err = loop.OpenRaw(p, fd, l); err != nil {
		return nil, err
	}
	c := newConn(l.raw, l.close, self, peer)
	l.reader = c.newReader(handle)
	return c, nil
}

// close closes the link, and has its reader learn of it then.
func (l *polled) close() error {
	err := l.raw.Close()
	go l.News(nil)
	return err
}

// News takes what has come, and does what is to be done behind it.
func (l *polled) News(turn *loop.Turn) {
	if turn == nil { // who waits for the link has others to serve
		turn = loop.Passing
	}
	for _, f := range l.take() {
		f(turn)
	}
}

func (l *polled) take() []func(*loop.Turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader == nil {
		return nil
	}
	over, err := l.reader.next()
	behind := l.reader.left()
	if over {
		l.reader = nil
		l.ended(err)
	}
	return behind
}
