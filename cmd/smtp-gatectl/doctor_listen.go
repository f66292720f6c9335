// The probe of the listeners: a daemon that does not run may find its place taken.

package main

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/socket"
)

func probeListeners(_ context.Context, p *patient) []result {
	const id = "listeners"
	var at []string
	for _, l := range p.Listeners() {
		at = append(at, l.String())
	}
	where := strings.Join(at, ", ")
	switch {
	case p.status != nil && p.temporary == nil:
		return []result{green(id, "it listens at %s", where)}
	case p.failed != nil && !p.tried:
		return []result{skip(id, "the daemon cannot be asked: see daemon")}
	}
	var denied error
	for _, l := range p.Listeners() {
		switch err := socket.Bindable(l); {
		case err == nil:
		case errors.Is(err, unix.EADDRINUSE):
			pid, name := holder(l)
			switch {
			case pid == 1: // systemd holds the sockets of a unit until the daemon starts
			case pid > 0:
				return []result{red(id, "have it listen elsewhere, or the gateway, by {listen}", "%s is taken by %s, process %d", l, name, pid)}
			default:
				return []result{red(id, "find out by whom, and have that listen elsewhere, or the gateway, by {listen}", "%s is taken by another program", l)}
			}
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			denied = err
		default:
			return []result{red(id, "name an address that this machine has, in {listen}", "nobody can listen at %s: %v", l, err)}
		}
	}
	if denied != nil {
		return []result{skip(id, "only root can try: %v", denied)}
	}
	return []result{green(id, "%s can be had", where)}
}
