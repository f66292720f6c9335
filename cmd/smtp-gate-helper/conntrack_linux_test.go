package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

var (
	asked4 = tuple{netip.MustParseAddrPort("203.0.113.2:9199"), netip.MustParseAddrPort("203.0.113.1:49152")}
	began4 = tuple{netip.MustParseAddrPort("192.0.2.2:40000"), netip.MustParseAddrPort("198.51.100.25:25")}
	asked6 = tuple{netip.MustParseAddrPort("[2001:db8:2::2]:9199"), netip.MustParseAddrPort("[2001:db8:2::1]:49152")}
)

func TestQuestion(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the vector is of a little-endian machine")
	}
	want := "48000000" + "0101" + "0100" + "07000000" + "00000000" + // nlmsghdr
		"02000000" + // nfgenmsg
		"3400" + "0280" + // CTA_TUPLE_REPLY
		"1400" + "0180" + "08000100cb007102" + "08000200cb007101" + // CTA_TUPLE_IP
		"1c00" + "0280" + "0500010006000000" + "0600020023ef0000" + "06000300c0000000" // CTA_TUPLE_PROTO
	if got := hex.EncodeToString(ctQuestion(7, asked4)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// message makes an answer as the kernel would.
func message(kind uint16, seq uint32, body []byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN)
	b = append(b, body...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return b
}

// entry is a connection in an answer; the question's coding of a tuple serves.
func entry(began, reply tuple) []byte {
	b := []byte{unix.AF_INET, 0, 0, 0}
	for kind, tt := range []tuple{began, reply} {
		inner := ctQuestion(0, tt)[unix.NLMSG_HDRLEN+genLen+unix.NLA_HDRLEN:]
		b = attribute(b, uint16(kind+1)|unix.NLA_F_NESTED, inner)
		b = attribute(b, 99, []byte("unknown"))
	}
	return b
}

func TestAnswer(t *testing.T) {
	code := func(errno unix.Errno) []byte {
		return append(binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))), make([]byte, 16)...)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"found", message(ctNew, 7, entry(began4, asked4)), nil},
		{"unknown", message(unix.NLMSG_ERROR, 7, code(unix.ENOENT)), wire.ErrNotFound},
		{"not allowed", message(unix.NLMSG_ERROR, 7, code(unix.EPERM)), unix.EPERM},
		{"not translated", message(ctNew, 7, entry(tuple{asked4.dst, asked4.src}, asked4)), wire.ErrNotFound},
		{"the other way", message(ctNew, 7, entry(asked4, tuple{asked4.dst, asked4.src})), wire.ErrNotFound},
		{"another one", message(ctNew, 7, entry(began4, began4)), wire.ErrNotFound},
		{"another question's", message(ctNew, 8, entry(began4, asked4)), errNetlink},
		{"another type", message(3, 7, entry(began4, asked4)), errNetlink},
		{"empty", nil, errNetlink},
		{"cut", message(ctNew, 7, entry(began4, asked4))[:40], errNetlink},
		{"nothing in it", message(ctNew, 7, make([]byte, 4)), wire.ErrNotFound},
	} {
		got, err := ctAnswer(tt.b, 7, asked4)
		if !errors.Is(err, tt.want) || err == nil && got != began4 {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(message(ctNew, 7, entry(began4, asked4)))
	f.Add(message(ctNew, 7, entry(asked6, asked6)))
	f.Add(message(unix.NLMSG_ERROR, 7, make([]byte, 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, q := range []tuple{asked4, asked6} {
			before := bytes.Clone(b)
			got, err := ctAnswer(b, 7, q)
			if err == nil && (!got.dst.IsValid() || got.dst == q.src) {
				t.Errorf("%x: %v", b, got)
			}
			if !bytes.Equal(b, before) {
				t.Errorf("%x was changed", before)
			}
		}
	})
}
