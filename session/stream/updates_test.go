package stream

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// sealer makes records of a client that crypto/tls would not make (RFC 8446, 5.2).
type sealer struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	n      uint64
}

func (s *sealer) expand(label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, s.secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *sealer) set(secret []byte) {
	s.secret, s.n = secret, 0
	block, err := aes.NewCipher(s.expand("key", 16))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		s.t.Fatal(err)
	}
	s.iv = s.expand("iv", 12)
}

func (s *sealer) record(kind byte, text string) []byte {
	nonce := bytes.Clone(s.iv)
	for i := range 8 {
		nonce[11-i] ^= byte(s.n >> (8 * i))
	}
	s.n++
	n := len(text) + 1 + s.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return s.aead.Seal(head, nonce, append([]byte(text), kind), head)
}

// update is a KeyUpdate, that has the other side update its own if it is asked to.
func (s *sealer) update(ask byte) []byte {
	r := s.record(22, string([]byte{24, 0, 0, 1, ask}))
	s.set(s.expand("traffic upd", sha256.Size))
	return r
}

// sealed is a pair with TLS 1.3 whose far end makes its records itself.
func sealed(t testing.TB, p loop.Poller) (*Stream, net.Conn, *sealer) {
	near, beneath := pair(t, p)
	var log bytes.Buffer
	far := tls.Client(beneath, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &log})
	failed := make(chan error, 1)
	go func() { failed <- far.Handshake() }()
	if _, err := near.Secure(context.Background(), func(c net.Conn) *tls.Conn { return tls.Server(c, ourselves) }); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	s := &sealer{t: t}
	for line := range strings.Lines(log.String()) {
		if w := strings.Fields(line); w[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(w[2])
			if err != nil {
				t.Fatal(err)
			}
			s.set(secret)
		}
	}
	return near, beneath, s
}

// TestKeysChange: a side may have keys changed as often as it likes, if it says something
// between. What answers that it must take, or is left: it is not kept for it without bound.
func TestKeysChange(t *testing.T) { pollers(t, testKeysChange) }

func testKeysChange(t *testing.T, p loop.Poller) {
	for _, takes := range []bool{true, false} {
		near, far, s := sealed(t, p)
		near.With(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1) })
		const lines, updates = 2000, 16
		var flood []byte
		for range lines {
			for range updates {
				flood = append(flood, s.update(1)...)
			}
			flood = append(flood, s.record(23, "NOOP\r\n")...)
		}
		go far.Write(flood)
		if takes {
			go io.Copy(io.Discard, far)
		}
		most, err := 0, error(nil)
		for err == nil && near.Received() < lines*int64(len("NOOP\r\n")) {
			if err = near.FillUntil(soon(t)); err == nil && takes {
				err = near.WriteUntil(soon(t), nil)
			}
			near.Consume(len(near.Bytes()))
			most = max(most, len(near.wire.sealed))
		}
		if most > 2*maxUntaken || takes && err != nil || !takes && err != errUntaken {
			t.Errorf("takes: %t; at most %d octets are kept, error %v", takes, most, err)
		}
		near.Close()
		far.Close()
	}
}
