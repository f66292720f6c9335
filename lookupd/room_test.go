package lookupd

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// patience bounds every wait of the tests for what must happen.
const patience = imsgtest.Patience

// house is a parent and its sessions around one running lookupd.
type house struct {
	t      testing.TB
	parent *link.Conn
	ended  chan error // what Main returned
	log    string     // file of the room's log
}

// open starts the room with c.
func open(t testing.TB, c *imsg.LookupdConfig) *house {
	t.Helper()
	ours, theirs, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, ended: make(chan error, 1), log: filepath.Join(t.TempDir(), "log")}
	if h.parent, err = link.NewConn(ours, imsg.Parent, imsg.Lookupd); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	go h.parent.Serve(func(r link.Request) {
		if _, ok := r.Message.(*imsg.Ready); ok {
			ready <- struct{}{}
		}
	})
	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	left := make(chan struct{})
	go func() {
		defer close(left)
		h.ended <- Main(theirs)
	}()
	t.Cleanup(func() {
		h.parent.Close()
		await(t, "the room's end", left)
	})
	if err := h.parent.Send(&imsg.Sink{Kind: imsg.SinkStream}, log); err != nil {
		t.Fatal(err)
	}
	if err := h.parent.Send(c); err != nil {
		t.Fatal(err)
	}
	await(t, "Ready", ready)
	return h
}

// session links a session worker to the room.
func (h *house) session() *link.Conn {
	h.t.Helper()
	ours, theirs, err := link.Pair()
	if err != nil {
		h.t.Fatal(err)
	}
	defer theirs.Close()
	if err := h.parent.Send(&imsg.Peer{Room: imsg.Session, Member: 1}, theirs); err != nil {
		h.t.Fatal(err)
	}
	c, err := link.NewConn(ours, imsg.Session, imsg.Lookupd)
	if err != nil {
		h.t.Fatal(err)
	}
	go c.Serve(func(r link.Request) { r.Close() })
	h.t.Cleanup(func() { c.Close() })
	return c
}

// logs waits for a line that has all of words, and returns the log up to then.
func (h *house) logs(words ...string) string {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(h.log)
		if err != nil {
			h.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return string(text)
			}
		}
	}
	text, _ := os.ReadFile(h.log)
	h.t.Fatalf("no line with %q in the log:\n%s", words, text)
	return ""
}

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
