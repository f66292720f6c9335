package scand

import (
	"bufio"
	"encoding/binary"
	"errors"
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
		return address{"unix", a.String(), a.String()}
	}
	return address{"tcp4", a.String(), a.String()}
}

// readClamd takes a question as clamd would: its command, and the message that
// came with it, by descriptor, as a stream or by path.
func readClamd(c net.Conn) (command, text string, err error) {
	if u, ok := c.(*net.UnixConn); ok {
		return readFildes(u)
	}
	r := bufio.NewReader(c)
	if form, err := r.Peek(1); err != nil || form[0] != 'z' {
		command, err = r.ReadString('\n')
		return command, "", err
	}
	if command, err = r.ReadString(0); err != nil || command != "zINSTREAM\x00" {
		return command, "", err
	}
	var b strings.Builder
	for {
		var n uint32
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			return command, b.String(), err
		}
		if n == 0 {
			return command, b.String(), nil
		}
		if _, err := io.CopyN(&b, r, int64(n)); err != nil {
			return command, b.String(), err
		}
	}
}

func readFildes(u *net.UnixConn) (command, text string, err error) {
	buf, oob := make([]byte, 512), make([]byte, 128)
	var all []byte
	for {
		n, on, _, _, err := u.ReadMsgUnix(buf, oob)
		if err != nil {
			return string(all), "", err
		}
		if n == 0 {
			return string(all), "", io.EOF
		}
		all = append(all, buf[:n]...)
		if on > 0 {
			msgs, err := unix.ParseSocketControlMessage(oob[:on])
			if err != nil {
				return string(all), "", err
			}
			fds, err := unix.ParseUnixRights(&msgs[0])
			if err != nil || len(fds) != 1 {
				return string(all), "", errors.New("not one descriptor")
			}
			f := os.NewFile(uintptr(fds[0]), "message")
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return string(all), "", err
			}
			text := make([]byte, info.Size())
			_, err = f.ReadAt(text, 0)
			if err == io.EOF {
				err = nil
			}
			return string(all), string(text), err
		}
		if all[0] != 'z' && all[len(all)-1] == '\n' {
			return string(all), "", nil
		}
	}
}

// readSpamd takes a whole question up to the half-close.
func readSpamd(c net.Conn) (string, error) {
	b, err := io.ReadAll(c)
	return string(b), err
}
