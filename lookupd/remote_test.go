package lookupd

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lookupd/nat"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

var target4 = netip.MustParseAddrPort("198.51.100.25:25")

const secret = 0xfeedf00d

// absent skips a test that needs something this machine lacks.
func absent(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("GATED_REQUIRE") == "all" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}

// ends are the connection that the tests ask about.
func ends(addr string) *imsg.TargetQuery {
	a := netip.MustParseAddr(addr)
	return &imsg.TargetQuery{Client: netip.AddrPortFrom(a, 49152), Local: netip.AddrPortFrom(a, 9199)}
}

// locate asks c and returns the answer as text, an error as its kind's.
func locate(c *link.Conn, q *imsg.TargetQuery) string {
	m, err := link.Ask(c, q, patience)
	if err != nil {
		return err.Error()
	}
	l := m
	return strings.TrimSpace(l.Target.String() + " " + l.Ident)
}

// router runs a helper of the text language that answers with f what it was asked.
func router(t *testing.T, addr string, f func(conn net.Conn, question string)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		absent(t, "listen on "+addr, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 100)
				n, _ := conn.Read(buf)
				f(conn, string(buf[:n]))
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func TestRemote(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
	}{
		{"found", "49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n", "198.51.100.25:25 alice"},
		{"no line end", "49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice", "198.51.100.25:25 alice"},
		{"not known", "49152 , 9199 : ERROR : NO-USER\r\n", imsg.NotFound.Error()},
		{"other ports", "49153 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\n", imsg.Invalid.Error()},
		{"nothing", "", imsg.Invalid.Error()},
		{"rubbish", "HTTP/1.1 400 Bad Request\r\n", imsg.Invalid.Error()},
		{"endless", strings.Repeat("x", 4096), imsg.Invalid.Error()},
		{"no address", "49152 , 9199 : ORIGIN : 0.0.0.0 : 25 : alice\r\n", imsg.Malformed.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := router(t, "127.0.0.1", func(conn net.Conn, question string) {
				if question != "49152 , 9199\r\n" {
					t.Errorf("question %q", question)
				}
				io.WriteString(conn, tt.answer)
			})
			c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemote, RemotePort: port, Timeout: patience}).session()
			if got := locate(c, ends("127.0.0.1")); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestRemoteFrom: the question comes from the address the client came to. All of
// 127/8 is this machine, on Linux.
func TestRemoteFrom(t *testing.T) {
	from := make(chan string, 1)
	port := router(t, "127.0.0.1", func(conn net.Conn, _ string) {
		from <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		io.WriteString(conn, "1 , 2 : ORIGIN : 192.0.2.1 : 25 : x")
	})
	if probe, err := net.Listen("tcp", "127.0.0.9:0"); err != nil {
		absent(t, "a second loopback address", err)
	} else {
		probe.Close()
	}
	c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemote, RemotePort: port, Timeout: patience}).session()
	got := locate(c, &imsg.TargetQuery{Client: netip.MustParseAddrPort("127.0.0.1:1"), Local: netip.MustParseAddrPort("127.0.0.9:2")})
	if addr := await(t, "the question", from); addr != "127.0.0.9" || got != "192.0.2.1:25 x" {
		t.Errorf("from %s: %s", addr, got)
	}
}

func TestRemoteFailures(t *testing.T) {
	silent := router(t, "127.0.0.1", func(conn net.Conn, _ string) { io.Copy(io.Discard, conn) })
	c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemote, RemotePort: silent, Timeout: 100 * time.Millisecond}).session()
	if got := locate(c, ends("127.0.0.1")); got != imsg.Timeout.Error() {
		t.Errorf("silent helper: %s", got)
	}
	c = open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemote, RemotePort: unused(t), Timeout: patience}).session()
	if got := locate(c, ends("127.0.0.1")); got != imsg.Internal.Error() {
		t.Errorf("no helper: %s", got)
	}
	c = open(t, &imsg.LookupdConfig{Mode: imsg.ModeFixed, Timeout: patience}).session()
	if got := locate(c, ends("127.0.0.1")); got != imsg.Invalid.Error() {
		t.Errorf("a mode that asks nobody: %s", got)
	}
}

func TestRemote6(t *testing.T) {
	port := router(t, "::1", func(conn net.Conn, _ string) {
		io.WriteString(conn, "49152 , 9199 : ORIGIN : [2001:db8::25] : 25 : bob\r\n")
	})
	c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemote, RemotePort: port, Timeout: patience}).session()
	if got := locate(c, ends("::1")); got != "[2001:db8::25]:25 bob" {
		t.Error(got)
	}
}

// unused returns a port on which nobody listens.
func unused(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// routerUDP runs a helper of the datagram language. f gets each datagram and how
// many came before it, and sends what it wants to.
func routerUDP(t *testing.T, addr string, f func(n int, d []byte, reply func([]byte))) uint16 {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
	if err != nil {
		absent(t, "listen on "+addr, err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for n := 0; ; n++ {
			buf := make([]byte, 200)
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			f(n, buf[:size], func(d []byte) { conn.WriteTo(d, from) })
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String()).Port()
}

// rightReply answers d by hand: what is compared is not what wire makes of it.
func rightReply(d []byte) []byte {
	d = append([]byte(nil), d...)
	binary.BigEndian.PutUint16(d[14:], 0x12)
	copy(d[20:], target4.Addr().AsSlice())
	binary.BigEndian.PutUint16(d[26:], target4.Port())
	copy(d[28:], "alice")
	return d
}

func TestRemoteUDP(t *testing.T) {
	const found = "198.51.100.25:25 alice"
	// wrong is a reply with some octets changed.
	wrong := func(at int, octets ...byte) func(int, []byte, func([]byte)) {
		return func(_ int, d []byte, reply func([]byte)) {
			r := rightReply(d)
			copy(r[at:], octets)
			reply(r)
		}
	}
	// ignored is one that must not end the wait for the right one.
	ignored := func(at int, octets ...byte) func(int, []byte, func([]byte)) {
		return func(n int, d []byte, reply func([]byte)) {
			wrong(at, octets...)(n, d, reply)
			reply(rightReply(d))
		}
	}
	for _, tt := range []struct {
		name  string
		f     func(n int, d []byte, reply func([]byte))
		limit time.Duration
		want  string
	}{
		{"found", func(_ int, d []byte, reply func([]byte)) { reply(rightReply(d)) }, patience, found},
		{"duplicated", func(_ int, d []byte, reply func([]byte)) { reply(rightReply(d)); reply(rightReply(d)) }, patience, found},
		{"two are lost", func(n int, d []byte, reply func([]byte)) {
			if n == 2 {
				reply(rightReply(d))
			}
		}, 100 * time.Millisecond, found},
		{"all are lost", func(int, []byte, func([]byte)) {}, 50 * time.Millisecond, imsg.Timeout.Error()},
		{"rubbish first", func(_ int, d []byte, reply func([]byte)) {
			reply([]byte("rubbish"))
			reply(make([]byte, 200))
			reply(nil)
			reply(rightReply(d))
		}, patience, found},
		{"wrong magic first", ignored(0, 'X'), patience, found},
		{"wrong cookie first", ignored(4, 1, 2, 3, 4), patience, found},
		{"wrong secret first", ignored(8, 0, 0, 0, 0), patience, found},
		{"only wrong magic", wrong(0, 'X'), 50 * time.Millisecond, imsg.Timeout.Error()},
		{"other version", wrong(12, 0x04, 0x01), patience, imsg.Invalid.Error()},
		{"no reply flag", wrong(14, 0, 0x11), patience, imsg.Invalid.Error()},
		{"not found", wrong(14, 0, 0x22), patience, imsg.NotFound.Error()},
		{"no address", wrong(20, 0, 0, 0, 0), patience, imsg.Malformed.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTime(t, tt.limit, func(limit time.Duration) bool {
				port := routerUDP(t, "127.0.0.1", tt.f)
				c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 3, RemoteSecret: secret, Timeout: limit}).session()
				got := locate(c, ends("127.0.0.1"))
				if got != tt.want && got != imsg.Timeout.Error() {
					t.Errorf("%s, want %s", got, tt.want)
				}
				return got == tt.want || t.Failed()
			})
		})
	}
}

// inTime asks with a limit, and again with a longer one as long as the answer was
// not there in time.
func inTime(t *testing.T, first time.Duration, ask func(limit time.Duration) (done bool)) {
	t.Helper()
	for limit := range imsgtest.Limits(first) {
		if ask(limit) {
			return
		}
	}
	t.Fatal("no limit was long enough")
}

// TestRemoteUDPQuestion holds the question against the format octet by octet.
func TestRemoteUDPQuestion(t *testing.T) {
	var questions chan []byte
	inTime(t, 200*time.Millisecond, func(limit time.Duration) bool {
		heard := make(chan []byte, 8)
		questions = heard
		port := routerUDP(t, "127.0.0.1", func(n int, d []byte, reply func([]byte)) {
			heard <- d
			if n == 1 {
				reply(rightReply(d))
			}
		})
		c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 2, RemoteSecret: secret, Timeout: limit}).session()
		return locate(c, ends("127.0.0.1")) == "198.51.100.25:25 alice"
	})
	first, second := await(t, "a question", questions), await(t, "the same again", questions)
	want := "RPHD" + string(first[4:8]) + "\xfe\xed\xf0\x0d\x04\x02\x00\x01" + "\x7f\x00\x00\x01\x7f\x00\x00\x01\xc0\x00\x23\xef" + strings.Repeat("\x00", 38)
	if string(first) != want || string(second) != want || len(questions) > 0 {
		t.Errorf("%d questions more than: %x, %x", len(questions), first, second)
	}
}

// TestRemoteUDPLate: the answer to the first try comes when the second has been
// sent, and serves.
func TestRemoteUDPLate(t *testing.T) {
	inTime(t, 200*time.Millisecond, func(limit time.Duration) bool {
		var first []byte
		port := routerUDP(t, "127.0.0.1", func(n int, d []byte, reply func([]byte)) {
			if n == 0 {
				first = rightReply(d)
				return
			}
			reply(first)
		})
		c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 2, RemoteSecret: secret, Timeout: limit}).session()
		return locate(c, ends("127.0.0.1")) == "198.51.100.25:25 alice"
	})
}

// TestRemoteUDPStranger: nobody but who was asked can answer, not even with the
// right cookie and secret.
func TestRemoteUDPStranger(t *testing.T) {
	helper, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer helper.Close()
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	c := open(t, &imsg.LookupdConfig{
		Mode: imsg.ModeRemoteUDP, RemoteRetries: 1, RemoteSecret: secret, Timeout: patience,
		RemotePort: netip.MustParseAddrPort(helper.LocalAddr().String()).Port(),
	}).session()
	answer := make(chan string, 1)
	go func() { answer <- locate(c, ends("127.0.0.1")) }()
	buf := make([]byte, 200)
	helper.SetDeadline(time.Now().Add(patience))
	n, from, err := helper.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	lie := rightReply(buf[:n])
	copy(lie[20:], []byte{203, 0, 113, 66})
	stranger.WriteTo(lie, from)
	helper.WriteTo(rightReply(buf[:n]), from)
	if got := await(t, "the answer", answer); got != "198.51.100.25:25 alice" {
		t.Error(got)
	}
}

// TestRemoteUDPAbsent: that nobody listens is told by a message anybody can forge,
// so it is waited for all the same; a helper that just starts is reached.
func TestRemoteUDPAbsent(t *testing.T) {
	port := unused(t)
	c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 2, Timeout: 50 * time.Millisecond}).session()
	if got := locate(c, ends("127.0.0.1")); got != imsg.Timeout.Error() {
		t.Error(got)
	}
}

func TestRemoteUDP6(t *testing.T) {
	port := routerUDP(t, "::1", func(_ int, d []byte, reply func([]byte)) {
		q, err := wire.ParseQuery(d, secret)
		if err != nil || len(d) != 90 {
			t.Errorf("question %x: %v", d, err)
		}
		reply(q.AppendFound(nil, wire.Answer{Target: netip.MustParseAddrPort("[2001:db8::25]:25"), Ident: "bob"}))
	})
	c := open(t, &imsg.LookupdConfig{Mode: imsg.ModeRemoteUDP, RemotePort: port, RemoteRetries: 1, RemoteSecret: secret, Timeout: patience}).session()
	if got := locate(c, ends("::1")); got != "[2001:db8::25]:25 bob" {
		t.Error(got)
	}
}

// TestFilter: what the packet filter's errors become.
func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		kernel error
		want   imsg.Errno
	}{
		{unix.ENOENT, imsg.NotFound},
		{unix.E2BIG, imsg.Internal},
		{unix.EPERM, imsg.Internal},
		{unix.ENOMEM, imsg.Resource},
	} {
		f := &filter{look: nat.PF}
		kernel := nat.Kernel(func(nat.Call) error { return tt.kernel })
		f.kernel.Store(&kernel)
		q := ends("127.0.0.1")
		_, err := f.find(t.Context(), q.Client, q.Local)
		var kind imsg.Errno
		if !errors.As(err, &kind) || kind != tt.want {
			t.Errorf("%v: %v", tt.kernel, err)
		}
	}
}

// TestFilterAnswers: what the packet filter says is the target, without an ident.
func TestFilterAnswers(t *testing.T) {
	// IPFilter's structure is the same on all systems: the answer stands at 32
	// and 60, and the question's ports before it.
	f := &filter{look: nat.IPFilter}
	kernel := nat.Kernel(func(c nat.Call) error {
		if client, local := binary.BigEndian.Uint16(c.Inner[58:]), binary.BigEndian.Uint16(c.Inner[56:]); client != 49152 || local != 9199 {
			t.Errorf("asked about the ports %d and %d", client, local)
		}
		copy(c.Inner[32:], target4.Addr().AsSlice())
		binary.BigEndian.PutUint16(c.Inner[60:], target4.Port())
		return nil
	})
	f.kernel.Store(&kernel)
	q := ends("127.0.0.1")
	if got, err := f.find(t.Context(), q.Client, q.Local); got != (wire.Answer{Target: target4}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNatDevice: the device is taken once, and only in a mode that asks it.
func TestNatDevice(t *testing.T) {
	device, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	h := open(t, &imsg.LookupdConfig{Mode: imsg.ModePf, Timeout: patience})
	c := h.session()
	if got := locate(c, ends("127.0.0.1")); got != imsg.Internal.Error() {
		t.Errorf("without a device: %s", got)
	}
	for range 2 {
		if err := h.Parent.Send(&imsg.NatDevice{}, device); err != nil {
			t.Fatal(err)
		}
	}
	if err := await(t, "the room's end", h.Ended); err == nil || !strings.Contains(err.Error(), "second packet filter") {
		t.Errorf("ended with %v", err)
	}
	h = open(t, &imsg.LookupdConfig{Mode: imsg.ModeFixed, Timeout: patience})
	if err := h.Parent.Send(&imsg.NatDevice{}, device); err != nil {
		t.Fatal(err)
	}
	if got := locate(h.session(), ends("127.0.0.1")); got != imsg.Invalid.Error() {
		t.Errorf("in another mode: %s", got)
	}
}
