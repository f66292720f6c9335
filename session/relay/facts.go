package relay

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns what a relay knows of its session from the start.

// Facts are what a relay knows of its session from the start.
type Facts struct {
	Config   *imsg.SessionConfig
	Rules    *Rules
	Number   uint64
	Instead  string // of a number, for a session that lockd has given none: wPID.n
	Started  time.Time
	Client   netip.AddrPort
	Via      netip.AddrPort // the load balancer that has called for it; invalid: none has
	Check    bool           // it is such a balancer, and wants to know whether we work
	Local    netip.AddrPort // where the client has called
	Target   netip.AddrPort
	Server   netip.AddrPort // of the fixed modes: Target, but for a port for TLS
	Another  bool           // of the fixed modes: there are servers left to be called
	Outgoing netip.Addr     // ours, towards the server
	Ident    string         // whom a router says the client calls for
	Quotas   imsg.RateSet
	Exempt   imsg.ExemptSet
	Login    string  // that the server takes the client for, since it said so
	Secured  [2]bool // whose connection, Client's or Server's, has TLS before the relay begins
	Trace    *Trace  // nil: nobody looks
}

// ID is the session's name in logs, headers, replies and the spool: START.N.
func (f *Facts) ID() string {
	start := strconv.FormatInt(f.Started.Unix(), 10)
	if f.Number == 0 {
		return start + "." + f.Instead
	}
	return start + "." + strconv.FormatUint(f.Number, 10)
}

func (f *Facts) text(t imsg.Text) string { return f.Config.Texts[t] }

// printable makes a foreign string fit for logs and environments.
func printable(b []byte) string {
	var buf [256]byte
	return string(smtp.AppendPrintable(buf[:0], b))
}

// truncate shortens a string to n octets.
func truncate(text string, n int) string { return text[:min(len(text), n)] }

func itoa(n int) string { return strconv.Itoa(n) }

func bareNewline(c *imsg.SessionConfig) smtp.BareNewline { return smtp.BareNewline(c.BareNewline) }
