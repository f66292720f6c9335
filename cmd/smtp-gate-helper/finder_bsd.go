//go:build freebsd || openbsd

// The connection is found in pf. Its device is opened read-only while we are root
// and serves lookups afterwards, so no privilege is kept.

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/smtp-gated/smtp-gated/lookupd/nat"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

func openFinder(sandbox.Identity) (finder, <-chan error, error) {
	device, err := nat.Open(nat.PFDevice)
	if err != nil {
		return nil, nil, err
	}
	kernel := nat.Device(device)
	return func(client, proxy netip.AddrPort) (origin, error) {
		// The address may have been changed on the way out; then the other
		// rule knows the connection by the address it came with.
		behind, err := nat.PFSource(kernel, client, proxy)
		if errors.Is(err, nat.ErrNotFound) {
			behind = client
		} else if err != nil {
			return origin{}, err
		}
		server, err := nat.PF(kernel, behind, proxy)
		if errors.Is(err, nat.ErrNotFound) {
			err = fmt.Errorf("%w: %w", wire.ErrNotFound, err)
		}
		return origin{behind, server}, err
	}, nil, nil
}

// keep has nothing to do here.
func keep() error { return errors.New("this system needs no second process") }
