// What several processes hold they can spoil for each other. This file owns that a
// listener which was shut down listens again.

package socket

import (
	"os"

	"golang.org/x/sys/unix"
)

// Mend has those of the open sockets listen again that do not any more: whoever holds
// one may shut it down for all (shutdown(2)). It returns how many there were. One that
// was given and made something else of is an error: no other can take its place.
func (l *Listener) Mend() (mended int, err error) {
	for i := range l.open {
		if listens(l.sockets[i]) {
			continue
		}
		if err := l.mend(i); err != nil {
			return mended, l.complain(err)
		}
		mended++
	}
	return mended, nil
}

// mend has a socket listen again, whatever it was made since: what was connected is
// disconnected first. Where that is not possible another socket takes its place.
func (l *Listener) mend(i int) error {
	err := listen(l.sockets[i], l.backlog)
	if err != nil && using(l.sockets[i], disconnect) == nil {
		err = listen(l.sockets[i], l.backlog)
	}
	if err == nil || l.given {
		return err
	}
	f, err := bindTo(l.Addr, spreads, l.transparent)
	if err != nil {
		return err
	}
	if err := listen(f, l.backlog); err != nil {
		f.Close()
		return err
	}
	l.sockets[i].Close()
	l.sockets[i] = f
	return nil
}

func listens(f *os.File) (yes bool) {
	using(f, func(fd int) error {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		yes = err == nil && n != 0
		return nil
	})
	return yes
}
