package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
)

// read has the library read a header that was written, and looks at its checksum.
func read(t *testing.T, text []byte) (*proxyproto.Header, map[proxyproto.PP2Type][]byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(append(text[:len(text):len(text)], "EHLO"...)))
	h, err := proxyproto.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := in.Peek(4); string(rest) != "EHLO" {
		t.Errorf("behind it comes %q", rest)
	}
	list, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[proxyproto.PP2Type][]byte)
	for _, v := range list {
		all[v.Type] = v.Value
	}
	sum := all[proxyproto.PP2_TYPE_CRC32C]
	blank := bytes.Replace(text, sum, make([]byte, len(sum)), 1)
	if len(sum) != 4 || binary.BigEndian.Uint32(sum) != crc32.Checksum(blank, crc32.MakeTable(crc32.Castagnoli)) {
		t.Errorf("the sum %x is wrong", sum)
	}
	return h, all
}

func TestAppend(t *testing.T) {
	for _, test := range []struct {
		source, destination         string
		saidSource, saidDestination string // net.IP shows a mapped address as IPv4
		six                         bool
	}{
		{"192.0.2.7:1234", "192.0.2.1:25", "192.0.2.7:1234", "192.0.2.1:25", false},
		{"[2001:db8::7]:1234", "[2001:db8::1]:25", "[2001:db8::7]:1234", "[2001:db8::1]:25", true},
		{"192.0.2.7:1234", "[2001:db8::1]:25", "192.0.2.7:1234", "[2001:db8::1]:25", true},
		{"[2001:db8::7]:1234", "192.0.2.1:25", "[2001:db8::7]:1234", "192.0.2.1:25", true},
		{"[::ffff:192.0.2.7]:1", "192.0.2.1:65535", "192.0.2.7:1", "192.0.2.1:65535", false},
		{"[fe80::7%1]:1234", "[fe80::1%1]:25", "[fe80::7]:1234", "[fe80::1]:25", true},
	} {
		h, all := read(t, Append(nil, Origin{Source: netip.MustParseAddrPort(test.source), Destination: netip.MustParseAddrPort(test.destination)}))
		if h.Command != proxyproto.PROXY || h.TransportProtocol.IsIPv6() != test.six || h.SourceAddr.String() != test.saidSource || h.DestinationAddr.String() != test.saidDestination || len(all) != 1 {
			t.Errorf("%s to %s: %v, %v to %v, %v", test.source, test.destination, h.TransportProtocol, h.SourceAddr, h.DestinationAddr, all)
		}
	}
}

// TestAppendTLS: what is known of the client's TLS is told, and what nobody means is not.
func TestAppendTLS(t *testing.T) {
	o := Origin{Source: netip.MustParseAddrPort("192.0.2.7:1234"), Destination: netip.MustParseAddrPort("192.0.2.1:465")}
	o.TLS = &TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "mail.example", ALPN: "smtp"}
	_, all := read(t, Append(nil, o))
	if string(all[proxyproto.PP2_TYPE_AUTHORITY]) != "mail.example" || string(all[proxyproto.PP2_TYPE_ALPN]) != "smtp" {
		t.Errorf("%q", all)
	}
	const want = "\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_128_GCM_SHA256"
	if got := string(all[proxyproto.PP2_TYPE_SSL]); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	o.TLS = &TLS{Version: "TLSv1.2", ServerName: strings.Repeat("x", 70000)}
	if _, all = read(t, Append(nil, o)); len(all) != 2 {
		t.Errorf("%q", all)
	}
}

func TestAppendLocal(t *testing.T) {
	h, all := read(t, AppendLocal(nil))
	if h.Command != proxyproto.LOCAL || len(all) != 1 {
		t.Errorf("%v, %v", h, all)
	}
}
