// Package process is the life of a room, which is the same for each: it is born
// with a link to the parent, says hello over it from inside its sandbox, is
// configured, gets links to its peers, works, is asked to drain, and ends with its
// parent at the latest.
package process

// This file owns the order of these things. What a room does at each of them is the
// room's.

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// Room is what one room does with what the parent says; C is its configuration.
// Everything is called by the one goroutine that reads the parent, and must not
// block.
type Room[C any] struct {
	// Configure takes the configuration. An error ends the room.
	Configure func(*C) error

	// Again allows the configuration to come more than once.
	Again bool

	// Ready, if it is set, calls say when the room is ready: now or later. Without
	// it a room is ready when it is configured.
	Ready func(say func())

	// Peers take a link each, by the room at its other end. They are called only
	// when the room is configured. No other room gets a link.
	Peers map[imsg.Room]Peer

	// Other takes what is left, with its files.
	Other link.Handler
}

// Peer takes one end of a link to another room, the file of the request that brought
// m: with Parent.Accept, as a rule.
type Peer func(link.Request, *imsg.Peer) error

// Run lives a room's life. It returns nil when the parent has ended, and when the
// room has been ended without a cause; the cause else. It is the caller's to log.
func Run[C any](p *Parent, room Room[C]) error {
	configured := false
	ready := func() { p.Send(&imsg.Ready{}) }
	err := p.Serve(func(r link.Request) {
		switch m := r.Message.(type) {
		case *C:
			if configured && !room.Again {
				p.End(errors.New("configured twice"))
				return
			}
			configured = true
			if err := room.Configure(m); err != nil {
				p.End(fmt.Errorf("configuration refused: %w", err))
				return
			}
			if room.Ready != nil {
				room.Ready(ready)
			} else {
				ready()
			}
		case *imsg.Peer:
			err := fmt.Errorf("no room that works with %s", p.self)
			switch take := room.Peers[m.Room]; {
			case !configured:
				err = errors.New("came before the configuration")
			case take != nil:
				err = take(r, m)
			}
			if err != nil {
				r.Close()
				p.Log().Error("link refused", "peer", m.Room, "member", m.Member, "error", err)
			}
		default:
			room.Other(r)
		}
	})
	if cause := context.Cause(p.ctx); err == nil && cause != context.Canceled {
		err = cause
	}
	p.end(nil)
	return err
}

// Main is Run for a room that is made of its link to the parent, f.
func Main[C any](f *os.File, self imsg.Room, make func(*Parent) Room[C]) error {
	p, err := Start(f, self)
	if err != nil {
		return err
	}
	return Run(p, make(p))
}
