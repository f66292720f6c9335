package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	language "github.com/smtp-gated/smtp-gated/lookupd/wire"
)

// router plays the helper on a router at an address. It answers with
//
//	found ADDRESS IDENT  the mail server's port at this address
//	unknown              no such connection
//	malformed            a target nobody can call
//	mismatch             something else than was asked
//	mute                 nothing
//
// The server remembers its questions: router N SECRET, without a secret over TCP.
func (s *story) router(ts *testscript.TestScript, _ bool, args []string) error {
	m, answer := s.msa, args[2:]
	target := func() language.Answer {
		a := language.Answer{Target: netip.MustParseAddrPort("0.0.0.0:25")}
		if answer[0] == "found" {
			a = language.Answer{Target: netip.AddrPortFrom(netip.MustParseAddr(answer[1]), uint16(m.port())), Ident: strings.Join(answer[2:], " ")}
		}
		return a
	}
	questions := 0
	asked := func(secret string) {
		questions++
		m.mu.Lock()
		m.said = append(m.said, fmt.Sprintf("router %d %s", questions, secret))
		m.mu.Unlock()
	}
	if args[0] == "udp" {
		conn, err := net.ListenPacket("udp", args[1]+":0")
		if err != nil {
			return err
		}
		s.silent = append(s.silent, conn)
		ts.Setenv("ROUTER", fmt.Sprint(conn.LocalAddr().(*net.UDPAddr).Port))
		go func() {
			buf := make([]byte, language.MaxDatagram)
			for {
				n, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				secret := uint32(buf[8])<<24 | uint32(buf[9])<<16 | uint32(buf[10])<<8 | uint32(buf[11])
				asked(fmt.Sprint(secret))
				q, err := language.ParseQuery(buf[:n], secret)
				if err != nil {
					continue
				}
				switch answer[0] {
				case "found", "malformed":
					conn.WriteTo(q.AppendFound(nil, target()), from)
				case "unknown":
					conn.WriteTo(q.AppendNotFound(nil), from)
				case "mismatch":
					conn.WriteTo(q.Append(nil), from)
				}
			}
		}()
		return nil
	}
	l, err := net.Listen("tcp", args[1]+":0")
	if err != nil {
		return err
	}
	s.silent = append(s.silent, l)
	ts.Setenv("ROUTER", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked("")
			m.keep(conn)
			line, err := bufio.NewReader(conn).ReadBytes('\n')
			client, proxy, err2 := language.ParseQuestion(line)
			if err != nil || err2 != nil || answer[0] == "mute" {
				continue
			}
			switch answer[0] {
			case "found", "malformed":
				conn.Write(language.AppendAnswer(nil, client, proxy, target()))
			case "unknown":
				conn.Write(language.AppendNotFound(nil, client, proxy))
			case "mismatch":
				conn.Write(language.AppendNotFound(nil, client, proxy+1))
			}
			conn.Close()
		}
	}()
	return nil
}
