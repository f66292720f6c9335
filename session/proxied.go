package session

import (
	"errors"
	"net/netip"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
	"github.com/smtp-gated/smtp-gated/session/stream"
	"github.com/smtp-gated/smtp-gated/session/upstream"
)

// This file owns the header by which a load balancer says whose connection it is: that it
// is there before anything else, and whom it may name. Nobody else is believed; what becomes
// of a header of theirs is the relay's to decide.

// openingWait is how long somebody has whom nobody has admitted: a load balancer for its
// header, and for its handshake a client that is to be refused.
const openingWait = 5 * time.Second

// awaited is a header that is awaited. It holds the session.
type awaited struct {
	late  bool // the connection came too late
	timer *time.Timer
}

var (
	errHeaderLate = errors.New("no header in time")
	errSource     = errors.New("it names a client that can be none")
)

// awaitHeader has the session begin when its header is there. It waits for nothing.
func (s *session) awaitHeader(late bool) {
	s.refs.Add(1)
	s.mu.Lock()
	s.header = &awaited{late: late, timer: time.AfterFunc(openingWait, func() { s.endHeader(proxyheader.Header{}, errHeaderLate) })}
	s.mu.Unlock()
	s.readHeader() // it may be there already
}

// readHeader reads what has come of it.
func (s *session) readHeader() {
	for {
		h, err := s.nextHeader()
		switch err {
		case stream.ErrAgain:
			return
		case proxyheader.ErrShort:
		default:
			s.endHeader(h, err)
			return
		}
	}
}

// nextHeader reads on. What is behind the header is left for who reads next.
func (s *session) nextHeader() (h proxyheader.Header, err error) {
	s.mu.Lock()
	defer s.unlock()
	if s.header == nil {
		return h, stream.ErrAgain
	}
	if err := s.client.Fill(); err != nil {
		return h, err
	}
	h, n, err := proxyheader.Parse(s.client.Bytes())
	s.client.Skip(n)
	return h, err
}

// endHeader ends the wait for it, once: the session begins, or is no more.
func (s *session) endHeader(h proxyheader.Header, err error) {
	s.mu.Lock()
	wait := s.header
	s.header = nil
	s.mu.Unlock()
	if wait == nil {
		return
	}
	defer s.unref()
	wait.timer.Stop()
	peer := s.facts.Client
	// In version 1 HAProxy says of its checks whose they are: its own.
	h.Check = h.Check || h.Source == peer
	if err == nil && !h.Check && !s.mayCall(h.Source) {
		err = errSource
	}
	if err != nil {
		s.refuseHeader(h, err)
		return
	}
	s.facts.Via, s.facts.Check = peer, h.Check
	if h.Check {
		s.w.count(imsg.CountProxyCheck, 1)
	} else {
		s.w.count(imsg.CountProxyClient, 1)
		s.facts.Client, s.proxied = h.Source, h.Destination
	}
	s.begin(wait.late)
}

// mayCall tells whether a connection can come from an address.
func (s *session) mayCall(from netip.AddrPort) bool {
	a := from.Addr()
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !upstream.Listens(s.w.cfg, s.facts.Local, from)
}

// refuseHeader closes a connection without a word: who is at its other end is not known.
func (s *session) refuseHeader(h proxyheader.Header, err error) {
	counter, more := imsg.CountProxyMalformed, []any(nil)
	switch {
	case err == errHeaderLate:
		counter = imsg.CountProxyLate
	case err == errSource:
		counter, more = imsg.CountProxySource, []any{"from", h.Source}
	case s.client.Received() == 0:
		return // somebody has looked whether we listen, and has closed or reset, as HAProxy's checks do
	}
	s.w.count(counter, 1)
	s.w.log.Info("PROXY:FAILED", append([]any{"via", s.facts.Client, "error", imsg.Printable(err.Error(), 200)}, more...)...)
}
