// Connection tracking as netfilter speaks of it over netlink. This file owns the
// coding (linux/netfilter/nfnetlink_conntrack.h): one question, by the addresses
// of the answers' direction, which are those the proxy sees.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/lookupd/wire"
)

const (
	ctGet = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	ctNew = unix.NFNL_SUBSYS_CTNETLINK << 8   // IPCTNL_MSG_CT_NEW: the answer

	ctaTupleOrig  = 1
	ctaTupleReply = 2

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1 // then IPv4 destination, IPv6 source, IPv6 destination
	ctaIPv6Src = 3

	ctaProtoNum = 1
	ctaProtoSrc = 2
	ctaProtoDst = 3

	genLen = 4 // struct nfgenmsg
)

// tuple is one direction of a connection.
type tuple struct{ src, dst netip.AddrPort }

// ctQuestion asks for the connection whose answers go from reply.src to reply.dst.
func ctQuestion(seq uint32, reply tuple) []byte {
	family, first := byte(unix.AF_INET), uint16(ctaIPv4Src)
	if reply.src.Addr().Is6() {
		family, first = unix.AF_INET6, ctaIPv6Src
	}
	ip := attribute(nil, first, reply.src.Addr().AsSlice())
	ip = attribute(ip, first+1, reply.dst.Addr().AsSlice())
	proto := attribute(nil, ctaProtoNum, []byte{unix.IPPROTO_TCP})
	proto = attribute(proto, ctaProtoSrc, binary.BigEndian.AppendUint16(nil, reply.src.Port()))
	proto = attribute(proto, ctaProtoDst, binary.BigEndian.AppendUint16(nil, reply.dst.Port()))
	both := attribute(nil, unix.NLA_F_NESTED|ctaTupleIP, ip)
	both = attribute(both, unix.NLA_F_NESTED|ctaTupleProto, proto)

	b := make([]byte, unix.NLMSG_HDRLEN, 128)
	b = append(b, family, unix.NFNETLINK_V0, 0, 0)
	b = attribute(b, unix.NLA_F_NESTED|ctaTupleReply, both)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], ctGet)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return b
}

func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

var errNetlink = errors.New("netlink: malformed answer")

// ctAnswer reads the answer to question seq about reply and returns the direction
// in which the connection began. Errors: wire.ErrNotFound, the system's.
func ctAnswer(b []byte, seq uint32, reply tuple) (tuple, error) {
	if len(b) < unix.NLMSG_HDRLEN || binary.NativeEndian.Uint32(b[8:]) != seq {
		return tuple{}, errNetlink
	}
	size := binary.NativeEndian.Uint32(b)
	if size < unix.NLMSG_HDRLEN+genLen || uint64(size) > uint64(len(b)) {
		return tuple{}, errNetlink
	}
	kind, body := binary.NativeEndian.Uint16(b[4:]), b[unix.NLMSG_HDRLEN:size]
	switch kind {
	case unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
		if errno == unix.ENOENT {
			return tuple{}, wire.ErrNotFound
		}
		return tuple{}, fmt.Errorf("ask connection tracking: %w", errno)
	case ctNew:
	default:
		return tuple{}, errNetlink
	}
	var began, answers tuple
	for kind, value := range attributes(body[genLen:]) {
		switch kind {
		case ctaTupleOrig:
			began = readTuple(value)
		case ctaTupleReply:
			answers = readTuple(value)
		}
	}
	// A connection from the proxy to us could be known by the same numbers.
	if answers != reply || !began.src.IsValid() || !began.dst.IsValid() || began.dst == reply.src {
		return tuple{}, wire.ErrNotFound
	}
	return began, nil
}

// attributes goes through b as far as it is well formed. Flags are taken off.
func attributes(b []byte) func(yield func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.NLA_HDRLEN || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.NLA_HDRLEN:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

func readTuple(b []byte) tuple {
	var src, dst netip.Addr
	var sport, dport uint16
	for kind, value := range attributes(b) {
		for inner, v := range attributes(value) {
			switch {
			case kind == ctaTupleIP && (inner == ctaIPv4Src && len(v) == 4 || inner == ctaIPv6Src && len(v) == 16):
				src, _ = netip.AddrFromSlice(v)
			case kind == ctaTupleIP && (inner == ctaIPv4Src+1 && len(v) == 4 || inner == ctaIPv6Src+1 && len(v) == 16):
				dst, _ = netip.AddrFromSlice(v)
			case kind == ctaTupleProto && inner == ctaProtoSrc && len(v) == 2:
				sport = binary.BigEndian.Uint16(v)
			case kind == ctaTupleProto && inner == ctaProtoDst && len(v) == 2:
				dport = binary.BigEndian.Uint16(v)
			}
		}
	}
	return tuple{netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)}
}
