package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// nobody is the room that has the keys, away.
type nobody struct{}

func (nobody) Sign(*imsg.Sign) (*imsg.Signature, error)         { return nil, imsg.Gone }
func (nobody) Seal(*imsg.SealTicket) (*imsg.Ticket, error)      { return nil, imsg.Gone }
func (nobody) Open(*imsg.OpenTicket) (*imsg.TicketState, error) { return nil, imsg.Gone }

// liar is one that answers what makes no sense.
type liar struct{ nobody }

func (liar) Open(*imsg.OpenTicket) (*imsg.TicketState, error) {
	return &imsg.TicketState{State: "\x03\x04rubbish"}, nil
}

// TestTake: what is no certificate was said by nobody honest.
func TestTake(t *testing.T) {
	for _, parts := range [][]string{{"x"}, {"0\x82\x01"}, {"\x30\x00", "\x30\x00"}} {
		if err := New(nobody{}).Take(&imsg.Certificate{Parts: parts}); err == nil {
			t.Errorf("%q is taken", parts)
		}
	}
}

// TestTickets: one that cannot be had, or opens nothing, is no reason to fail.
func TestTickets(t *testing.T) {
	octets, err := New(nobody{}).seal(tls.ConnectionState{}, &tls.SessionState{})
	if err != nil || len(octets) == 0 {
		t.Errorf("no ticket: %v", err)
	}
	for _, keys := range []Keys{nobody{}, liar{}} {
		for _, ticket := range []string{"", "x", strings.Repeat("x", imsg.MaxTicket), strings.Repeat("x", imsg.MaxTicket+1)} {
			if state, err := New(keys).open([]byte(ticket), tls.ConnectionState{}); state != nil || err != nil {
				t.Errorf("%T opens a ticket of %d octets: %v, %v", keys, len(ticket), state, err)
			}
		}
	}
}

// TestNobody: a client that comes before the first certificate waits no longer than it
// has, and its hello is not needed for that.
func TestNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := New(nobody{}).Config(imsg.TLS12)
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Client(client, &tls.Config{ServerName: "a.example"}).Handshake()
	if err := tls.Server(server, c).HandshakeContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// FuzzTake: whatever is told, the store takes it or says why not.
func FuzzTake(f *testing.F) {
	f.Add("\x30\x82\x01\x00", "")
	f.Add("", "\x30\x00")
	f.Fuzz(func(t *testing.T, one, two string) {
		s := New(nobody{})
		if err := s.Take(&imsg.Certificate{Parts: []string{one, two}}); err == nil && s.known[0].Leaf == nil {
			t.Error("a certificate without one is taken")
		}
	})
}
