package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// between moves octets from one stream to another and back, as a session does: whoever
// has news has it go on.
type between struct {
	mu     sync.Mutex
	sides  [2]*Stream
	half   [2]bool // it has ended
	over   bool
	direct bool
	ended  chan error
}

func (b *between) News(turn *loop.Turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := 1; !b.over && (b.step(0) || b.step(1)); n++ {
		if n%8 == 0 && turn.Again(b) {
			return
		}
	}
}

func (b *between) step(from int) (did bool) {
	in, out := b.sides[from], b.sides[1-from]
	if in == nil || out == nil || b.half[from] {
		return false
	}
	err := error(nil)
	switch {
	case b.direct:
		var n int
		n, err = in.Move(out)
		did = n > 0 || err == nil
	case len(in.Bytes()) > 0:
		var n int
		n, err = out.Write(in.Bytes())
		in.Consume(n)
		did = n > 0
	default:
		err = in.Fill()
		did = err == nil
	}
	switch err {
	case nil, ErrAgain:
		return did
	case io.EOF:
		b.half[from] = true
		out.CloseWrite()
		if b.half != [2]bool{true, true} {
			return true
		}
		err = nil
	}
	b.over = true
	in.Close()
	out.Close()
	b.ended <- err
	return true
}

// newBetween returns one, and its two ends.
func newBetween(t testing.TB, p loop.Poller, direct bool) (b *between, ends [2]net.Conn) {
	t.Helper()
	b = &between{direct: direct, ended: make(chan error, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.sides {
		b.sides[i], ends[i] = pairOf(t, p, b)
	}
	return b, ends
}

// TestBetween: what goes in at one end comes out at the other, both ways at once, however
// it is cut and however slowly it is read, and no descriptor is left.
func TestBetween(t *testing.T) { pollers(t, testBetween) }

func testBetween(t *testing.T, p loop.Poller) {
	var all sync.WaitGroup
	for seed := range uint64(24) {
		all.Go(func() {
			draw := rand.New(rand.NewPCG(seed, 1))
			b, ends := newBetween(t, p, seed%2 == 0)
			b.News(nil)
			var talks sync.WaitGroup
			for i := range ends {
				sent := make([]byte, draw.IntN(400_000))
				for j := range sent {
					sent[j] = byte(draw.Uint32())
				}
				one, two := rand.New(rand.NewPCG(seed, 2)), rand.New(rand.NewPCG(seed, 3))
				talks.Go(func() {
					for rest := sent; len(rest) > 0; {
						n := min(len(rest), 1+one.IntN(50_000))
						if _, err := ends[i].Write(rest[:n]); err != nil {
							t.Error(err)
							return
						}
						rest = rest[n:]
					}
					ends[i].(*net.TCPConn).CloseWrite()
				})
				talks.Go(func() {
					var got []byte
					buf := make([]byte, 40_000)
					for err := error(nil); err == nil; {
						var n int
						n, err = ends[1-i].Read(buf[:1+two.IntN(len(buf))])
						got = append(got, buf[:n]...)
						if two.IntN(8) == 0 {
							time.Sleep(time.Duration(two.IntN(int(time.Millisecond))))
						}
					}
					if !bytes.Equal(got, sent) {
						t.Errorf("seed %d: %d octets of %d came through, or others", seed, len(got), len(sent))
					}
				})
			}
			talks.Wait()
			if err := <-b.ended; err != nil {
				t.Errorf("seed %d: it ends with %v", seed, err)
			}
		})
	}
	all.Wait()
}

// TestClosedAtAnyPoint: wherever an end goes away, or we do, the session is over and holds
// nothing.
func TestClosedAtAnyPoint(t *testing.T) { pollers(t, testClosedAtAnyPoint) }

func testClosedAtAnyPoint(t *testing.T, p loop.Poller) {
	for seed := range uint64(60) {
		draw := rand.New(rand.NewPCG(seed, 4))
		b, ends := newBetween(t, p, seed%2 == 0)
		b.News(nil)
		from := draw.IntN(2)
		all := 1 + draw.IntN(2_000_000)
		go io.CopyN(ends[from], endless{}, int64(all))
		io.CopyN(io.Discard, ends[1-from], int64(draw.IntN(min(all, 300_000))))
		switch draw.IntN(4) {
		case 0: // a reset
			ends[from].(*net.TCPConn).SetLinger(0)
			ends[from].Close()
			go io.Copy(io.Discard, ends[1-from])
			ends[1-from].(*net.TCPConn).CloseWrite()
		case 1:
			ends[0].Close()
			ends[1].Close()
		case 2:
			ends[1-from].(*net.TCPConn).SetLinger(0)
			ends[1-from].Close()
			ends[from].Close()
		case 3:
			b.mu.Lock()
			b.sides[0].Close()
			b.sides[1].Close()
			b.mu.Unlock()
			b.News(nil)
		}
		imsgtest.Receive(t, "the end", b.ended)
		b.mu.Lock()
		for _, s := range b.sides {
			if s.open || s.pipe != nil {
				t.Errorf("seed %d: a descriptor is left", seed)
			}
		}
		b.mu.Unlock()
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func listening(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// TestConnect: a connection is made, refused, or given up, and is never one to itself.
func TestConnect(t *testing.T) { pollers(t, testConnect) }

func testConnect(t *testing.T, p loop.Poller) {
	connect := func(ctx context.Context, to *unix.SockaddrInet4) (*Stream, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := new(Stream)
		t.Cleanup(s.Close)
		if err := s.Connect(p, fd, to, nil); err != nil {
			return nil, err
		}
		for {
			from, err := s.Connected(netip.AddrPortFrom(netip.AddrFrom4(to.Addr), uint16(to.Port)))
			if err == nil && from != s.Local() {
				t.Errorf("from %v, not %v", from, s.Local())
			}
			if err != ErrAgain {
				return s, err
			}
			if err := s.Await(ctx, loop.Writable); err != nil {
				return s, err
			}
		}
	}
	l := listening(t)
	port := l.Addr().(*net.TCPAddr).Port
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	s, err := connect(soon(t), to)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("220 mx.example\r\n"))
	if err := s.FillUntil(soon(t)); err != nil || string(s.Bytes()) != "220 mx.example\r\n" {
		t.Errorf("%q, %v", s.Bytes(), err)
	}
	if err := s.WriteUntil(soon(t), []byte("QUIT\r\n")); err != nil {
		t.Error(err)
	}
	l.Close()
	if _, err = connect(soon(t), to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	deaf, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(deaf)
	if err := errors.Join(unix.Bind(deaf, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(deaf, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(deaf)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // its queue is soon full
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_, err = connect(ctx, sa.(*unix.SockaddrInet4))
		cancel()
		if err != nil {
			break
		}
	}
	if err != context.DeadlineExceeded {
		t.Errorf("nobody answers: %v", err)
	}
}

// teller tells of news.
type teller chan struct{}

func (c teller) News(*loop.Turn) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// TestListener: each who comes is accepted once, those too that came before we listened.
func TestListener(t *testing.T) { pollers(t, testListener) }

func testListener(t *testing.T, p loop.Poller) {
	given := listening(t)
	f, err := given.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const clients = 50
	dial := func() {
		c, err := net.Dial("tcp4", given.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	for range clients / 2 {
		dial()
	}
	var got atomic.Int32
	told := make(chan struct{}, 1)
	l, err := Listen(p, f, teller(told))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for range told {
			for {
				fd, from, err := l.Accept()
				if err == ErrAgain {
					break
				}
				if err != nil {
					return
				}
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
					t.Errorf("it blocks: flags %o, %v", flags, err)
				}
				if n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || n == 0 {
					t.Errorf("it delays: %d, %v", n, err)
				}
				if !from.Addr().IsLoopback() {
					t.Errorf("it is from %s", from)
				}
				unix.Close(fd)
				got.Add(1)
			}
		}
	}()
	for range clients / 2 {
		dial()
	}
	imsgtest.Until(t, "all are accepted", func() bool { return got.Load() == clients })
}
