package proxyheader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// v2 is a header of version 2.
func v2(command, family byte, block string, tlvs ...string) string {
	block += strings.Join(tlvs, "")
	b := append([]byte(v2Begin), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(block)))
	return string(b) + block
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// sealed puts the checksum in the place of the zeros of a TLV for it.
func sealed(header string) string {
	zeros := tlv(3, "\x00\x00\x00\x00")
	sum := crc32.Checksum([]byte(header), crc32.MakeTable(crc32.Castagnoli))
	return strings.Replace(header, zeros, tlv(3, string(binary.BigEndian.AppendUint32(nil, sum))), 1)
}

const (
	v4Block = "\xc0\x00\x02\x07" + "\xc6\x33\x64\x19" + "\x11\x5c" + "\x00\x19"
	from4   = "192.0.2.7:4444"
	to4     = "198.51.100.25:25"
)

var (
	v6Block = string(netip.MustParseAddr("2001:db8::7").AsSlice()) + string(netip.MustParseAddr("2001:db8::25").AsSlice()) + "\x11\x5c" + "\x00\x19"
	mapped  = string(append(make([]byte, 10), "\xff\xff\xc0\x00\x02\x07"...)) + string(netip.MustParseAddr("2001:db8::25").AsSlice()) + "\x11\x5c" + "\x00\x19"
	none    = tlv(3, "\x00\x00\x00\x00")
)

// TestParse: what a header says, or why it is none.
func TestParse(t *testing.T) {
	const check = "check"
	for name, tc := range map[string]struct {
		header, source, to string
		err                string // a part of it
	}{
		"v1":                 {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444 25\r\n", source: from4, to: to4},
		"v1 IPv6":            {header: "PROXY TCP6 2001:db8::7 2001:DB8::25 4444 25\r\n", source: "[2001:db8::7]:4444", to: "[2001:db8::25]:25"},
		"v1 mapped":          {header: "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.25 4444 25\r\n", source: from4, to: to4},
		"v1 port 0":          {header: "PROXY TCP4 192.0.2.7 198.51.100.25 0 25\r\n", source: "192.0.2.7:0", to: to4},
		"v1 unknown":         {header: "PROXY UNKNOWN\r\n", source: check},
		"v1 unknown, more":   {header: "PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n", source: check},
		"v1 longest":         {header: "PROXY UNKNOWN " + strings.Repeat("x", v1Limit-16) + "\r\n", source: check},
		"v1 too long":        {header: "PROXY UNKNOWN " + strings.Repeat("x", v1Limit-15) + "\r\n", err: "too long"},
		"v1 without end":     {header: "PROXY TCP4 " + strings.Repeat("1", v1Limit), err: "too long"},
		"v1 lower case":      {header: "proxy TCP4 192.0.2.7 198.51.100.25 4444 25\r\n", err: "no header"},
		"v1 lower family":    {header: "PROXY tcp4 192.0.2.7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 LF":              {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444 25\n", err: "wrong"},
		"v1 CR within":       {header: "PROXY TCP4 192.0.2.7\r 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 two blanks":      {header: "PROXY  TCP4 192.0.2.7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 blank at end":    {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444 25 \r\n", err: "wrong"},
		"v1 tab":             {header: "PROXY\tTCP4 192.0.2.7 198.51.100.25 4444 25\r\n", err: "no header"},
		"v1 five words":      {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444\r\n", err: "wrong"},
		"v1 no family":       {header: "PROXY \r\n", err: "wrong"},
		"v1 UDP4":            {header: "PROXY UDP4 192.0.2.7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 zone":            {header: "PROXY TCP6 fe80::7%eth0 2001:db8::25 4444 25\r\n", err: "wrong"},
		"v1 brackets":        {header: "PROXY TCP6 [2001:db8::7] 2001:db8::25 4444 25\r\n", err: "wrong"},
		"v1 zeros":           {header: "PROXY TCP4 192.000.2.7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 short address":   {header: "PROXY TCP4 192.7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v1 port 65536":      {header: "PROXY TCP4 192.0.2.7 198.51.100.25 65536 25\r\n", err: "wrong"},
		"v1 port 025":        {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444 025\r\n", err: "wrong"},
		"v1 port +25":        {header: "PROXY TCP4 192.0.2.7 198.51.100.25 4444 +25\r\n", err: "wrong"},
		"v1 4 in 6":          {header: "PROXY TCP6 192.0.2.7 2001:db8::25 4444 25\r\n", err: "wrong"},
		"v1 6 in 4":          {header: "PROXY TCP4 2001:db8::7 198.51.100.25 4444 25\r\n", err: "wrong"},
		"v2":                 {header: v2(0x21, 0x11, v4Block), source: from4, to: to4},
		"v2 IPv6":            {header: v2(0x21, 0x21, v6Block), source: "[2001:db8::7]:4444", to: "[2001:db8::25]:25"},
		"v2 mapped":          {header: v2(0x21, 0x21, mapped), source: from4, to: "[2001:db8::25]:25"},
		"v2 TLVs":            {header: v2(0x21, 0x11, v4Block, tlv(1, "h2"), tlv(4, "xxx"), tlv(0xee, "")), source: from4, to: to4},
		"v2 TLVs, most":      {header: v2(0x21, 0x11, v4Block, tlv(4, strings.Repeat("x", v2Limit-12-3))), source: from4, to: to4},
		"v2 TLVs, too many":  {header: v2(0x21, 0x11, v4Block, tlv(4, strings.Repeat("x", v2Limit-12-2))), err: "too long"},
		"v2 length 65535":    {header: v2(0x21, 0x11, strings.Repeat("x", 65535)), err: "too long"},
		"v2 length 0":        {header: v2(0x21, 0x11, ""), err: "wrong"},
		"v2 length 11":       {header: v2(0x21, 0x11, v4Block[:11]), err: "wrong"},
		"v2 4 in 6":          {header: v2(0x21, 0x21, v4Block), err: "wrong"},
		"v2 checksum":        {header: sealed(v2(0x21, 0x11, v4Block, tlv(4, "x"), none, tlv(4, "y"))), source: from4, to: to4},
		"v2 wrong checksum":  {header: v2(0x21, 0x11, v4Block, tlv(3, "\x01\x02\x03\x04")), err: "checksum"},
		"v2 short checksum":  {header: v2(0x21, 0x11, v4Block, tlv(3, "\x01")), err: "checksum"},
		"v2 two checksums":   {header: sealed(v2(0x21, 0x11, v4Block, none, tlv(3, "abcd"))), err: "checksum"},
		"v2 TLV of 2 octets": {header: v2(0x21, 0x11, v4Block, "\x04\x00"), err: "TLVs"},
		"v2 TLV over end":    {header: v2(0x21, 0x11, v4Block, "\x04\x00\x05abcd"), err: "TLVs"},
		"v2 LOCAL":           {header: v2(0x20, 0x00, ""), source: check},
		"v2 LOCAL, TCP4":     {header: v2(0x20, 0x11, v4Block), source: check},
		"v2 LOCAL, short":    {header: v2(0x20, 0x11, "xx"), source: check},
		"v2 LOCAL, garbage":  {header: v2(0x20, 0x11, v4Block, "\xff\xff\xff"), source: check},
		"v2 LOCAL, checksum": {header: sealed(v2(0x20, 0x00, "", none)), source: check},
		"v2 LOCAL, wrong":    {header: v2(0x20, 0x00, "", tlv(3, "abcd")), err: "checksum"},
		"v2 UNSPEC":          {header: v2(0x21, 0x00, ""), source: check},
		"v2 UNIX":            {header: v2(0x21, 0x31, strings.Repeat("x", 216)), err: "else than TCP"},
		"v2 UDP":             {header: v2(0x21, 0x12, v4Block), err: "else than TCP"},
		"v2 family 4":        {header: v2(0x21, 0x41, v4Block), err: "wrong"},
		"v2 transport 3":     {header: v2(0x21, 0x13, v4Block), err: "wrong"},
		"v2 LOCAL, 0x13":     {header: v2(0x20, 0x13, v4Block), err: "wrong"},
		"v2 version 1":       {header: v2(0x11, 0x11, v4Block), err: "unsupported"},
		"v2 command 2":       {header: v2(0x22, 0x11, v4Block), err: "unsupported"},
		"SMTP":               {header: "EHLO client.example\r\n", err: "no header"},
		"PROXYING":           {header: "PROXYING\r\n", err: "no header"},
	} {
		h, n, err := Parse([]byte(tc.header + "EHLO client.example\r\n"))
		if tc.err != "" {
			if err == nil || errors.Is(err, ErrShort) || !strings.Contains(err.Error(), tc.err) || n != 0 || h != (Header{}) {
				t.Errorf("%s: %+v, %d, %v", name, h, n, err)
			}
			continue
		}
		want := Header{Check: true}
		if tc.source != check {
			want = Header{Source: netip.MustParseAddrPort(tc.source), Destination: netip.MustParseAddrPort(tc.to)}
		}
		if h != want || n != len(tc.header) || err != nil {
			t.Errorf("%s: %+v, %d of %d, %v", name, h, n, len(tc.header), err)
		}
		for n := range len(tc.header) {
			if _, k, err := Parse([]byte(tc.header[:n])); err != ErrShort || k != 0 {
				t.Errorf("%s: its first %d octets: %d, %v", name, n, k, err)
			}
		}
	}
}

// FuzzParse: a header is read whole or not at all, whatever is behind it and however it is
// cut; what it says is an address or nothing; and nobody reads past it, or allocates for
// more than it has.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 192.0.2.7 198.51.100.25 4444 25\r\n", "PROXY TCP6 ::ffff:192.0.2.7 fe80::1%lo 0 65536\n", "PROXY UNKNOWN\r\n",
		v2(0x21, 0x11, v4Block), v2(0x21, 0x21, v6Block, tlv(1, "h2")), sealed(v2(0x21, 0x11, v4Block, none)), v2(0x20, 0x00, ""),
		v2(0x20, 0x11, "x"), v2(0x21, 0x31, strings.Repeat("x", 216)), v2(0x21, 0x12, v4Block), v2(0x11, 0x11, v4Block),
		v2(0x21, 0x11, v4Block, "\x04\xff\xff"), v2(0x21, 0x00, "", tlv(3, "abcd")), "EHLO x\r\n", v2Begin[:11],
	} {
		f.Add([]byte(s), uint(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		h, n, err := Parse(in)
		if n < 0 || n > len(in) || n > MaxHeader || (err == nil) != (n > 0) {
			t.Fatalf("%d of %d, %v", n, len(in), err)
		}
		if err == nil && (h.Check == h.Source.IsValid() || h.Source.IsValid() != h.Destination.IsValid() || h.Source.Addr().Is4In6() || h.Source.Addr().Zone() != "") {
			t.Fatalf("%+v", h)
		}
		if err == ErrShort && len(in) >= MaxHeader {
			t.Fatalf("more is waited for behind %d octets", len(in))
		}
		// The end of the slice is the end: what lies behind it is not seen.
		whole := append(bytes.Clone(in), v2(0x21, 0x11, v4Block)...)
		if h2, n2, err2 := Parse(whole[:len(in):len(in)]); h2 != h || n2 != n || err2 != err && err2.Error() != err.Error() {
			t.Fatalf("%+v %d %v, and %+v %d %v", h, n, err, h2, n2, err2)
		}
		if err == nil {
			if h2, n2, err2 := Parse(whole); h2 != h || n2 != n || err2 != nil {
				t.Fatalf("with more behind it: %+v %d %v, and %+v %d %v", h, n, err, h2, n2, err2)
			}
			if k := int(cut % uint(n)); k < n {
				if _, _, err := Parse(in[:k]); err != ErrShort {
					t.Fatalf("%d of %d: %v", k, n, err)
				}
			}
		}
	})
}
