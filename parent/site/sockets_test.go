package site

import (
	"net/netip"
	"slices"
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
	// Two whose ports the system picks are two, also after a reload, and for an heir.
	picked := netip.MustParseAddrPort("127.0.0.1:0")
	c.Listen, c.ListenTLS = []netip.AddrPort{picked}, []netip.AddrPort{picked}
	set, err := socket.NewSet()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var bound []netip.AddrPort
	for i, ofHeir := range []bool{false, false, true} {
		if ofHeir {
			heirs := new(socket.Set)
			for _, b := range set.Bequeath() {
				heirs.Inherit(b.Bequest, b.Sockets)
			}
			set = heirs
		}
		all, err := s.listen(set)
		if err != nil || len(all) != 2 || s.BeginsWithTLS(all[0]) || !s.BeginsWithTLS(all[1]) || all[0].Addr == all[1].Addr {
			t.Fatalf("%d listeners, the second for TLS, %v", len(all), err)
		}
		if now := []netip.AddrPort{all[0].Addr, all[1].Addr}; i > 0 && !slices.Equal(now, bound) {
			t.Errorf("bound to %v, and before to %v", now, bound)
		} else {
			bound = now
		}
	}
	c.ListenTLS = nil
	if _, err := s.listen(&given); err == nil || !strings.Contains(err.Error(), "listen.tls is empty") {
		t.Errorf("one was given that nothing is known of: %v", err)
	}
}
