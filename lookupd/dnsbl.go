// DNS block lists (RFC 5782). This file owns the questions to them and decides
// what counts as listed.

package lookupd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

var (
	// RFC 5782 section 2.1: list entries are in this network. An answer outside
	// comes from somebody who rewrites what does not exist.
	entries = netip.MustParsePrefix("127.0.0.0/8")
	// The large lists say here that they do not answer us: too many queries, or
	// asked through a public resolver. It would list the whole world.
	refusals = netip.MustParsePrefix("127.255.255.0/24")
)

type blocklists struct {
	zones []string
	dns   *nameservers
	log   *slog.Logger
}

// grace is how long the other lists may still answer when one lists a client.
const grace = time.Second

// ask asks all lists at once. The first in the configured order that lists client
// wins, unless it is more than grace later than another; no answer counts as listed
// but a list's entry.
func (b *blocklists) ask(ctx context.Context, client netip.Addr) imsg.Listing {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type answer struct {
		entry netip.Addr // invalid: not listed
		err   error
	}
	answers := make([]chan answer, len(b.zones))
	for i, zone := range b.zones {
		answers[i] = make(chan answer, 1)
		go func() {
			entry, err := b.query(ctx, client, zone)
			if entry.IsValid() {
				time.AfterFunc(grace, cancel)
			}
			answers[i] <- answer{entry, err}
		}()
	}
	var listing imsg.Listing
	for i, zone := range b.zones {
		a := <-answers[i]
		switch {
		case a.err != nil:
			listing.Failed++
			b.log.Warn("DNSBL query failed", "domain", zone, "client", client, "error", a.err)
		case a.entry.IsValid():
			listing.Zone, listing.Answer = zone, a.entry
			return listing
		}
	}
	return listing
}

// query asks one list. An invalid address says that client is not on it.
func (b *blocklists) query(ctx context.Context, client netip.Addr, zone string) (netip.Addr, error) {
	if err := b.dns.enter(ctx); err != nil {
		return netip.Addr{}, err
	}
	defer b.dns.leave()
	found, err := b.dns.resolver().LookupNetIP(ctx, "ip4", listName(client, zone))
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return netip.Addr{}, nil
	case err != nil:
		return netip.Addr{}, err
	}
	slices.SortFunc(found, netip.Addr.Compare)
	for _, a := range found {
		if a = a.Unmap(); entries.Contains(a) && !refusals.Contains(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("answer %v is no list entry", found)
}

// listName returns the name under which zone would list client: octets in reverse
// (RFC 5782 section 2.1), nibbles in reverse for IPv6 (section 2.4). It ends in a
// dot, so that no search list applies.
func listName(client netip.Addr, zone string) string {
	var name strings.Builder
	client = client.Unmap()
	for _, octet := range slices.Backward(client.AsSlice()) {
		if client.Is4() {
			fmt.Fprintf(&name, "%d.", octet)
		} else {
			fmt.Fprintf(&name, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	return name.String() + strings.TrimSuffix(zone, ".") + "."
}
