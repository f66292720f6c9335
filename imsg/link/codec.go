// Frames: a fixed header and a msgpack body. This file owns the coding and
// decides alone whether a frame is well formed and its message keeps its rules. It must never hand octets to the
// msgpack decoder that validate has not passed.

package link

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// A frame's header: type (2 octets), mark of the sender's table (2), call id (4, zero for
// what is told), and of what is asked the moment its asker waits no more (8,
// CLOCK_MONOTONIC in nanoseconds, else zero), little-endian.
const headerLen = imsg.HeaderLen

// tableMark keeps apart two programs whose rows have other numbers: Hello does so
// between rooms, but an operator's tool of another version says none, and could be
// understood to ask something else.
var tableMark = sync.OnceValue(func() uint16 { return uint16(imsg.Fingerprint()) })

type header struct {
	typ   imsg.Type
	id    uint32
	until int64
}

// ErrBadMessage is wrapped by every complaint about what came over a link.
var ErrBadMessage = errors.New("bad message")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadMessage}, args...)...)
}

// codec is what coding one frame needs, kept for the next.
type codec struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
	dec *msgpack.Decoder
	in  bytes.Reader
}

var codecs = sync.Pool{New: func() any {
	compactAddresses()
	c := new(codec)
	c.enc = msgpack.NewEncoder(&c.buf)
	c.enc.UseArrayEncodedStructs(true)
	c.enc.UseCompactInts(true)
	c.dec = msgpack.NewDecoder(&c.in)
	return c
}}

// compactAddresses has the library write addresses without an allocation; their
// form is what their MarshalBinary gives.
var compactAddresses = sync.OnceFunc(func() {
	msgpack.Register(netip.AddrPort{}, func(e *msgpack.Encoder, v reflect.Value) error {
		return encodeBinary(e, v.Addr().Interface().(*netip.AddrPort))
	}, nil)
	msgpack.Register(netip.Addr{}, func(e *msgpack.Encoder, v reflect.Value) error {
		return encodeBinary(e, v.Addr().Interface().(*netip.Addr))
	}, nil)
})

// encodeBinary appends a value as bin 8 straight to the codec's buffer. Messages
// are pointers, so every field is addressable.
func encodeBinary(e *msgpack.Encoder, v encoding.BinaryAppender) error {
	w := e.Writer().(*bytes.Buffer)
	const bin8 = 0xc4
	b, err := v.AppendBinary(append(w.AvailableBuffer(), bin8, 0))
	if err != nil {
		return err
	}
	if len(b)-2 > math.MaxUint8 { // a zone may have any length
		return fmt.Errorf("an address of %d octets", len(b)-2)
	}
	b[1] = byte(len(b) - 2)
	_, err = w.Write(b)
	return err
}

func (c *codec) free() {
	if c.buf.Cap() <= 64<<10 {
		codecs.Put(c)
	}
}

// encode writes a whole frame of e's type into c.buf and returns it; it is valid until the
// codec is used again.
func (c *codec) encode(e *imsg.Entry, m imsg.Message, id uint32) ([]byte, error) {
	c.buf.Reset()
	var h [headerLen]byte
	binary.LittleEndian.PutUint16(h[0:], uint16(e.Type))
	binary.LittleEndian.PutUint16(h[2:], tableMark())
	binary.LittleEndian.PutUint32(h[4:], id)
	c.buf.Write(h[:])
	c.enc.ResetWriter(&c.buf)
	if err := c.enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Name, err)
	}
	if n := c.buf.Len() - headerLen; n > e.Max {
		return nil, fmt.Errorf("encode %s: %d octets, at most %d can be sent", e.Name, n, e.Max)
	}
	return c.buf.Bytes(), nil
}

// setDeadline puts a deadline into an encoded frame.
func setDeadline(frame []byte, until int64) { binary.LittleEndian.PutUint64(frame[8:], uint64(until)) }

func parseHeader(frame []byte) (header, error) {
	if len(frame) < headerLen {
		return header{}, bad("%d octets are no frame", len(frame))
	}
	if binary.LittleEndian.Uint16(frame[2:]) != tableMark() {
		return header{}, bad("it comes from another version, with a table of its own")
	}
	return header{
		typ:   imsg.Type(binary.LittleEndian.Uint16(frame)),
		id:    binary.LittleEndian.Uint32(frame[4:]),
		until: int64(binary.LittleEndian.Uint64(frame[8:])),
	}, nil
}

// decode reads the body of a message of e's type.
func (c *codec) decode(e *imsg.Entry, body []byte) (m imsg.Message, err error) {
	if len(body) > e.Max {
		return nil, bad("%s of %d octets, at most %d", e.Name, len(body), e.Max)
	}
	if err := validate(body); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	m = e.New()
	c.in.Reset(body)
	c.dec.Reset(&c.in)
	if err := c.dec.Decode(m); err != nil {
		return nil, bad("%s: %v", e.Name, err)
	}
	// One form only: a missing, unknown or over-wide field, a map, a nil in
	// place of a struct, a number cut to its field's size and trailing octets
	// all show as a difference here.
	again, err := c.encode(e, m, 0)
	if err != nil {
		return nil, bad("%s: %v", e.Name, err)
	}
	if !bytes.Equal(again[headerLen:], body) {
		return nil, bad("%s is not in canonical form", e.Name)
	}
	if err := e.Check(m); err != nil {
		return nil, bad("%s: %v", e.Name, err)
	}
	return m, nil
}
