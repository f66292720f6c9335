package session

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// This file owns the handshakes of a session: with which settings, for how long, and what
// is said of them. When there is one is the relay's to decide.

// serversHeld is how many sessions with servers a worker keeps to be resumed.
const serversHeld = 64

// upstreamTLS is what we want of a server.
func upstreamTLS(cfg *imsg.TLSConfig) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: cfg.ServerName, MinVersion: cfg.MinVersion,
		ClientSessionCache: tls.NewLRUClientSessionCache(serversHeld),
		// It is verified below, in the way that the administrator wants.
		InsecureSkipVerify: true,
	}
	switch cfg.Verify {
	case imsg.TLSVerifyPin:
		c.VerifyConnection = func(st tls.ConnectionState) error { return verifyPin(cfg.Pins, st.PeerCertificates[0]) }
	case imsg.TLSVerifyChain, imsg.TLSVerifyName:
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(cfg.Roots) {
			return nil, errors.New("no authority to verify servers by")
		}
		name := ""
		if cfg.Verify == imsg.TLSVerifyName {
			name = cfg.ServerName
		}
		c.VerifyConnection = func(st tls.ConnectionState) error { return verifyChain(roots, name, st.PeerCertificates) }
	}
	return c, nil
}

var errPin = errors.New("its key is none of those pinned")

func verifyPin(pins []imsg.Pin, leaf *x509.Certificate) error {
	if slices.Contains(pins, imsg.Pin(sha256.Sum256(leaf.RawSubjectPublicKeyInfo))) {
		return nil
	}
	return errPin
}

// verifyChain verifies a chain, and a name if that is not empty.
func verifyChain(roots *x509.CertPool, name string, chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name})
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return fmt.Errorf("%w: its issuer is %s", err, chain[len(chain)-1].Issuer)
	}
	return err
}

// runErrand does what the relay wants done to a connection, and tells it what came of that;
// s.mu is held.
func (s *session) runErrand() {
	e := s.relay.Errand()
	if e == relay.NoErrand || !s.hold() {
		return
	}
	go func() {
		defer s.unref()
		var problem string
		switch e {
		case relay.SecureClient:
			problem = s.secure(relay.Client)
		case relay.SecureServer:
			problem = s.secure(relay.Server)
		case relay.CallAnother:
			s.callAnother()
			return
		default:
			problem = s.callAgain()
		}
		s.mu.Lock()
		defer s.unlock()
		if s.broken {
			return
		}
		switch e {
		case relay.SecureClient:
			s.relay.Secured(relay.Client, problem)
		case relay.SecureServer:
			s.relay.Secured(relay.Server, problem)
		default:
			s.relay.Redialed(problem)
		}
		s.run(nil)
	}()
}

// secure is the handshake with a side. What it returns is why it has failed, empty if it
// has not.
func (s *session) secure(side relay.Side) (problem string) {
	ctx, cancel := context.WithTimeout(s.context(), s.w.cfg.TLS.HandshakeTimeout)
	defer cancel()
	begin := func(c net.Conn) *tls.Conn { return tls.Client(c, s.w.toServers) }
	if side == relay.Client {
		begin = func(c net.Conn) *tls.Conn { return tls.Server(c, s.w.toClients) }
	}
	st, err := s.stream(side).Secure(ctx, begin)
	return s.secured(side, st, err)
}

// secured says what came of a handshake.
func (s *session) secured(side relay.Side, st tls.ConnectionState, err error) (problem string) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no handshake in time"
	case err != nil:
		return imsg.Printable(err.Error(), 200)
	}
	who := "server"
	if side == relay.Client {
		who = "client"
	}
	if side == relay.Client && s.w.cfg.Mode == imsg.ModeFixedProxy {
		s.clientTLS = &proxyheader.TLS{
			Version: "TLSv" + strings.TrimPrefix(tls.VersionName(st.Version), "TLS "), // as OpenSSL says it
			Cipher:  tls.CipherSuiteName(st.CipherSuite), ServerName: st.ServerName, ALPN: st.NegotiatedProtocol,
		}
	}
	s.info("TLS:BEGUN", "with", who, "version", tls.VersionName(st.Version), "cipher", tls.CipherSuiteName(st.CipherSuite),
		"resumed", st.DidResume, "server_name", imsg.Printable(st.ServerName, 255))
	return ""
}

// secureFirst is the handshake of a client that begins with TLS. False: there is no session.
func (s *session) secureFirst() bool {
	s.setup.Store(uint32(imsg.StateTLS))
	if !s.beginTLS(s.w.cfg.TLS.HandshakeTimeout) {
		s.end("client")
		return false
	}
	s.w.count(imsg.CountTLSTerminated, 1)
	s.facts.Secured[relay.Client] = true
	return true
}

// beginTLS is the handshake of a client that begins with it, be it to be refused.
func (s *session) beginTLS(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.context(), limit)
	defer cancel()
	st, err := s.client.SecureFirst(ctx, func(c net.Conn) *tls.Conn { return tls.Server(c, s.w.toClients) })
	if problem := s.secured(relay.Client, st, err); problem != "" {
		s.info("TLS:FAILED", "src", s.facts.Client.Addr(), "ident", s.facts.Ident, "error", problem)
		return false
	}
	return true
}

// secureServer is that with a server that begins with TLS. False: the client is served in
// its place.
func (s *session) secureServer() bool {
	s.setup.Store(uint32(imsg.StateTLS))
	problem := s.secure(relay.Server)
	if !s.clientGone() {
		s.Observe(imsg.FindingUpstreamTLS, s.facts.ServerObject(), problem)
	}
	if problem != "" {
		s.Log(slog.LevelWarn, "TLS:UPSTREAM_FAILED", "dst", s.facts.Target, "error", problem)
		if s.callNext() {
			return false
		}
		s.serveUnreachable(imsg.RuleServerTLS, problem, s.text(imsg.MsgTempUnavail))
		return false
	}
	s.facts.Secured[relay.Server] = true
	return true
}

// callAgain connects to the server anew, and returns why it could not, empty if it could.
func (s *session) callAgain() (problem string) {
	done := make(chan error, 1)
	s.dial(func(err error) { done <- err })
	if err := <-done; err != nil {
		return relay.ErrorText(err)
	}
	return ""
}
