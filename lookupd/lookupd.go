// Package lookupd is the room that asks others about a client: DNS block lists and
// SPF its name servers, the router or the packet filter for the server it called.
package lookupd

// This file owns the room: its links and how many questions it holds. It must
// never read what came from outside itself.

import (
	"context"
	"net/netip"
	"os"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/lookupd/nat"
)

// maxHeld bounds the questions that are worked on at once.
const maxHeld = 1024

type room struct {
	parent  *process.Parent
	service *process.Service
	lists   *blocklists
	checker *spfChecker
	finder  finder        // nil if the mode asks nobody
	limit   time.Duration // of one question
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	return process.Main(f, imsg.Lookupd, func(p *process.Parent) process.Room[imsg.LookupdConfig] {
		l := &room{parent: p, service: process.NewService(p, maxHeld)}
		return process.Room[imsg.LookupdConfig]{
			Configure: l.configure,
			Peers:     map[imsg.Room]process.Peer{imsg.Session: l.service.Accept(l.answer)},
			Other:     l.fromParent,
		}
	})
}

func (l *room) fromParent(r link.Request) {
	switch r.Message.(type) {
	case *imsg.NatDevice:
		filter, ok := l.finder.(*filter)
		if !ok {
			r.Close()
			l.parent.Log().Error("packet filter refused: this mode asks none")
			return
		}
		if err := filter.open(r.Files[0]); err != nil {
			l.parent.End(err)
		}
	case *imsg.Drain:
		l.service.Drain()
	default:
		r.Close()
	}
}

func (l *room) configure(c *imsg.LookupdConfig) error {
	l.limit = imsg.Limit(c.Timeout)
	dns := newNameservers(c.Nameservers)
	l.lists = &blocklists{lists: c.Zones, dns: dns, log: l.parent.Log(), said: make(map[string]time.Time)}
	l.checker = &spfChecker{dns}
	routers := routers{port: c.RemotePort, limit: l.limit, slots: make(chan struct{}, maxRouters)}
	switch c.Mode {
	case imsg.ModeRemote:
		l.finder = &remote{routers}
	case imsg.ModeRemoteUDP:
		l.finder = &remoteUDP{routers, max(c.RemoteRetries, 1), c.RemoteSecret}
	case imsg.ModePf:
		l.finder = &filter{look: nat.PF}
	case imsg.ModeIpfilter:
		l.finder = &filter{look: nat.IPFilter}
	}
	return nil
}

// answer works on a question of a session, if it makes sense.
func (l *room) answer(ctx context.Context, r link.Request) {
	switch q := r.Message.(type) {
	case *imsg.DNSBLQuery:
		process.Work(ctx, l.service, r, q, func(ctx context.Context) (*imsg.DNSBLResult, error) { return l.listed(ctx, q) })
	case *imsg.SPF:
		process.Work(ctx, l.service, r, q, func(ctx context.Context) (*imsg.SPFResult, error) { return l.spf(ctx, q) })
	case *imsg.TargetQuery:
		process.Work(ctx, l.service, r, q, func(ctx context.Context) (*imsg.TargetResult, error) { return l.locate(ctx, q) })
	default:
		r.Close()
	}
}

func (l *room) listed(ctx context.Context, q *imsg.DNSBLQuery) (*imsg.DNSBLResult, error) {
	if !q.Client.IsValid() {
		return nil, imsg.Invalid
	}
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	listing := l.lists.ask(ctx, q.Client)
	return &listing, nil
}

func (l *room) spf(ctx context.Context, q *imsg.SPF) (*imsg.SPFResult, error) {
	if !q.Client.IsValid() {
		return nil, imsg.Invalid
	}
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	result := l.checker.check(ctx, q)
	return &result, nil
}

func (l *room) locate(ctx context.Context, q *imsg.TargetQuery) (*imsg.TargetResult, error) {
	if l.finder == nil || !q.Client.IsValid() || !q.Local.IsValid() {
		return nil, imsg.Invalid
	}
	client := netip.AddrPortFrom(q.Client.Addr().Unmap(), q.Client.Port())
	local := netip.AddrPortFrom(q.Local.Addr().Unmap(), q.Local.Port())
	found, err := l.finder.find(ctx, client, local)
	if err != nil {
		if ctx.Err() == nil {
			l.parent.Log().Warn("target not found out", "client", client, "local", local, "error", err)
		}
		return nil, err
	}
	return &imsg.TargetResult{Target: found.Target, Ident: found.Ident}, nil
}
