package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/session/certificate"
)

// authority signs what tests show.
type authority struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue returns a chain for names, in PEM.
func (a *authority) issue(t testing.TB, key crypto.Signer, from, to time.Time, names ...string) string {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, DNSNames: names, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature,
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", der) + inPEM("CERTIFICATE", a.cert.Raw)
}

func (a *authority) valid(t testing.TB, key crypto.Signer, names ...string) string {
	t.Helper()
	return a.issue(t, key, time.Now().Add(-time.Hour), time.Now().Add(100*time.Hour), names...)
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("PRIVATE KEY", der)
}

// house is the room with a family around it.
type house struct {
	*family.Family
	t     testing.TB
	bad   chan imsg.BadPeer
	told  chan *imsg.Certificates
	shown chan imsg.Shown
}

func open(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, bad: make(chan imsg.BadPeer, 8), told: make(chan *imsg.Certificates, 64), shown: make(chan imsg.Shown, 64)}
	h.Family = family.Open(t, imsg.Keys, Main, func(r link.Request) {
		defer r.Close()
		switch m := r.Message.(type) {
		case *imsg.BadPeer:
			h.bad <- *m
		case *imsg.Shown:
			h.shown <- *m
		}
	})
	return h
}

// start has it be ready with certificates, each a chain and a key.
func (h *house) start(strict bool, tickets []imsg.TicketKey, all ...[2]string) {
	h.t.Helper()
	c := &imsg.KeysConfig{Generation: 3, Strict: strict}
	for i := range all {
		c.Certificates = append(c.Certificates, imsg.PairNames{Chain: fmt.Sprintf("/etc/%d/chain", i), Key: fmt.Sprintf("/etc/%d/key", i)})
	}
	h.Tell(c)
	h.Tell(&imsg.TicketKeys{Keys: tickets})
	for i := range all {
		h.hand(i, all[i])
	}
}

func (h *house) ready() {
	h.t.Helper()
	imsgtest.Receive(h.t, "Ready", h.Ready)
	h.Join(imsg.Lockd, 1, func(r link.Request) {
		if m, ok := r.Message.(*imsg.Certificates); ok {
			h.told <- m
		}
	})
}

// hand hands a pair over.
func (h *house) hand(number int, pair [2]string) {
	h.t.Helper()
	var files []*os.File
	for i, text := range pair {
		path := filepath.Join(h.t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			h.t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	h.Tell(&imsg.Pair{Number: number}, files...)
}

// tells waits until lockd was told what is asked for.
func (h *house) tells(what string, is func([]imsg.CertificateStatus) bool) {
	h.t.Helper()
	var last *imsg.Certificates
	if err := imsgtest.Eventually("lockd is not told "+what, func() bool {
		select {
		case last = <-h.told:
		default:
		}
		return last != nil && last.Generation == 3 && is(last.List)
	}); err != nil {
		h.t.Fatalf("%v: %+v", err, last)
	}
}

// worker is one, as far as it has TLS.
type worker struct {
	*link.Conn
	*certificate.Store
}

func (w *worker) Sign(q *imsg.Sign) (*imsg.Signature, error) {
	return link.Ask(w.Conn, q, imsgtest.Patience)
}

func (w *worker) Seal(q *imsg.SealTicket) (*imsg.Ticket, error) {
	return link.Ask(w.Conn, q, imsgtest.Patience)
}

func (w *worker) Open(q *imsg.OpenTicket) (*imsg.TicketState, error) {
	return link.Ask(w.Conn, q, imsgtest.Patience)
}

func (h *house) worker(member int) *worker {
	h.t.Helper()
	w := new(worker)
	w.Store = certificate.New(w)
	w.Conn = h.Link(imsg.Session, member)
	go w.Conn.Serve(func(r link.Request) {
		if m, ok := r.Message.(*imsg.Certificate); ok {
			if err := w.Take(m); err != nil {
				h.t.Error(err)
			}
		}
	})
	return w
}

// shake has a client shake hands with a worker. What goes wrong is either end's error.
func shake(t testing.TB, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(imsgtest.Deadline())
	}
	ended := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("220\r\n"))
		}
		if err != nil {
			a.Close()
		}
		ended <- err
	}()
	c := tls.Client(b, client)
	err := c.Handshake()
	if err == nil { // tickets come behind a handshake of 1.3
		_, err = c.Read(make([]byte, 16))
	}
	b.Close()
	if serr := <-ended; serr != nil {
		err = fmt.Errorf("server: %w, client: %w", serr, errOrNil(err))
	}
	return c.ConnectionState(), err
}

func errOrNil(err error) error {
	if err == nil {
		return fmt.Errorf("none")
	}
	return err
}

func freshKey() imsg.TicketKey {
	b := make([]byte, imsg.TicketIDLen+imsg.TicketSecretLen)
	rand.Read(b)
	return imsg.TicketKey{ID: string(b[:imsg.TicketIDLen]), Secret: string(b[imsg.TicketIDLen:])}
}

func contains(text, words string) bool { return strings.Contains(text, words) }

// idOf is what a worker calls a certificate by.
func idOf(t testing.TB, chain string) uint64 {
	t.Helper()
	block, _ := pem.Decode([]byte(chain))
	if block == nil {
		t.Fatal("no certificate")
	}
	sum := sha256.Sum256(block.Bytes)
	return binary.BigEndian.Uint64(sum[:])
}
