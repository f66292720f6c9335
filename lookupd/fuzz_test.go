package lookupd

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

// heard is a connection on which reads return these, one by one.
type heard struct {
	net.Conn
	parts [][]byte
	read  int // octets
}

func (h *heard) Read(b []byte) (int, error) {
	if len(h.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, h.parts[0])
	h.parts, h.read = h.parts[1:], h.read+n
	return n, nil
}

// parts cuts b into pieces of at most size octets.
func parts(b []byte, size uint8) (all [][]byte) {
	for size := max(1, int(size)); len(b) > 0; b = b[min(size, len(b)):] {
		all = append(all, b[:min(size, len(b))])
	}
	return all
}

// FuzzReadLine: however the octets of a router come, one line of them is taken, the
// same as if they came at once, and no more is read than a line has.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("49152 , 9199 : ORIGIN : 198.51.100.25 : 25 : alice\r\nmore"), uint8(3))
	f.Add([]byte("no end"), uint8(1))
	f.Add(make([]byte, wire.MaxLine), uint8(200))
	f.Fuzz(func(t *testing.T, said []byte, size uint8) {
		h := &heard{parts: parts(said, size)}
		got, err := readLine(h)
		line, _, ended := bytes.Cut(said, []byte{'\n'})
		fits := len(line) < wire.MaxLine
		if h.read > wire.MaxLine || (err == nil) != fits || fits && !bytes.Equal(got, line) {
			t.Errorf("%q in parts of %d, with an end: %v: %q, %v", said, size, ended, got, err)
		}
	})
}

// FuzzAnswers: whatever datagrams come, what is none of ours does not end the wait, and
// what ends it is an error or a server that can be called and an ident of its length.
func FuzzAnswers(f *testing.F) {
	ends := ends("192.0.2.10")
	q := wire.Query{Cookie: 7, Secret: secret, Client: ends.Client, Proxy: ends.Local}
	found := q.AppendFound(nil, wire.Answer{Target: target4, Ident: "alice"})
	f.Add(found, uint8(len(found)))
	f.Add(append(bytes.Clone(found[:20]), found...), uint8(20))
	f.Add(append(make([]byte, len(found)), q.AppendNotFound(nil)...), uint8(len(found)))
	f.Fuzz(func(t *testing.T, said []byte, size uint8) {
		all := parts(said, size)
		a, err := answer(&heard{parts: all}, q)
		if err == nil && (!a.Target.IsValid() || a.Target.Port() == 0 || a.Target.Addr().Is6() || a.Target.Addr() == netip.IPv4Unspecified() || len(a.Ident) > 32) {
			t.Errorf("%x: %v", said, a)
		}
		ours := 0
		for _, d := range all {
			if _, err := q.ParseReply(d[:min(len(d), wire.MaxDatagram)]); err != wire.ErrIgnore {
				ours++
			}
		}
		if (err == io.EOF) != (ours == 0) {
			t.Errorf("%x: %v, %d answers", said, err, ours)
		}
	})
}
