package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lookupd"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

const deadline = imsgtest.Patience

var (
	target4 = netip.MustParseAddrPort("198.51.100.25:25")
	target6 = netip.MustParseAddrPort("[2001:db8:1::25]:25")
	behind4 = netip.MustParseAddrPort("10.1.2.3:40000")
	behind6 = netip.MustParseAddrPort("[2001:db8::10]:40000")
)

// known is a finder of connections to proxy port 9199.
func known(client, proxy netip.AddrPort) (origin, error) {
	switch {
	case proxy.Port() != 9199:
		return origin{}, wire.ErrNotFound
	case client.Addr().Is6():
		return origin{behind6, target6}, nil
	}
	return origin{behind4, target4}, nil
}

func newHelper(rate float64, allowed ...string) *helper {
	h := &helper{secret: 0x0a0b0c0d, find: known, log: slog.New(slog.DiscardHandler), limits: newLimits(rate)}
	for _, a := range allowed {
		p, err := prefix(a)
		if err != nil {
			panic(err)
		}
		h.allowed = append(h.allowed, p)
	}
	return h
}

// start serves h on addr, on a port of the system's choice for both protocols.
func start(t *testing.T, h *helper, addr string) uint16 {
	t.Helper()
	a := netip.MustParseAddr(addr)
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			absent(t, "listen on "+addr, err)
		}
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		l.Close()
		s, err := listen([]netip.Addr{a}, port)
		if err != nil {
			continue // somebody else has it for the other protocol
		}
		t.Cleanup(s.close)
		s.serve(h, make(chan error, 1))
		return port
	}
	t.Fatal("found no port")
	return 0
}

func absent(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("GATED_REQUIRE") == "all" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}

// asker asks as the gateway does: with its own lookup room.
type asker struct {
	parent, session *link.Conn
}

func newAsker(c *imsg.LookupdConfig) (*asker, error) {
	ours, theirs, err := link.Pair()
	if err != nil {
		return nil, err
	}
	a := new(asker)
	if a.parent, err = link.NewConn(ours, imsg.Parent, imsg.Lookupd); err != nil {
		return nil, err
	}
	go a.parent.Serve(func(r link.Request) { r.Close() })
	go lookupd.Main(theirs)
	ours, theirs, err = link.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := a.parent.Send(c); err != nil {
		return nil, err
	}
	if err := a.parent.Send(&imsg.Peer{Room: imsg.Session, Member: 1}, theirs); err != nil {
		return nil, err
	}
	if a.session, err = link.NewConn(ours, imsg.Session, imsg.Lookupd); err != nil {
		return nil, err
	}
	go a.session.Serve(func(r link.Request) { r.Close() })
	return a, nil
}

func (a *asker) close() { a.session.Close(); a.parent.Close() }

// ask returns the answer as text, an error as its kind's.
func (a *asker) ask(client, local netip.AddrPort) string {
	m, err := link.Ask(a.session, &imsg.TargetQuery{Client: client, Local: local}, deadline)
	if err != nil {
		return err.Error()
	}
	l := m
	return strings.TrimSpace(l.Target.String() + " " + l.Ident)
}

// TestAnswers has the gateway's own end ask the helper, in both languages.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"127.0.0.1", "198.51.100.25:25 10.1.2.3"},
		{"::1", "[2001:db8:1::25]:25 20010db8000000000000000000000010"},
	} {
		for _, mode := range []imsg.Mode{imsg.ModeRemote, imsg.ModeRemoteUDP} {
			t.Run(mode.String()+" "+tt.addr, func(t *testing.T) {
				port := start(t, newHelper(100, tt.addr), tt.addr)
				a, err := newAsker(&imsg.LookupdConfig{Mode: mode, Timeout: deadline / 2, RemotePort: port, RemoteRetries: 2, RemoteSecret: 0x0a0b0c0d})
				if err != nil {
					t.Fatal(err)
				}
				defer a.close()
				ip := netip.MustParseAddr(tt.addr)
				if got := a.ask(netip.AddrPortFrom(ip, 1), netip.AddrPortFrom(ip, 9199)); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				if got := a.ask(netip.AddrPortFrom(ip, 1), netip.AddrPortFrom(ip, 9198)); got != imsg.NotFound.Error() {
					t.Errorf("unknown connection: %s", got)
				}
			})
		}
	}
}

func TestReply(t *testing.T) {
	here, from := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.9:5555")
	q := wire.Query{Cookie: 7, Secret: 0x0a0b0c0d, Client: netip.AddrPortFrom(here, 1), Proxy: netip.AddrPortFrom(from.Addr(), 9199)}
	with := func(change func(*wire.Query)) []byte {
		c := q
		change(&c)
		return c.Append(nil)
	}
	right := q.Append(nil)
	stranger := netip.MustParseAddr("203.0.113.1")
	for _, tt := range []struct {
		name    string
		allowed string
		d       []byte
		answer  bool
	}{
		{"right", "192.0.2.9", right, true},
		{"network", "192.0.2.0/24", right, true},
		{"not allowed", "192.0.2.10", right, false},
		{"wrong secret", "192.0.2.9", with(func(q *wire.Query) { q.Secret++ }), false},
		{"about another proxy", "192.0.2.9", with(func(q *wire.Query) { q.Proxy = netip.AddrPortFrom(stranger, 9199) }), false},
		{"about another client", "192.0.2.9", with(func(q *wire.Query) { q.Client = netip.AddrPortFrom(stranger, 1) }), false},
		{"a reply", "192.0.2.9", q.AppendNotFound(nil), false},
		{"cut", "192.0.2.9", right[:65], false},
	} {
		if reply := newHelper(10, tt.allowed).reply(tt.d, from, here); (reply != nil) != tt.answer {
			t.Errorf("%s: %x", tt.name, reply)
		}
	}
}

// TestTCPRefusals: who may not ask, or asks nonsense, gets no word.
func TestTCPRefusals(t *testing.T) {
	for _, tt := range []struct{ name, allowed, question, want string }{
		{"right", "127.0.0.1", "1 , 9199\r\n", "1 , 9199 : ORIGIN : 198.51.100.25 : 25 : 10.1.2.3\r\n"},
		{"unknown", "127.0.0.1", "1 , 9198\r\n", "1 , 9198 : ERROR : NO-USER\r\n"},
		{"not allowed", "127.0.0.2", "1 , 9199\r\n", ""},
		{"rubbish", "127.0.0.1", "GET / HTTP/1.1\r\n", ""},
		{"endless", "127.0.0.1", strings.Repeat("1", 4096), ""},
	} {
		port := start(t, newHelper(10, tt.allowed), "127.0.0.1")
		conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(deadline))
		io.WriteString(conn, tt.question)
		got, _ := io.ReadAll(conn)
		conn.Close()
		if string(got) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestReplyLimit: what is forged in a proxy's name does not count against it.
func TestReplyLimit(t *testing.T) {
	here, from := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.9:5555")
	h := newHelper(2, "192.0.2.9")
	q := wire.Query{Secret: h.secret, Client: netip.AddrPortFrom(here, 1), Proxy: netip.AddrPortFrom(from.Addr(), 9199)}
	forged := q
	forged.Secret++
	now := time.Unix(1000, 0)
	h.limits.now = func() time.Time { return now }
	for range 10 {
		h.reply(forged.Append(nil), from, here)
	}
	for i, want := range []bool{true, true, false} {
		if got := h.reply(q.Append(nil), from, here); (got != nil) != want {
			t.Errorf("question %d: %x", i, got)
		}
	}
}

func TestLimits(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimits(2)
	l.now = func() time.Time { return now }
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	take := func(who netip.Addr, want ...bool) {
		t.Helper()
		for i, w := range want {
			if got := l.take(who); got != w {
				t.Errorf("question %d of %v: %v", i, who, got)
			}
		}
	}
	take(a, true, true, false)
	take(b, true, true, false)
	now = now.Add(500 * time.Millisecond)
	take(a, true, false)
	now = now.Add(time.Hour)
	take(a, true, true, false)
	for i := range maxBuckets {
		l.take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
	take(netip.MustParseAddr("192.0.2.3"), false)
	now = now.Add(time.Second)
	take(netip.MustParseAddr("192.0.2.3"), true)
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-a 192.0.2.1", ""},
		{"-a 192.0.2.1,2001:db8::/32 -l 192.0.2.9 -l ::1 -p 1140 -r 5 -v", ""},
		{"", "-a"},
		{"-a nonsense", "nonsense"},
		{"-a 192.0.2.1 -p 0", "no port"},
		{"-a 192.0.2.1 -p 65536", "no port"},
		{"-a 192.0.2.1 -r 0", "rate"},
		{"-a 192.0.2.1 more", "more"},
		{"-z", "-z"},
	} {
		_, err := parse(strings.Fields(tt.args), io.Discard)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.args, err)
		}
	}
	var out bytes.Buffer
	if run([]string{"-h"}, &out, io.Discard) != exitOK || !strings.Contains(out.String(), "proxies") {
		t.Errorf("help: %s", &out)
	}
	if run([]string{"-z"}, io.Discard, io.Discard) != exitUsage {
		t.Error("a wrong flag is no wrong usage")
	}
}

func TestReadSecret(t *testing.T) {
	for text, want := range map[string]int64{
		"12345\n": 12345, "0x0a0b0c0d": 0x0a0b0c0d, "010": 8, "-1": 0xffffffff, "4294967295": 0xffffffff,
		"": -1, "x": -1, "4294967296": -1, "-2147483649": -1,
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(file)
		if (err != nil) != (want < 0) || err == nil && got != uint32(want) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readSecret(file); err == nil {
		t.Error("a secret for everybody was taken")
	}
	if n, err := readSecret(""); n != 0 || err != nil {
		t.Errorf("no secret: %d, %v", n, err)
	}
}

// lines gives what r says line by line.
func lines(r io.Reader) <-chan string {
	c := make(chan string, 64)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			c <- s.Text()
		}
	}()
	return c
}

// await returns the first line that contains text.
func await(t *testing.T, c <-chan string, text string) string {
	t.Helper()
	limit := time.After(deadline)
	for {
		select {
		case line, ok := <-c:
			if strings.Contains(line, text) {
				return line
			}
			if !ok {
				t.Fatalf("ended without saying %q", text)
			}
			t.Log(line)
		case <-limit:
			t.Fatalf("waited in vain for %q", text)
		}
	}
}
