// SPF (RFC 7208): may this client use the name of that domain? This file owns what
// the library that knows the rules is given, and what it may ask.

package lookupd

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"

	"blitiri.com.ar/go/spf"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// maxProblem bounds the text of an error that goes to the log, in octets.
const maxProblem = 200

// spfChecker tells whether a client may use the name of a domain.
type spfChecker struct{ dns *nameservers }

var verdicts = map[spf.Result]imsg.SPFVerdict{
	spf.None: imsg.SPFNone, spf.Neutral: imsg.SPFNeutral, spf.Pass: imsg.SPFPass, spf.Fail: imsg.SPFFail,
	spf.SoftFail: imsg.SPFSoftFail, spf.TempError: imsg.SPFTempError, spf.PermError: imsg.SPFPermError,
}

// check asks the domain of q. When the time of ctx is over it is TempError.
func (s *spfChecker) check(ctx context.Context, q *imsg.SPF) imsg.SPFResult {
	sender := identity(q.Helo, q.MailFrom)
	if !qualified(sender[strings.IndexByte(sender, '@')+1:]) {
		return imsg.SPFResult{Verdict: imsg.SPFNone}
	}
	p := &spfResolver{dns: s.dns, left: maxAsked}
	result, err := spf.CheckHostWithSender(net.IP(q.Client.Unmap().AsSlice()), q.Helo, sender,
		spf.WithContext(ctx), spf.WithResolver(p))
	r := imsg.SPFResult{Verdict: verdicts[result], DNS: p.did}
	if ctx.Err() != nil {
		// The library may take a query that was cut short for one more
		// answer.
		r.Verdict, err = imsg.SPFTempError, cmp.Or(p.failed, ctx.Err())
	}
	if err != nil && (r.Verdict == imsg.SPFTempError || r.Verdict == imsg.SPFPermError) {
		r.Problem = imsg.Printable(err.Error(), maxProblem)
	}
	return r
}

// identity is the sender whose domain is asked (sections 2.4, 4.3). The library
// parts it at the first @: one that is quoted in a local part must not lead it to
// another domain.
func identity(helo, mailFrom string) string {
	at := strings.LastIndexByte(mailFrom, '@')
	local, domain := "postmaster", helo
	if at >= 0 {
		domain = mailFrom[at+1:]
		if at > 0 {
			local = strings.ReplaceAll(mailFrom[:at], "@", "_")
		}
	}
	return local + "@" + domain
}

// qualified tells whether domain is one that can have a policy (section 4.3).
func qualified(domain string) bool {
	domain = strings.TrimSuffix(domain, ".")
	if len(domain) > 253 || !strings.Contains(domain, ".") {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

// maxAsked bounds the queries of one check, which the library bounds by the rules
// of section 4.6.4: 10 terms, of which each MX or PTR may name 10 hosts.
const maxAsked = 128

// spfResolver is the resolver of one check: it asks our servers, for names as they
// stand, and fails only with what the library can tell apart.
type spfResolver struct {
	dns    *nameservers
	left   int   // queries
	failed error // the last that did
	did    imsg.DNSOutcome
}

var errAsked = &net.DNSError{Err: "more queries than any policy needs"}

// lookup makes one query, or two at once for addresses.
func lookup[T any](ctx context.Context, p *spfResolver, name string, query func(r *net.Resolver) ([]T, error)) ([]T, error) {
	if p.left--; p.left < 0 {
		return nil, errAsked
	}
	var found []T
	err := p.dns.query(ctx, func(r *net.Resolver) (err error) {
		found, err = query(r)
		return err
	})
	switch {
	case !errors.As(err, new(silence)):
		p.did = imsg.DNSAnswered
	case p.did == imsg.DNSNotAsked:
		p.did = imsg.DNSSilent
	}
	if err == nil || len(found) > 0 { // some of the records were unusable
		return found, nil
	}
	// The library looks for this type itself, not for one that wraps it, and at
	// these fields. Any error but that there is no such name may pass (section
	// 4.4).
	failed := &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		failed.Err, failed.Server, failed.IsNotFound, failed.IsTemporary = dns.Err, dns.Server, dns.IsNotFound, !dns.IsNotFound
	}
	p.failed = failed
	return nil, failed
}

// absolute keeps search lists, and addresses in a name's place, from being tried.
func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

func (p *spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return lookup(ctx, p, name, func(r *net.Resolver) ([]string, error) { return r.LookupTXT(ctx, absolute(name)) })
}

func (p *spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return lookup(ctx, p, name, func(r *net.Resolver) ([]*net.MX, error) { return r.LookupMX(ctx, absolute(name)) })
}

func (p *spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return lookup(ctx, p, host, func(r *net.Resolver) ([]net.IPAddr, error) { return r.LookupIPAddr(ctx, absolute(host)) })
}

func (p *spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return lookup(ctx, p, addr, func(r *net.Resolver) ([]string, error) { return r.LookupAddr(ctx, addr) })
}
