// Mode remote: the helper on the router, asked over TCP.

package lookupd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

type remote struct{ routers }

func (r *remote) find(ctx context.Context, client, local netip.AddrPort) (wire.Answer, error) {
	if err := r.acquire(ctx); err != nil {
		return wire.Answer{}, err
	}
	defer r.release()
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	a, err := r.ask(ctx, client, local)
	if err != nil {
		return wire.Answer{}, fmt.Errorf("ask the helper on %s: %w", r.helper(client), withErrno(err))
	}
	return a, nil
}

func (r *remote) ask(ctx context.Context, client, local netip.AddrPort) (wire.Answer, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0))}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp"+addressFamily(client.Addr()), r.helper(client))
	if err != nil {
		return wire.Answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(wire.AppendQuestion(nil, client.Port(), local.Port())); err != nil {
		return wire.Answer{}, err
	}
	line, err := readLine(conn)
	if err != nil {
		return wire.Answer{}, err
	}
	return wire.ParseAnswer(line, client.Port(), local.Port())
}

// readLine reads to the first LF, or to the end if there is none.
func readLine(conn io.Reader) ([]byte, error) {
	buf := make([]byte, wire.MaxLine)
	for n := 0; n < len(buf); {
		m, err := conn.Read(buf[n:])
		n += m
		if end := bytes.IndexByte(buf[:n], '\n'); end >= 0 {
			return buf[:end], nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: longer than %d octets", wire.ErrMismatch, wire.MaxLine)
}
