// DNS block lists (RFC 5782). This file owns the questions to them, and what becomes of
// several lists' answers.

package lookupd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// RFC 6598: the addresses between a provider and its customers' routers.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// repeat is how often it may be said that a list gives answers that are no entries.
const repeat = time.Hour

type blocklists struct {
	lists []imsg.BlockList
	dns   *nameservers
	log   *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time // by zone
}

// grace is how long the other lists may still answer when one lists a client.
const grace = time.Second

// ask asks all lists at once. The first in the configured order that lists client
// wins, unless it is more than grace later than another; no answer counts as listed
// but a list's entry.
func (b *blocklists) ask(ctx context.Context, client netip.Addr) imsg.DNSBLResult {
	if !public(client) || len(b.lists) == 0 {
		return imsg.DNSBLResult{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type answer struct {
		entry netip.Addr // invalid: not listed
		err   error
	}
	answers := make([]chan answer, len(b.lists))
	for i, list := range b.lists {
		answers[i] = make(chan answer, 1)
		go func() {
			entry, err := b.query(ctx, client, list)
			if entry.IsValid() {
				time.AfterFunc(grace, cancel)
			}
			answers[i] <- answer{entry, err}
		}()
	}
	listing := imsg.DNSBLResult{DNS: imsg.DNSAnswered}
	for i, list := range b.lists {
		a := <-answers[i]
		var stray imsg.StrayAnswer
		switch {
		case a.err == nil:
			listing.Answered |= 1 << i
		default:
			listing.Silent |= 1 << i
		}
		switch {
		case errors.As(a.err, &stray):
			listing.Failed++
			listing.DNS = imsg.DNSSilent
			b.logStray(list.Zone, stray)
		case a.err != nil:
			listing.Failed++
			listing.DNS = imsg.DNSSilent
			b.log.Warn("DNSBL query failed", "domain", list.Zone, "client", client, "error", a.err)
		case a.entry.IsValid():
			listing.Zone, listing.Answer = list.Zone, a.entry
			return listing
		}
	}
	return listing
}

// public tells whether a list can mean a: an address that stands for another host
// in each network is not worth a question.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// query asks one list. An invalid address says that client is not on it, and an
// imsg.StrayAnswer that the list answered something else.
func (b *blocklists) query(ctx context.Context, client netip.Addr, list imsg.BlockList) (netip.Addr, error) {
	var found []netip.Addr
	err := b.dns.query(ctx, func(r *net.Resolver) (err error) {
		found, err = r.LookupNetIP(ctx, "ip4", listName(client, list.Zone))
		return err
	})
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return netip.Addr{}, nil
	case err != nil:
		return netip.Addr{}, err
	}
	return list.Judge(found)
}

// logStray logs what a list answered in place of entries. It does so for every client,
// so once in a while is enough.
func (b *blocklists) logStray(zone string, e imsg.StrayAnswer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, ok := b.said[zone]; ok && time.Since(last) < repeat {
		return
	}
	b.said[zone] = time.Now()
	b.log.Warn("DNSBL answer is no list entry and lists nobody", "domain", zone, "answer", e.Answer, "reason", e.Error())
}

// listName returns the name under which zone would list client.
func listName(client netip.Addr, zone string) string { return imsg.ListName(client.Unmap(), zone) }
