// The way to the name servers. This file owns who is asked and how many queries
// are on their way: the configured servers and nobody else, so that an answer from
// another is not to be had.

package lookupd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
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
	addrs []netip.AddrPort
	slots chan struct{}
}

func newNameservers(addrs []netip.AddrPort) *nameservers {
	return &nameservers{addrs: addrs, slots: make(chan struct{}, maxQueries)}
}

// query has do ask one question when there is a slot for it. An error of the
// standard resolver names the servers that were asked, in place of whom that would
// have asked. It is a silence if none of them said anything.
func (n *nameservers) query(ctx context.Context, do func(*net.Resolver) error) error {
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-n.slots }()
	q := &question{servers: n.addrs}
	err := do(&net.Resolver{PreferGo: true, Dial: q.dial})
	var dns *net.DNSError
	if errors.As(err, &dns) {
		told := *dns
		told.Server = q.names()
		err = &told
	}
	if err != nil && !q.heard.Load() {
		return silence{err}
	}
	return err
}

// silence is an error of a question to which no server has answered anything.
type silence struct{ error }

func (s silence) Unwrap() error { return s.error }

// question takes the servers in turn, as the standard resolver's attempts come,
// and ignores whom that would have asked.
type question struct {
	servers []netip.AddrPort

	heard atomic.Bool // one has answered

	mu       sync.Mutex
	attempts int
}

func (q *question) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	if len(q.servers) == 0 {
		return nil, errors.New("no name server is configured")
	}
	q.mu.Lock()
	server := q.servers[q.attempts%len(q.servers)]
	q.attempts++
	q.mu.Unlock()
	server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
	var d net.Dialer
	conn, err := d.DialContext(ctx, network+addressFamily(server.Addr()), server.String())
	if u, ok := conn.(*net.UDPConn); ok {
		return retryConn{u, q}, err
	}
	return conn, err
}

// names are the servers that were asked so far.
func (q *question) names() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var names []string
	for _, server := range q.servers[:min(q.attempts, len(q.servers))] {
		names = append(names, server.String())
	}
	return strings.Join(names, " and ")
}

// addressFamily is what makes a network's name one of a's family alone.
func addressFamily(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// retryConn is a query that gives up in time for another. It stays a PacketConn, by
// which the resolver knows that it must send datagrams.
type retryConn struct {
	*net.UDPConn
	question *question
}

func (h retryConn) Read(b []byte) (int, error) {
	n, err := h.UDPConn.Read(b)
	if err == nil {
		h.question.heard.Store(true)
	}
	return n, err
}

func (h retryConn) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(retry); soon.Before(t) {
		t = soon
	}
	return h.UDPConn.SetDeadline(t)
}
