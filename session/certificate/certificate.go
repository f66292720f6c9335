// Package certificate is TLS with clients as far as keys matter: which certificate a
// client is shown, and that what takes a private key or the key of a session ticket is
// asked of another room, which has them.
package certificate

// This file owns the configuration of crypto/tls that sessions use, and the choice of a
// certificate. It must never hold a private key.

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// patience is how long a client may wait for the first certificate: they are told when
// the room that has them is there.
const patience = 5 * time.Second

// Keys is the room that has the keys. Each call ends by itself after a while.
type Keys interface {
	Sign(*imsg.Sign) (*imsg.Signature, error)
	Seal(*imsg.SealTicket) (*imsg.Ticket, error)
	Open(*imsg.OpenTicket) (*imsg.TicketState, error)
}

// Store is the certificates that a worker was told. Any number of goroutines may use it.
type Store struct {
	keys Keys

	mu    sync.Mutex
	known []*tls.Certificate // by number, nil: not told
	first chan struct{}      // closed when there is one
}

// New returns a store without any.
func New(keys Keys) *Store { return &Store{keys: keys, first: make(chan struct{})} }

// Take takes what was told of a certificate, in the place of the one before. The error
// says that it makes no sense: nobody honest has said it.
func (s *Store) Take(m *imsg.Certificate) error {
	all, err := x509.ParseCertificates([]byte(strings.Join(m.Parts, "")))
	if err == nil && len(all) == 0 {
		err = errors.New("it has none")
	}
	if err != nil {
		return fmt.Errorf("certificate %d: %w", m.Number, err)
	}
	c := &tls.Certificate{Leaf: all[0], PrivateKey: &signer{s.keys, m.ID, all[0].PublicKey}}
	for _, one := range all {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.known) <= m.Number {
		s.known = append(s.known, nil)
	}
	s.known[m.Number] = c
	select {
	case <-s.first:
	default:
		close(s.first)
	}
	return nil
}

// Config is what tls.Server needs. It is made once, and for all clients.
func (s *Store) Config(minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion:     minVersion,
		GetCertificate: s.choose,
		WrapSession:    s.seal,
		UnwrapSession:  s.open,
	}
}

var errNone = errors.New("there is no certificate: the room that has them is away")

// choose returns the first certificate for the name a client asks for that it can verify,
// else the first it can verify, else the first.
func (s *Store) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-s.first:
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	case <-t.C:
		return nil, errNone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *tls.Certificate
	points := -1
	for _, c := range s.known {
		if c == nil {
			continue
		}
		p := 0
		// The name is looked at apart, for no client is turned away because of it.
		anyName := *hello
		anyName.ServerName = ""
		if anyName.SupportsCertificate(c) == nil {
			p++
			if hello.ServerName != "" && c.Leaf.VerifyHostname(hello.ServerName) == nil {
				p++
			}
		}
		if p > points {
			best, points = c, p
		}
	}
	return best, nil
}

// seal makes a ticket. A session without one is as good: where none can be had the client
// gets octets that will open nothing.
func (s *Store) seal(_ tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	if octets, err := state.Bytes(); err == nil && len(octets) <= imsg.MaxTicketState {
		if a, err := s.keys.Seal(&imsg.SealTicket{State: string(octets)}); err == nil {
			return []byte(a.Octets), nil
		}
	}
	nothing := make([]byte, 32)
	rand.Read(nothing)
	return nothing, nil
}

// open looks into a ticket; nil: the handshake is to be a whole one.
func (s *Store) open(ticket []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
	if len(ticket) == 0 || len(ticket) > imsg.MaxTicket {
		return nil, nil
	}
	a, err := s.keys.Open(&imsg.OpenTicket{Octets: string(ticket)})
	if err != nil || a.State == "" {
		return nil, nil
	}
	state, err := tls.ParseSessionState([]byte(a.State))
	if err != nil {
		return nil, nil
	}
	return state, nil
}

// signer is a private key that is elsewhere.
type signer struct {
	keys   Keys
	id     uint64
	public crypto.PublicKey
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	_, pss := opts.(*rsa.PSSOptions)
	a, err := s.keys.Sign(&imsg.Sign{ID: s.id, Hash: uint8(opts.HashFunc()), PSS: pss, Digest: string(digest)})
	if err != nil {
		return nil, fmt.Errorf("ask for a signature: %w", err)
	}
	return []byte(a.Octets), nil
}
