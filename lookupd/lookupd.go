// Package lookupd is the room that asks others about a client: DNS block lists and
// SPF its name servers, the router or the packet filter for the server it called.
package lookupd

// This file owns the room: its links and how many questions it holds. It must
// never read what came from outside itself.

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lookupd/nat"
)

// maxHeld bounds the questions that are worked on at once.
const maxHeld = 1024

type room struct {
	home    *imsg.Home
	ctx     context.Context
	stop    context.CancelCauseFunc // ends the room
	held    chan struct{}
	lists   *blocklists // nil before the configuration
	senders *senders
	finder  finder        // nil if the mode asks nobody
	limit   time.Duration // of one question

	mu       sync.Mutex
	links    int
	draining bool
}

// Main runs the room over f, its link to the parent, until the parent ends. An
// error says why the room ended by itself; it is the caller's to log.
func Main(f *os.File) error {
	home, err := imsg.Arrive(f, imsg.Lookupd)
	if err != nil {
		return err
	}
	l := &room{home: home, held: make(chan struct{}, maxHeld)}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	defer l.stop(nil)
	context.AfterFunc(l.ctx, func() { home.Close() })

	home.Guard(&l.mu)
	if err := home.Serve(l.hear); err != nil {
		return err
	}
	if err := context.Cause(l.ctx); err != context.Canceled {
		return err
	}
	return nil
}

// hear takes what the parent says.
func (l *room) hear(r imsg.Request) {
	switch m := r.Message.(type) {
	case *imsg.LookupdConfig:
		if l.lists != nil {
			l.stop(errors.New("configured twice"))
			return
		}
		l.configure(m)
		l.home.Send(&imsg.Ready{})
	case *imsg.NatDevice:
		filter, ok := l.finder.(*filter)
		if !ok {
			r.Close()
			l.home.Log().Error("packet filter refused: this mode asks none")
			return
		}
		if err := filter.open(r.Files[0]); err != nil {
			l.stop(err)
		}
	case *imsg.Peer:
		if err := l.join(r, m); err != nil {
			r.Close()
			l.home.Log().Error("link refused", "peer", m.Room, "member", m.Member, "error", err)
		}
	case *imsg.Drain:
		l.drain()
	}
}

func (l *room) configure(c *imsg.LookupdConfig) {
	l.limit = imsg.Limit(c.Timeout)
	dns := newNameservers(c.Nameservers)
	l.lists = &blocklists{lists: c.Zones, dns: dns, log: l.home.Log(), said: make(map[string]time.Time)}
	l.senders = &senders{dns}
	routers := routers{port: c.RemotePort, limit: l.limit, places: make(chan struct{}, maxRouters)}
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
}

// join serves one session worker. When the link ends, so does what it asked for.
func (l *room) join(r imsg.Request, p *imsg.Peer) error {
	switch {
	case l.lists == nil:
		return errors.New("came before the configuration")
	case p.Room != imsg.Session:
		return errors.New("only sessions ask for lookups")
	}
	ctx, cancel := context.WithCancel(l.ctx)
	conn, err := l.home.Join(r, func(r imsg.Request) { l.take(ctx, r) })
	if err != nil {
		cancel()
		return err
	}
	l.mu.Lock()
	l.links++
	l.mu.Unlock()
	go func() {
		select {
		case <-conn.Done():
		case <-l.ctx.Done():
			conn.Close()
		}
		cancel()
		l.part()
	}()
	return nil
}

// drain lets the room end with its last link: sessions that drain still ask.
func (l *room) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	if l.links == 0 {
		l.stop(nil)
	}
}

func (l *room) part() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links--
	if l.draining && l.links == 0 {
		l.stop(nil)
	}
}

// take accepts one question, or refuses it when too many are held. It does not block.
func (l *room) take(ctx context.Context, r imsg.Request) {
	var work func(context.Context) (imsg.Message, error)
	switch q := r.Message.(type) {
	case *imsg.Listed:
		if q.Client.IsValid() {
			work = func(ctx context.Context) (imsg.Message, error) { return l.listed(ctx, q) }
		}
	case *imsg.SPF:
		if q.Client.IsValid() {
			work = func(ctx context.Context) (imsg.Message, error) { return l.spf(ctx, q) }
		}
	case *imsg.Locate:
		if l.finder != nil && q.Client.IsValid() && q.Local.IsValid() {
			work = func(ctx context.Context) (imsg.Message, error) { return l.locate(ctx, q) }
		}
	default:
		r.Close()
		return
	}
	if work == nil {
		r.Fail(imsg.Invalid)
		return
	}
	select {
	case l.held <- struct{}{}:
	default:
		r.Fail(imsg.Busy)
		return
	}
	look, cancel := r.Context(ctx)
	go func() {
		answer, err := work(look)
		cancel()
		<-l.held
		var kind imsg.Kind
		switch {
		case ctx.Err() != nil: // our own end cut the question short
		case err == nil:
			r.Answer(answer)
		case errors.As(err, &kind):
			r.Fail(kind)
		default:
			r.Fail(imsg.Internal)
		}
	}()
}

func (l *room) listed(ctx context.Context, q *imsg.Listed) (imsg.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	listing := l.lists.ask(ctx, q.Client)
	return &listing, nil
}

func (l *room) spf(ctx context.Context, q *imsg.SPF) (imsg.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	result := l.senders.check(ctx, q)
	return &result, nil
}

func (l *room) locate(ctx context.Context, q *imsg.Locate) (imsg.Message, error) {
	client := netip.AddrPortFrom(q.Client.Addr().Unmap(), q.Client.Port())
	local := netip.AddrPortFrom(q.Local.Addr().Unmap(), q.Local.Port())
	found, err := l.finder.find(ctx, client, local)
	if err != nil {
		if ctx.Err() == nil {
			l.home.Log().Warn("target not found out", "client", client, "local", local, "error", err)
		}
		return nil, err
	}
	return &imsg.Location{Target: found.Target, Ident: found.Ident}, nil
}
