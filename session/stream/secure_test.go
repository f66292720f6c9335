package stream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// ourselves is a certificate that nobody has signed.
var ourselves = func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gate.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}()

// securedPair is pair with TLS of a version.
func securedPair(t testing.TB, p loop.Poller, version uint16) (near *Stream, far *tls.Conn, beneath net.Conn) {
	t.Helper()
	near, beneath = pair(t, p)
	far = tls.Client(beneath, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	failed := make(chan error, 1)
	go func() { failed <- far.Handshake() }()
	st, err := near.Secure(context.Background(), func(c net.Conn) *tls.Conn { return tls.Server(c, ourselves) })
	if err := errors.Join(err, <-failed); err != nil {
		t.Fatal(err)
	}
	if st.Version != version {
		t.Fatalf("version is %x", st.Version)
	}
	return near, far, beneath
}

// TestSecured: what goes through TLS comes out as it was, both ways at once, however it is
// cut, and who waits holds no buffer.
func TestSecured(t *testing.T) { pollers(t, testSecured) }

func testSecured(t *testing.T, p loop.Poller) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far, _ := securedPair(t, p, version)
		sent := bytes.Repeat([]byte("0123456789abcdef\r\n"), 100_000)
		done := make(chan error, 3)
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%40_000)
				if _, err := far.Write(rest[:n]); err != nil {
					done <- err
					return
				}
				rest = rest[n:]
			}
			done <- far.CloseWrite()
		}()
		go func() {
			got, err := io.ReadAll(far)
			if err == nil && !bytes.Equal(got, sent) {
				err = errors.New("other octets came back")
			}
			done <- err
		}()
		go func() {
			for {
				if b := near.Bytes(); len(b) > 0 {
					if err := near.WriteUntil(soon(t), b); err != nil {
						done <- err
						return
					}
					near.Consume(len(b))
				}
				if err := near.FillUntil(soon(t)); err != nil {
					near.CloseWrite()
					if err == io.EOF {
						err = nil
					}
					done <- err
					return
				}
			}
		}()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if near.in != nil || near.Received() != int64(len(sent)) {
			t.Errorf("a buffer for nothing, or %d octets received", near.Received())
		}
	}
}

// TestSecuredWaits: a record that comes octet by octet is waited for without a buffer.
func TestSecuredWaits(t *testing.T) { pollers(t, testSecuredWaits) }

func testSecuredWaits(t *testing.T, p loop.Poller) {
	near, beneath := pair(t, p)
	inner, outer := net.Pipe() // shows the records one by one
	far := tls.Client(inner, &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: true})
	go io.Copy(outer, beneath)
	slow := make(chan byte)
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := outer.Read(b); err != nil {
				return
			}
			slow <- b[0]
		}
	}()
	go far.Write([]byte("NOOP\r\n"))
	secured := make(chan error, 1)
	go func() {
		_, err := near.Secure(context.Background(), func(c net.Conn) *tls.Conn { return tls.Server(c, ourselves) })
		secured <- err
	}()
	for over := false; !over; {
		select {
		case b := <-slow:
			beneath.Write([]byte{b})
		case err := <-secured:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		}
	}
	filled := make(chan error, 1)
	go func() { filled <- near.FillUntil(soon(t)) }()
	for {
		select {
		case b := <-slow:
			beneath.Write([]byte{b})
			continue
		case err := <-filled:
			if err != nil || string(near.Bytes()) != "NOOP\r\n" {
				t.Errorf("%q, error %v", near.Bytes(), err)
			}
		}
		break
	}
	near.Consume(len(near.Bytes()))
	if err := near.Fill(); err != ErrAgain || near.in != nil {
		t.Errorf("error %v; a buffer: %t", err, near.in != nil)
	}
}

// TestSecuredEnds: each way in which TLS ends is an end, or an error, and no octet is made
// up.
func TestSecuredEnds(t *testing.T) { pollers(t, testSecuredEnds) }

func testSecuredEnds(t *testing.T, p loop.Poller) {
	for name, end := range map[string]func(far *tls.Conn, beneath net.Conn){
		"properly": func(far *tls.Conn, _ net.Conn) { far.Close() },
		"cut":      func(_ *tls.Conn, beneath net.Conn) { beneath.Close() },
		"garbage":  func(_ *tls.Conn, beneath net.Conn) { beneath.Write([]byte("QUIT\r\nQUIT\r\nQUIT\r\n")) },
		"oversize": func(_ *tls.Conn, beneath net.Conn) {
			beneath.Write(append([]byte{23, 3, 3, 0xff, 0xff}, make([]byte, 0xffff)...))
		},
	} {
		near, far, beneath := securedPair(t, p, tls.VersionTLS13)
		end(far, beneath)
		if err := near.FillUntil(soon(t)); err == nil || len(near.Bytes()) > 0 {
			t.Errorf("%s: %q, error %v", name, near.Bytes(), err)
		}
		if near.in != nil {
			t.Errorf("%s: a buffer for nothing", name)
		}
	}
	near, far := pair(t, p)
	far.Write([]byte("NOOP\r\n"))
	if err := near.FillUntil(soon(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Secure(context.Background(), nil); err != ErrClear {
		t.Errorf("octets in clear: %v", err)
	}
	near, _ = pair(t, p)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := near.Secure(ctx, func(c net.Conn) *tls.Conn { return tls.Server(c, ourselves) }); err != context.DeadlineExceeded {
		t.Errorf("a handshake without end: %v", err)
	}
}

// BenchmarkSecured reads and writes lines through TLS.
func BenchmarkSecured(b *testing.B) {
	near, far, _ := securedPair(b, newLoop(b), tls.VersionTLS13)
	line := []byte("MAIL FROM:<alice@client.test>\r\n")
	back := make([]byte, len(line))
	b.ReportAllocs()
	for b.Loop() {
		far.Write(line)
		if err := near.FillUntil(context.Background()); err != nil {
			b.Fatal(err)
		}
		near.Write(near.Bytes())
		near.Consume(len(near.Bytes()))
		io.ReadFull(far, back)
	}
}
