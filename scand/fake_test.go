package scand

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// fake runs serve for every connection until the test ends.
func fake(t testing.TB, network string, serve func(net.Conn)) net.Addr {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(short(t), "socket")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	return l.Addr()
}

func addressOf(a net.Addr) address {
	if a.Network() == "unix" {
		return address{socket: a.String(), name: a.String()}
	}
	return address{port: a.(*net.TCPAddr).AddrPort(), name: a.String()}
}

// clamdSide is clamd's side of a connection.
type clamdSide struct {
	net.Conn
	in     *bufio.Reader
	rights []int // descriptors that have come
}

func newClamdSide(c net.Conn) *clamdSide {
	s := &clamdSide{Conn: c}
	s.in = bufio.NewReader(s)
	return s
}

// Read takes descriptors beside octets.
func (s *clamdSide) Read(p []byte) (int, error) {
	u, ok := s.Conn.(*net.UnixConn)
	if !ok {
		return s.Conn.Read(p)
	}
	oob := make([]byte, 128)
	n, on, _, _, err := u.ReadMsgUnix(p, oob)
	if err != nil || n == 0 {
		return 0, cmp.Or(err, io.EOF)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	for i := range msgs {
		fds, perr := unix.ParseUnixRights(&msgs[i])
		s.rights, err = append(s.rights, fds...), cmp.Or(err, perr)
	}
	return n, err
}

// question takes one as clamd would: its command, with what begins a conversation
// before it, and the message that came with it, by descriptor, as a stream or by path.
func (s *clamdSide) question() (command, text string, err error) {
	for {
		form, err := s.in.Peek(1)
		if err != nil {
			return command, "", err
		}
		end := map[bool]byte{true: 0, false: '\n'}[form[0] == 'z']
		word, err := s.in.ReadString(end)
		command += word
		switch {
		case err != nil:
			return command, "", err
		case word == "zIDSESSION\x00":
		case word == "zINSTREAM\x00":
			text, err = s.stream()
			return command, text, err
		case word == "zFILDES\x00":
			text, err = s.descriptor()
			return command, text, err
		default:
			return command, "", nil
		}
	}
}

func (s *clamdSide) stream() (string, error) {
	var b strings.Builder
	for {
		var n uint32
		if err := binary.Read(s.in, binary.BigEndian, &n); err != nil || n == 0 {
			return b.String(), err
		}
		if _, err := io.CopyN(&b, s.in, int64(n)); err != nil {
			return b.String(), err
		}
	}
}

// descriptor must have come with the command, as must the octet behind it.
func (s *clamdSide) descriptor() (string, error) {
	if len(s.rights) != 1 || s.in.Buffered() != 1 {
		return "", fmt.Errorf("%d descriptors, %d octets behind the command", len(s.rights), s.in.Buffered())
	}
	s.in.ReadByte()
	f := os.NewFile(uintptr(s.rights[0]), "message")
	s.rights = nil
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	return string(text), err
}

// readClamd takes the first question of a connection.
func readClamd(c net.Conn) (command, text string, err error) { return newClamdSide(c).question() }

// readSpamd takes a whole question up to the half-close.
func readSpamd(c net.Conn) (string, error) {
	b, err := io.ReadAll(c)
	return string(b), err
}
