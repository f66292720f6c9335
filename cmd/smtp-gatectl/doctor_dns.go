// Probes of the name servers and block lists.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// resolvConf names the system's name servers.
const resolvConf = "/etc/resolv.conf"

// nameservers are those that lookupd asks.
func (p *patient) nameservers() []netip.AddrPort {
	return p.Lookupd(config.Facts{Nameservers: host.Nameservers(resolvConf)}).Nameservers
}

const (
	// retryTime is when a datagram counts as lost: as that of lookupd.
	retryTime = 2 * time.Second
	// serverTime is how long one server gets for a question.
	serverTime = 2 * retryTime
)

// asker asks one name server, and knows whether it has said anything.
type asker struct {
	server netip.AddrPort
	heard  atomic.Bool
}

func (a *asker) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		server := netip.AddrPortFrom(a.server.Addr().Unmap(), a.server.Port())
		c, err := new(net.Dialer).DialContext(ctx, network, server.String())
		if u, ok := c.(*net.UDPConn); ok {
			return hearing{u, &a.heard}, err
		}
		return c, err
	}}
}

// hearing notes that something was read, and gives up in time for another try. It stays a PacketConn, by which the resolver
// knows that it must send datagrams.
type hearing struct {
	*net.UDPConn
	heard *atomic.Bool
}

func (h hearing) Read(b []byte) (int, error) {
	n, err := h.UDPConn.Read(b)
	if err == nil {
		h.heard.Store(true)
	}
	return n, err
}

func (h hearing) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(retryTime); soon.Before(t) {
		t = soon
	}
	return h.UDPConn.SetDeadline(t)
}

func probeNameservers(ctx context.Context, p *patient) []result {
	const id = "dns-server-ADDRESS"
	servers := p.nameservers()
	needed := len(p.DNSBL) > 0 || p.SPF != imsg.SPFOff
	if len(servers) == 0 && needed {
		return []result{red("dns-server", "name some in "+resolvConf+", or with "+p.Called("nameservers"), "there is no name server, and block lists and SPF need one")}
	}
	if len(servers) == 0 {
		return []result{skip("dns-server", "none is named, and nothing here needs one")}
	}
	all := make([]result, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			id := idOf(id, server.String())
			a := &asker{server: server}
			ctx, cancel := context.WithTimeout(ctx, serverTime)
			defer cancel()
			_, err := a.resolver().LookupNS(ctx, ".")
			switch {
			case err == nil || a.heard.Load():
				all[i] = green(id, "answers")
			case needed:
				all[i] = red(id, fmt.Sprintf("see that %s is a name server and lets us ask it; name another in %s or with %s", server, resolvConf, p.Called("nameservers")), "no answer: %v", dnsReason(err))
			default:
				all[i] = warn(id, "nothing here needs it now: name one that answers before block lists or SPF do", "no answer: %v", dnsReason(err))
			}
		})
	}
	wg.Wait()
	if slices.ContainsFunc(all, func(r result) bool { return r.State == good }) {
		for i := range all {
			all[i].State = min(all[i].State, warning) // the others answer in its place
		}
	}
	return all
}

// dnsReason is an error of a question without the question.
func dnsReason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	return err.Error()
}

// The entries that each list has, and those that none has (RFC 5782 section 5).
var (
	testEntries    = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::ffff:7f00:2")}
	testNonEntries = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:7f00:1")}
)

func probeLists(ctx context.Context, p *patient) []result {
	if len(p.DNSBL) == 0 {
		return []result{skip("dns-list", "no block list is configured")}
	}
	all := make([]result, len(p.DNSBL))
	var wg sync.WaitGroup
	for i, list := range p.DNSBL {
		wg.Go(func() { all[i] = p.probeList(ctx, idOf("dns-list-ZONE", list.Zone), list) })
	}
	wg.Wait()
	return all
}

func (p *patient) probeList(ctx context.Context, id string, list imsg.BlockList) result {
	const leaveOut = "leave the list out, or ask its keepers"
	var answers []string
	any := imsg.BlockList{Zone: list.Zone} // whatever its codes are
	var unwanted netip.Addr
	for i, a := range testEntries {
		entry, err := p.listed(ctx, any, testNonEntries[i])
		switch {
		case entry.IsValid():
			return red(id, "leave the list out: it would refuse everybody", "lists %s, which no list does: it lists the whole world", testNonEntries[i])
		case err != nil:
			return listFailed(id, err)
		}
		if entry, err = p.listed(ctx, list, a); err != nil {
			return listFailed(id, err)
		}
		if entry.IsValid() {
			answers = append(answers, a.String()+" as "+entry.String())
			continue
		}
		if entry, _ = p.listed(ctx, any, a); entry.IsValid() {
			unwanted = entry
		}
	}
	switch {
	case len(answers) > 0:
		return green(id, "lists %s, and not %s", strings.Join(answers, " and "), testNonEntries[0])
	case unwanted.IsValid():
		return warn(id, "see whether the codes that are configured for it are those its keepers name", "lists its test entry as %s, which %s does not ask for", unwanted, list)
	}
	return red(id, leaveOut, "does not list its test entry %s: it is gone, or does not answer our name server", testEntries[0])
}

func listFailed(id string, err error) result {
	if stray := (imsg.StrayAnswer{}); errors.As(err, &stray) {
		return red(id, "ask it through a name server of your own, or leave it out", "answered %s: %v", stray.Answer, stray)
	}
	return red(id, "see whether name servers answer (dns-server), and leave the list out if it does not", "no answer: %s", dnsReason(err))
}

// listed asks a list for an address through the name servers, in turn, and begins with the
// one that answered last. An invalid entry is that it is not listed.
func (p *patient) listed(ctx context.Context, list imsg.BlockList, a netip.Addr) (entry netip.Addr, err error) {
	servers := p.nameservers()
	if len(servers) == 0 {
		return netip.Addr{}, errors.New("there is no name server")
	}
	heard := false
	for range serverTime / retryTime { // what was asked, or answered, may be lost
		for range servers {
			at := p.answering.Load()
			asked := &asker{server: servers[int(at)%len(servers)]}
			var found []netip.Addr
			found, err = asked.ask(ctx, imsg.ListName(a, list.Zone))
			var dns *net.DNSError
			if errors.As(err, &dns) && dns.IsNotFound {
				return netip.Addr{}, nil
			}
			if err == nil {
				return list.Judge(found)
			}
			heard = heard || asked.heard.Load()
			p.answering.CompareAndSwap(at, at+1)
		}
		if heard || ctx.Err() != nil {
			break
		}
	}
	return netip.Addr{}, err
}

// ask asks for the addresses of a name, once.
func (a *asker) ask(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, retryTime)
	defer cancel()
	return a.resolver().LookupNetIP(ctx, "ip4", name)
}
