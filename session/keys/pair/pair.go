// Package pair is a certificate with its private key: what is taken for one, and which
// signatures its key makes. The room that has the keys goes by it, and so does whoever
// looks at the files beforehand.
package pair

// This file owns both. Nothing of the key ever leaves it, in no error either.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// largest is more than a chain or a key needs, in octets.
const largest = 128 << 10

// maxRSA is the largest key, in bits, whose signature can be told.
const maxRSA = imsg.MaxSignature * 8

// Pair is one.
type Pair struct {
	ID         uint64   // the same for the same certificate, in whatever room
	Parts      []string // of the chain, in DER
	Name       string   // the first it is for
	Begin, End time.Time
	key        crypto.Signer
}

// Error is why files are none.
type Error struct {
	Key   bool // the private key's file is to blame, else the chain's
	Names imsg.PairNames
	Err   error
}

func (e *Error) Error() string {
	if e.Key {
		return fmt.Sprintf("its key %s: %v", e.Names.Key, e.Err)
	}
	return fmt.Sprintf("its chain: %v", e.Err)
}

// Read reads the files of one, which it leaves open; names is what they are called. One
// that has expired, or is for later, is one all the same: see Timely. Without a key it is
// to be looked at only. The error is an *Error.
func Read(names imsg.PairNames, chain, key *os.File) (*Pair, error) {
	p := new(Pair)
	leaf, err := p.readChain(chain)
	if err != nil {
		return nil, &Error{false, names, err}
	}
	if key == nil {
		return p, nil
	}
	if p.key, err = readKey(key); err != nil {
		return nil, &Error{true, names, err}
	}
	if public, ok := p.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, &Error{true, names, errors.New("it is not that of the first certificate of the chain: name the key that this was made for")}
	}
	return p, nil
}

// Timely tells why clients do not trust it at a time, nil if they may.
func (p *Pair) Timely(now time.Time) error {
	switch {
	case now.After(p.End):
		return fmt.Errorf("it has expired at %s", stamp(p.End))
	case now.Before(p.Begin):
		return fmt.Errorf("it is not valid before %s", stamp(p.Begin))
	}
	return nil
}

// read reads a file from its beginning, whoever has read of it before.
func read(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, largest+1))
	if err == nil && len(text) > largest {
		err = fmt.Errorf("it is larger than %d octets", largest)
	}
	return text, err
}

func (p *Pair) readChain(f *os.File) (*x509.Certificate, error) {
	text, err := read(f)
	if err != nil {
		return nil, err
	}
	var der []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			der = append(der, block.Bytes...)
		}
	}
	all, err := x509.ParseCertificates(der)
	switch {
	case len(der) == 0:
		return nil, errors.New("it has no certificate in PEM")
	case err != nil:
		return nil, err
	case len(der) > imsg.ChainParts*imsg.ChainPart:
		return nil, fmt.Errorf("it has more than %d octets of certificates", imsg.ChainParts*imsg.ChainPart)
	}
	leaf := all[0]
	for part := range slices.Chunk(der, imsg.ChainPart) {
		p.Parts = append(p.Parts, string(part))
	}
	sum := sha256.Sum256(leaf.Raw)
	p.ID, p.Name, p.Begin, p.End = binary.BigEndian.Uint64(sum[:]), nameOf(leaf), leaf.NotBefore, leaf.NotAfter
	return leaf, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// nameOf is the first name a certificate is for.
func nameOf(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if len(c.DNSNames) > 0 {
		name = c.DNSNames[0]
	}
	if name == "" && len(c.IPAddresses) > 0 {
		name = c.IPAddresses[0].String()
	}
	if name == "" {
		name = "without a name"
	}
	return imsg.Printable(name, 100)
}

// readKey reads a private key in PEM: PKCS #8, PKCS #1 or SEC 1. Beside it there may be
// the parameters of a curve.
func readKey(f *os.File) (crypto.Signer, error) {
	text, err := read(f)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	block, rest := pem.Decode(text)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("it has no private key in PEM")
	}
	defer clear(block.Bytes)
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a key of the kind %s is not known, or encrypted: write it without a password, closed to everybody else", block.Type)
	}
	if err != nil || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("it cannot be read, or is encrypted: write it without a password, closed to everybody else")
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if n := key.N.BitLen(); n > maxRSA {
			return nil, fmt.Errorf("it has %d bits, at most %d can be used", n, maxRSA)
		}
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errors.New("it is none of RSA, ECDSA, and Ed25519")
}

// ErrNonsense is a question that no handshake leads to.
var ErrNonsense = errors.New("asks for a signature that no handshake needs")

// Fits tells whether q is something to sign for the key: its kind of hash, and as many
// octets as that has. old allows what TLS before 1.2 has signed.
func (p *Pair) Fits(q *imsg.Sign, old bool) error {
	hash := crypto.Hash(q.Hash)
	_, isRSA := p.key.(*rsa.PrivateKey)
	if _, ok := p.key.(ed25519.PrivateKey); ok {
		if hash != 0 || q.PSS {
			return ErrNonsense
		}
		return nil
	}
	size := hash.Size
	switch {
	case slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, hash):
	case old && hash == crypto.SHA1 && !q.PSS:
	case old && hash == crypto.MD5SHA1 && !q.PSS && isRSA:
	default:
		return ErrNonsense
	}
	if len(q.Digest) != size() || q.PSS && !isRSA {
		return ErrNonsense
	}
	return nil
}

// Sign signs what fits.
func (p *Pair) Sign(q *imsg.Sign) (*imsg.Signature, error) {
	var opts crypto.SignerOpts = crypto.Hash(q.Hash)
	if q.PSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.Hash(q.Hash)}
	}
	s, err := p.key.Sign(rand.Reader, []byte(q.Digest), opts)
	if err != nil { // too small a key for the hash, as a rule
		return nil, imsg.Invalid
	}
	return &imsg.Signature{Octets: string(s)}, nil
}
