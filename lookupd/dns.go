// The way to the name servers. This file owns who is asked and how many queries
// are on their way: the configured servers and nobody else, so that an answer from
// another is not to be had.

package lookupd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// maxQueries bounds the queries on their way; each has a socket.
	maxQueries = 512
	// retry is when a datagram counts as lost. The standard resolver waits 5 s,
	// which is half of what a lookup may take.
	retry = 2 * time.Second
)

type nameservers struct {
	addrs  []netip.AddrPort
	places chan struct{}
}

func newNameservers(addrs []netip.AddrPort) *nameservers {
	return &nameservers{addrs: addrs, places: make(chan struct{}, maxQueries)}
}

// enter waits for a place among the queries; leave gives it back.
func (n *nameservers) enter(ctx context.Context) error {
	select {
	case n.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *nameservers) leave() { <-n.places }

// resolver returns one for a single question: it takes the servers in turn, as the
// standard resolver's attempts come, and ignores whom that would have asked.
func (n *nameservers) resolver() *net.Resolver {
	var attempt atomic.Uint32
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if len(n.addrs) == 0 {
				return nil, errors.New("no name server is configured")
			}
			server := n.addrs[int(attempt.Add(1)-1)%len(n.addrs)]
			server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
			var d net.Dialer
			conn, err := d.DialContext(ctx, network+family(server.Addr()), server.String())
			if u, ok := conn.(*net.UDPConn); ok {
				return hurried{u}, err
			}
			return conn, err
		},
	}
}

// family is what makes a network's name one of a's family alone.
func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// hurried is a query that gives up in time for another. It stays a PacketConn, by
// which the resolver knows that it must send datagrams.
type hurried struct{ *net.UDPConn }

func (h hurried) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(retry); soon.Before(t) {
		t = soon
	}
	return h.UDPConn.SetDeadline(t)
}
