package lookupd

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// patience bounds every wait of the tests for what must happen.
const patience = imsgtest.Patience

// house is a parent and its sessions around one running lookupd.
type house struct{ *family.Family }

// open starts the room with c.
func open(t testing.TB, c *imsg.LookupdConfig) house {
	t.Helper()
	h := house{family.Open(t, imsg.Lookupd, Main, nil)}
	h.Configure(c)
	return h
}

// session links a session worker to the room.
func (h house) session() *link.Conn { return h.Join(imsg.Session, 1, nil) }

func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, what, c)
}

// server is a name server whose zones are functions of the name in front of them.
type server struct {
	addr netip.AddrPort
	mu   sync.Mutex
	seen []string // names it was asked for
}

// zone answers a question, or not: then it returns nil.
type zone func(q *dns.Msg) *dns.Msg

// serve starts a name server for zones, on UDP.
func serve(t testing.TB, zones map[string]zone) *server {
	t.Helper()
	s := new(server)
	mux := dns.NewServeMux()
	for name, z := range zones {
		mux.HandleFunc(dns.Fqdn(name), func(w dns.ResponseWriter, q *dns.Msg) {
			s.mu.Lock()
			s.seen = append(s.seen, q.Question[0].Name)
			s.mu.Unlock()
			if m := z(q); m != nil {
				w.WriteMsg(m)
			}
		})
	}
	started := make(chan struct{})
	d := &dns.Server{Addr: "127.0.0.1:0", Net: "udp", Handler: mux, NotifyStartedFunc: func() { close(started) }}
	go d.ListenAndServe()
	await(t, "the name server", started)
	t.Cleanup(func() { d.Shutdown() })
	s.addr = netip.MustParseAddrPort(d.PacketConn.LocalAddr().String())
	return s
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// lists is a zone with these entries; names are in front of the zone's own.
func lists(origin string, entries map[string][]string) zone {
	return func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.TrimSuffix(q.Question[0].Name, "."+dns.Fqdn(origin))
		found, ok := entries[name]
		if !ok {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		}
		for _, a := range found {
			rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + a)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
}

func rcode(code int) zone {
	return func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
}

func silent(*dns.Msg) *dns.Msg { return nil }

// after delays a zone until c is closed.
func after(c <-chan struct{}, z zone) zone {
	return func(q *dns.Msg) *dns.Msg {
		select {
		case <-c:
		case <-time.After(patience):
		}
		return z(q)
	}
}
