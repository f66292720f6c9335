package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// zone serves a domain, as of a block list; every other name is a failure of the
// server's. The entry @ is the domain itself; what is no address is a text.
func (s *story) zone(ts *testscript.TestScript, _ bool, args []string) error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	entries := map[string]string{}
	for _, entry := range args[1:] {
		name, address, _ := strings.Cut(entry, "=")
		entries[strings.TrimPrefix(name+"."+args[0]+".", "@.")] = address
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		switch how, over := s.manners.meet("dns"); how {
		case "hangs":
			<-over
			return
		case "babbles":
			w.Write([]byte("\xff\x00 babble"))
			return
		case "refuses":
			answer.Rcode = dns.RcodeServerFailure
			w.WriteMsg(answer)
			return
		}
		switch address, listed := entries[name]; {
		case !strings.HasSuffix("."+name, "."+args[0]+"."):
			answer.Rcode = dns.RcodeServerFailure
		case !listed:
			answer.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeTXT:
			answer.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{address}}}
		case q.Question[0].Qtype == dns.TypeA:
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(address)}}
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe()
	s.silent = append(s.silent, conn)
	ts.Setenv("NAMESERVER", conn.LocalAddr().String())
	return nil
}
