package proxyheader

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// This file owns the writing of a header, of version 2 (section 2.2 of
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), and its checksum.

// Origin is what a header tells a server of its client.
type Origin struct {
	Source      netip.AddrPort // the client
	Destination netip.AddrPort // where it has called
	TLS         *TLS           // that it speaks with us; nil: none
}

// TLS is what is told of a client's.
type TLS struct {
	Version    string
	Cipher     string
	ServerName string // that it asked for, empty: none
	ALPN       string // what was agreed on, empty: nothing
}

const (
	clientTLS  = 1    // PP2_CLIENT_SSL: the client speaks TLS with us
	unverified = 1    // it has shown no certificate that was verified
	maxText    = 1024 // octets of a text at most, some of which a client has chosen
)

// Append appends the header for a session. Two addresses of which each has a family of its
// own are both told as IPv6, the other one IPv4-mapped: a header has one family.
func Append(b []byte, o Origin) []byte {
	source, destination := plainly(o.Source), plainly(o.Destination)
	h := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4}
	if !source.Addr().Is4() || !destination.Addr().Is4() {
		h.TransportProtocol = proxyproto.TCPv6
	}
	h.SourceAddr, h.DestinationAddr = net.TCPAddrFromAddrPort(source), net.TCPAddrFromAddrPort(destination)
	var list []proxyproto.TLV
	if t := o.TLS; t != nil {
		list = appendText(list, proxyproto.PP2_TYPE_ALPN, t.ALPN)
		list = appendText(list, proxyproto.PP2_TYPE_AUTHORITY, t.ServerName)
		var said []proxyproto.TLV
		said = appendText(said, proxyproto.PP2_SUBTYPE_SSL_VERSION, t.Version)
		said = appendText(said, proxyproto.PP2_SUBTYPE_SSL_CIPHER, t.Cipher)
		value := binary.BigEndian.AppendUint32([]byte{clientTLS}, unverified)
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: append(value, must(proxyproto.JoinTLVs(said))...)})
	}
	return appendSummed(b, h, list)
}

// AppendLocal appends the header of who calls for himself (LOCAL).
func AppendLocal(b []byte) []byte {
	return appendSummed(b, &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}, nil)
}

// appendSummed appends a header with its checksum, which is taken over all of it with
// zeros in its own place (section 2.2.3).
func appendSummed(b []byte, h *proxyproto.Header, list []proxyproto.TLV) []byte {
	const size = crc32.Size
	if err := h.SetTLVs(append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, size)})); err != nil {
		panic(err)
	}
	text := must(h.Format())
	binary.BigEndian.PutUint32(text[len(text)-size:], crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, text...)
}

// must is for what cannot fail: each session has two addresses, and texts are short.
func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// plainly is an address as all know it, without the zone, which is our host's own name for
// an interface.
func plainly(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// appendText appends a TLV, unless there is nothing to say, or more than anybody means.
func appendText(list []proxyproto.TLV, kind proxyproto.PP2Type, text string) []proxyproto.TLV {
	if text == "" || len(text) > maxText {
		return list
	}
	return append(list, proxyproto.TLV{Type: kind, Value: []byte(text)})
}
