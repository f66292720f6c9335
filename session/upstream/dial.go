// Reaching a server: from which address, and over whose socket. This file owns that
// choice.

package upstream

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Dialer connects to servers. Where that takes privilege the parent makes the socket,
// and a few of each address family wait here. Any number of goroutines may use one.
type Dialer struct{ pool4, pool6 socketPool }

// NewDialer returns a Dialer that asks the parent for n sockets by ask, which must not
// block. They come by Add.
func NewDialer(ask func(ipv6 bool, n int) error) *Dialer {
	d := new(Dialer)
	d.pool4.ask = func(n int) error { return ask(false, n) }
	d.pool6.ask = func(n int) error { return ask(true, n) }
	return d
}

// Add takes a socket from the parent.
func (d *Dialer) Add(ipv6 bool, f *os.File) { d.pool(ipv6).put(f) }

func (d *Dialer) pool(ipv6 bool) *socketPool {
	if ipv6 {
		return &d.pool6
	}
	return &d.pool4
}

// Connect begins to connect a socket, which does not block, to an address, and takes it
// over; there is none any more after an error.
type Connect func(fd int, to unix.Sockaddr) error

// Waits tells whether Dial may wait, for a socket of the parent's.
func Waits(cfg *imsg.SessionConfig, client netip.Addr) bool {
	return cfg.Marked || usesClientAddress(cfg.Mode, client)
}

// Dial begins to connect to the server of a client by connect; what it may wait for it waits
// for until ctx ends. Where the client's own port is to be used and taken, another one is.
// taken hears what could not be bound to: the client's port, then, with port 0, an address
// that has no port left. The error is imsg.Resource if the parent sent no socket, or the
// system's.
func (d *Dialer) Dial(ctx context.Context, cfg *imsg.SessionConfig, client, server netip.AddrPort, connect Connect, taken func(from netip.AddrPort)) error {
	from := source(cfg, client, server)
	if !Waits(cfg, client.Addr()) {
		fd, err := newSocket(server.Addr().Is6())
		if err != nil {
			return err
		}
		return bindAndConnect(fd, from, server, connect)
	}
	err := d.dialPrepared(ctx, from, server, connect)
	if from.Port() != 0 && portTaken(err) {
		taken(from)
		from = netip.AddrPortFrom(from.Addr(), 0)
		err = d.dialPrepared(ctx, from, server, connect)
	}
	if portTaken(err) {
		taken(from)
	}
	return err
}

// usesClientAddress tells whether servers see the address of a client.
func usesClientAddress(m imsg.Mode, client netip.Addr) bool {
	return m == imsg.ModeTproxy || m == imsg.ModeTproxyNetfilter && !private(client)
}

// private addresses take the netfilter way of mode tproxy,netfilter: those of RFC
// 1918, RFC 3927, RFC 4193, and IPv6 link-local ones.
func private(a netip.Addr) bool { return a.IsPrivate() || a.IsLinkLocalUnicast() }

// source is what a connection is bound to: its address is invalid, or its port 0,
// where the system decides.
func source(cfg *imsg.SessionConfig, client, server netip.AddrPort) netip.AddrPort {
	if usesClientAddress(cfg.Mode, client.Addr()) {
		if cfg.KeepPort {
			return client
		}
		return netip.AddrPortFrom(client.Addr(), 0)
	}
	for _, out := range cfg.Outgoing {
		if !out.IsUnspecified() && out.Is6() == server.Addr().Is6() {
			return netip.AddrPortFrom(out, 0)
		}
	}
	return netip.AddrPort{}
}

// portTaken: the four numbers of a connection are in use, or the port may not be
// ours.
func portTaken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EACCES)
}

// dialPrepared connects one of the parent's sockets.
func (d *Dialer) dialPrepared(ctx context.Context, from, to netip.AddrPort, connect Connect) error {
	f, err := d.pool(to.Addr().Is6()).get(ctx)
	if err != nil {
		return err
	}
	fd, err := release(f)
	if err != nil {
		return err
	}
	return bindAndConnect(fd, from, to, connect)
}
