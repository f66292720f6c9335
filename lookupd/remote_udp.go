// Mode remote-udp: the helper on the router, asked by datagram.

package lookupd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

type remoteUDP struct {
	routers
	tries  int
	secret uint32
}

// find sends the same question up to tries times. Its cookie stays the same, so
// that an answer that is late for one try serves the next.
func (r *remoteUDP) find(ctx context.Context, client, local netip.AddrPort) (wire.Answer, error) {
	if err := r.acquire(ctx); err != nil {
		return wire.Answer{}, err
	}
	defer r.release()
	a, err := r.ask(ctx, client, local)
	if err != nil {
		return wire.Answer{}, fmt.Errorf("ask the helper on %s: %w", r.helper(client), withErrno(err))
	}
	return a, nil
}

func (r *remoteUDP) ask(ctx context.Context, client, local netip.AddrPort) (wire.Answer, error) {
	var cookie [4]byte
	rand.Read(cookie[:])
	q := wire.Query{Cookie: binary.BigEndian.Uint32(cookie[:]), Secret: r.secret, Client: client, Proxy: local}

	// A connected socket: the kernel lets nobody else's datagrams through.
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0))}
	conn, err := d.DialContext(ctx, "udp"+addressFamily(client.Addr()), r.helper(client))
	if err != nil {
		return wire.Answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	question := q.Append(nil)
	for range r.tries {
		conn.SetDeadline(time.Now().Add(r.limit))
		_, err = conn.Write(question)
		if refused(err) { // that was about the last one; this one did not leave
			_, err = conn.Write(question)
		}
		if err != nil && !refused(err) {
			return wire.Answer{}, err
		}
		var a wire.Answer
		if a, err = answer(conn, q); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
	}
	return wire.Answer{}, err
}

// answer reads until an answer to q comes. What is none does not end the wait: it
// may have been made by somebody who guesses.
func answer(conn net.Conn, q wire.Query) (wire.Answer, error) {
	var buf [wire.MaxDatagram]byte
	for {
		n, err := conn.Read(buf[:])
		switch {
		case refused(err):
			// A message of the network's, which anybody may forge too; and a
			// helper may just be starting.
			continue
		case err != nil:
			return wire.Answer{}, err
		}
		a, err := q.ParseReply(buf[:n])
		if err != wire.ErrIgnore {
			return a, err
		}
	}
}

func refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
