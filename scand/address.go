// Where a scanner listens, and one question to it: connect, send, read the answer.
// This file owns the connections; what is sent and what an answer means belongs to
// the engines.

package scand

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// maxAnswer bounds an answer; a longer one is no answer.
const maxAnswer = 8 << 10

// address is a scanner's address for net.Dial, and its name for people.
type address struct{ network, addr, name string }

// newAddress takes a UNIX socket's name relative to the room's root and its name
// in the administrator's tree, or an address.
func newAddress(socket, name string, addr netip.AddrPort) (address, error) {
	switch {
	case socket != "" && addr.IsValid():
		return address{}, errors.New("both a socket and an address are given")
	case socket != "":
		return address{"unix", socket, cmp.Or(name, socket)}, nil
	case !addr.IsValid():
		return address{}, errors.New("neither a socket nor an address is given")
	}
	// Plain "tcp" would make the runtime probe what the system supports, with
	// sockets of its own.
	network := "tcp6"
	if addr.Addr().Unmap().Is4() {
		network = "tcp4"
	}
	text := netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()).String()
	return address{network, text, text}, nil
}

// ask opens a connection, has send write the question and reads the answer to its
// end, or up to the octet end if that is not negative.
//
// An answer may come with an error from send: a scanner that refuses a message
// answers and closes while we still write. Such an answer never makes a message clean.
func (a address) ask(ctx context.Context, end int, send func(net.Conn) error) (answer []byte, sendErr error, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, a.network, a.addr)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // without the name below our root
		}
		return nil, nil, fmt.Errorf("connect to %s: %w", a.name, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if sendErr = send(conn); sendErr != nil {
		sendErr = fmt.Errorf("send: %w", sendErr)
	}
	answer, err = readAnswer(conn, end)
	switch {
	case err != nil && sendErr != nil:
		return nil, nil, sendErr
	case err != nil:
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	case len(answer) == 0 && sendErr != nil:
		return nil, nil, sendErr
	case len(answer) == 0:
		return nil, nil, errors.New("closed without an answer")
	}
	return answer, sendErr, nil
}

func readAnswer(r io.Reader, end int) ([]byte, error) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxAnswer+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxAnswer:
			return nil, fmt.Errorf("longer than %d octets", maxAnswer)
		case end >= 0 && bytes.IndexByte(buf[len(buf)-n:], byte(end)) >= 0, err == io.EOF:
			return buf, nil
		case len(buf) > 0 && errors.Is(err, syscall.ECONNRESET):
			// A scanner that refuses the rest of a message closes with that unread.
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// rootGone tells whether the directory we live in has been removed, as a scanner's
// restart may do. The sockets of the new one are out of our reach then.
func rootGone() bool {
	info, err := os.Stat(".")
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
