// Package upstream is where a client's server is and how it is reached. It finds
// targets that no other room need be asked for, keeps a session from coming back to
// us, and connects: from which address, over whose socket. It never says or reads an
// octet, and logs nothing.
package upstream

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns the answers that need no other room: the socket's own address, the
// kernel's memory of it.

var errMode = errors.New("this mode finds no targets")

// Target returns the server of the connection fd, which client made to our address local. The
// error is imsg.NotFound where the kernel does not know the connection, that of the
// system, or that of a mode in which lookupd is to be asked, or Servers.
func Target(cfg *imsg.SessionConfig, fd int, client, local netip.AddrPort) (netip.AddrPort, error) {
	switch cfg.Mode {
	case imsg.ModeGetsockname, imsg.ModeIpfw, imsg.ModeTproxy:
		return local, nil
	case imsg.ModeNetfilter:
		return originalDst(fd, local.Addr().Is6())
	case imsg.ModeTproxyNetfilter:
		if usesClientAddress(cfg.Mode, client.Addr()) {
			return local, nil
		}
		return originalDst(fd, local.Addr().Is6())
	}
	return netip.AddrPort{}, errMode
}

// Loops tells whether a session would come back to us: its server is one of our
// own listeners, or its client is its server or this machine. In fixed mode a
// client may well run here, or on the server's host.
func Loops(cfg *imsg.SessionConfig, client, local, server netip.AddrPort) bool {
	if !cfg.Mode.Fixed() && (client.Addr() == server.Addr() || isOurs(cfg, client.Addr())) {
		return true
	}
	return Listens(cfg, local, server)
}

// Listens tells whether one of our own listeners is at an address; local is one by which
// we were called.
func Listens(cfg *imsg.SessionConfig, local, at netip.AddrPort) bool {
	return slices.ContainsFunc(cfg.Listeners, func(l netip.AddrPort) bool {
		// A wildcard listener takes every local address.
		return l == at || l.Addr().IsUnspecified() && l.Port() == at.Port() && (at.Addr() == local.Addr() || isOurs(cfg, at.Addr()))
	})
}

// Returns tells whether a session that loops is one of our own connections that came back,
// or would in fixed mode. Anybody else has called our port, as anybody may.
func Returns(cfg *imsg.SessionConfig, client netip.AddrPort) bool {
	return cfg.Mode.Fixed() || isOurs(cfg, client.Addr())
}

// isOurs tells whether an address is this machine's.
func isOurs(cfg *imsg.SessionConfig, a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	_, found := slices.BinarySearchFunc(cfg.Own, a.WithZone(""), netip.Addr.Compare)
	return found
}
