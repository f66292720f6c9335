package site

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// TestBeginsWithTLS: which listeners are for TLS is a matter of the configuration in
// force, also of those that were open before, and of the names of those that were given.
func TestBeginsWithTLS(t *testing.T) {
	c := config.NewSite()
	a, b := imsgtest.Port(t), imsgtest.Port(t)
	c.Listen, c.ListenTLS = []netip.AddrPort{a}, []netip.AddrPort{b}
	var made, inherited, given socket.Set
	made.Inherit(socket.Bequest{Configured: a, Addr: a}, nil)
	inherited.Inherit(socket.Bequest{Configured: b, Addr: b}, nil)
	inherited.Inherit(socket.Bequest{Configured: a, Addr: a}, nil)
	given.Inherit(socket.Bequest{Given: true, Name: "smtp", Addr: b}, nil)
	given.Inherit(socket.Bequest{Given: true, Name: "smtps", Addr: a}, nil)
	s := &Site{Config: c}
	for _, set := range []*socket.Set{&made, &inherited, &given} {
		all, err := s.listen(set)
		if err != nil || len(all) != 2 || s.BeginsWithTLS(all[0]) || !s.BeginsWithTLS(all[1]) {
			t.Errorf("%d listeners, the second for TLS, %v", len(all), err)
		}
		set.Close()
	}
	c.ListenTLS = nil
	if _, err := s.listen(&given); err == nil || !strings.Contains(err.Error(), "listen.tls is empty") {
		t.Errorf("one was given that nothing is known of: %v", err)
	}
}
