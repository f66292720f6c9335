// The engine that needs nothing installed: it knows two strings, EICAR's for a
// virus and GTUBE for spam. It shows that a gateway works; it protects nobody.

package scand

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	eicarName  = "Eicar-Test-Signature"
	gtubeScore = 1000
)

// eicar returns the test string of eicar.org. It is kept back to front, lest a
// scanner takes our program for the virus.
func eicar() []byte {
	s := []byte(`*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X`)
	slices.Reverse(s)
	return s
}

// gtube returns the Generic Test for Unsolicited Bulk Email, kept likewise.
func gtube() []byte {
	s := []byte(`X43.C*LIAME-TSET-EBU-ITNA-DRADNATS-EBUTG*NENDI2*3NBSN.1NDAQBDJ4C*SJX`)
	slices.Reverse(s)
	return s
}

// builtin finds the strings of its roles, one after the other.
type builtin struct{ virus, spam *sync.Pool }

func newBuiltin(*imsg.EngineConfig, address, string) (engine, error) {
	pool := func(s []byte) *sync.Pool { return &sync.Pool{New: func() any { return newFinder(s) }} }
	return &builtin{virus: pool(eicar()), spam: pool(gtube())}, nil
}

func (b *builtin) scan(ctx context.Context, m *message) (finding, error) {
	found := finding{outcome: imsg.Clean}
	if m.roles&imsg.RoleVirus != 0 {
		switch yes, err := holds(ctx, m, b.virus); {
		case err != nil:
			return finding{}, err
		case yes:
			found.outcome, found.name = imsg.Caught, eicarName
		}
	}
	if m.roles&imsg.RoleSpam != 0 {
		switch yes, err := holds(ctx, m, b.spam); {
		case err != nil:
			return finding{}, err
		case yes:
			found.score = gtubeScore
		}
	}
	return found, nil
}

// holds tells whether the string that finders look for is in the message.
func holds(ctx context.Context, m *message, finders *sync.Pool) (bool, error) {
	f := finders.Get().(*finder)
	defer finders.Put(f)
	f.reset()
	for at := int64(0); at < m.size; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := m.file.ReadAt(f.piece[:min(pieceSize, m.size-at)], at)
		if n == 0 && err == io.EOF {
			return false, errShort
		}
		if n == 0 {
			return false, fmt.Errorf("read the message: %w", err)
		}
		if f.write(f.piece[:n]) {
			return true, nil
		}
		at += int64(n)
	}
	return false, nil
}

const pieceSize = 32 << 10

// finder looks for a string in a message that comes in pieces. It finds it as it
// stands, in quoted-printable (RFC 2045 section 6.7) and in base64 (section 6.8),
// without parsing MIME: quoted-printable is taken off everything, for it leaves
// other text alone; and what base64 makes of the string, at each of three
// alignments, is looked for in the message without its line ends.
type finder struct {
	plain []byte
	coded [3][]byte
	piece [pieceSize]byte

	text   []byte // with quoted-printable taken off
	packed []byte // without line ends
	escape []byte // an escape that the end of a piece has cut, at most 2 octets
}

func newFinder(s []byte) *finder {
	f := &finder{plain: s}
	for i := range f.coded {
		padded := base64.StdEncoding.EncodeToString(append(make([]byte, i), s...))
		// Those characters all of whose 6 bits come from s.
		f.coded[i] = []byte(padded[(8*i+5)/6 : 8*(i+len(s))/6])
	}
	return f
}

func (f *finder) reset() { f.text, f.packed, f.escape = f.text[:0], f.packed[:0], f.escape[:0] }

// write takes the next piece and tells whether the string has been found.
func (f *finder) write(p []byte) bool {
	f.packed = appendPacked(f.packed, p)
	if len(f.escape) > 0 {
		p = slices.Concat(f.escape, p)
	}
	var cut []byte
	f.text, cut = appendUnquoted(f.text, p)
	f.escape = append(f.escape[:0], cut...)

	if bytes.Contains(f.text, f.plain) {
		return true
	}
	f.text = tail(f.text, len(f.plain)-1)
	for _, c := range f.coded {
		if bytes.Contains(f.packed, c) {
			return true
		}
	}
	f.packed = tail(f.packed, 2*len(f.plain)) // base64 is shorter than that
	return false
}

// tail keeps the last n octets, in which the string may have begun.
func tail(b []byte, n int) []byte { return b[:copy(b, b[max(0, len(b)-n):])] }

// appendPacked appends p without CR and LF.
func appendPacked(to, p []byte) []byte {
	for len(p) > 0 {
		line, rest, _ := bytes.Cut(p, []byte{'\n'})
		for {
			part, more, ok := bytes.Cut(line, []byte{'\r'})
			to = append(to, part...)
			if !ok {
				break
			}
			line = more
		}
		p = rest
	}
	return to
}

// appendUnquoted appends p with quoted-printable taken off, and returns what may
// be the beginning of an escape at its end.
func appendUnquoted(to, p []byte) (out, cut []byte) {
	for {
		i := bytes.IndexByte(p, '=')
		if i < 0 {
			return append(to, p...), nil
		}
		to, p = append(to, p[:i]...), p[i:]
		switch {
		case len(p) == 1, len(p) == 2 && (p[1] == '\r' || hexValue(p[1]) >= 0):
			return to, p
		case p[1] == '\n':
			p = p[2:]
		case p[1] == '\r' && p[2] == '\n':
			p = p[3:]
		case hexValue(p[1]) >= 0 && len(p) > 2 && hexValue(p[2]) >= 0:
			to, p = append(to, byte(hexValue(p[1])<<4|hexValue(p[2]))), p[3:]
		default:
			to, p = append(to, '='), p[1:]
		}
	}
}

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
