// What a session worker is told of TLS. This file owns the words of section tls and
// which of them is meant for a session; it must never know a key.

package imsg

import (
	"net/netip"
	"slices"
	"time"
)

// TLSPolicy is what becomes of STARTTLS.
type TLSPolicy uint8

// The words of tls_policy. Auto is for the parent to resolve, no room hears it.
const (
	TLSAuto      TLSPolicy = iota
	TLSPass                // client and server agree on it by themselves, and are not read any more
	TLSMask                // it is not offered, and refused
	TLSTerminate           // it ends here, with a certificate of ours, and is read
)

// TLSUpstream is when a session that we end TLS of has TLS to its server.
type TLSUpstream uint8

// The words of tls_upstream.
const (
	TLSLockstep TLSUpstream = iota // exactly when the client has it
	TLSAlways                      // or there is no mail
	TLSNever
)

// TLSVerify is how a server's certificate is looked at.
type TLSVerify uint8

// The words of tls_verify. Undecided is an error where it matters.
const (
	TLSUndecided TLSVerify = iota
	TLSVerifyNone
	TLSVerifyPin   // it has one of the pinned keys
	TLSVerifyChain // a known authority signed it, for whatever name
	TLSVerifyName  // and for the server's
)

// The words of tls_min_version, as crypto/tls numbers them.
const (
	TLS10 uint16 = 0x0301
	TLS12 uint16 = 0x0303
	TLS13 uint16 = 0x0304
)

// Pin is the SHA-256 of a public key as its certificate has it (SubjectPublicKeyInfo).
type Pin [32]byte

// TLSConfig is what a session worker is told of TLS.
type TLSConfig struct {
	Policy           TLSPolicy // of sessions that no rule is for; not Auto
	Rules            []TLSRule // the first that fits counts
	MinVersion       uint16
	Upstream         TLSUpstream
	Verify           TLSVerify // Undecided: there is no TLS with servers
	Roots            []byte    // authorities, PEM; empty unless Verify is Chain or Name
	Pins             []Pin     // of Verify Pin
	ServerName       string    // that is asked for and checked; empty: none
	HandshakeTimeout time.Duration
	Port             uint16 // of the server, for clients that begin with TLS, in TLS from the first octet; 0: the usual one, as Upstream says
}

// TLSRule is a policy for some sessions. An empty list is of all.
type TLSRule struct {
	Client []netip.Prefix
	Server []netip.Prefix
	Port   []uint16 // of the server
	Policy TLSPolicy
}

// PolicyFor returns what becomes of STARTTLS between a client and a server.
func (t *TLSConfig) PolicyFor(client netip.Addr, server netip.AddrPort) TLSPolicy {
	if r := t.rule(client, server); r != nil {
		return r.Policy
	}
	return t.Policy
}

// BeginsWithTLS tells whether a server speaks TLS from the first octet, as far as is known
// from its port: that is 465 (RFC 8314, 7.3), or one that its rule names and that is not
// for STARTTLS (RFC 5321, 4.5.4.2; RFC 6409, 3.1).
func (t *TLSConfig) BeginsWithTLS(client netip.Addr, server netip.AddrPort) bool {
	switch server.Port() {
	case 465:
		return true
	case 25, 587:
		return false
	}
	r := t.rule(client, server)
	return r != nil && len(r.Port) > 0
}

// rule is the one for a client and a server, nil if none is.
func (t *TLSConfig) rule(client netip.Addr, server netip.AddrPort) *TLSRule {
	for i := range t.Rules {
		r := &t.Rules[i]
		port := len(r.Port) == 0 || slices.Contains(r.Port, server.Port())
		if port && within(r.Client, client) && within(r.Server, server.Addr()) {
			return r
		}
	}
	return nil
}

// Terminates tells whether TLS ends here for any session that a rule, or none, is for.
func (t *TLSConfig) Terminates() bool {
	return t.Policy == TLSTerminate || slices.ContainsFunc(t.Rules, func(r TLSRule) bool { return r.Policy == TLSTerminate })
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
