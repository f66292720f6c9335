package findings

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// This file owns what findings come to, and which of them still mean something. Both
// follow from the findings and the configuration, and from nothing else.

// Judge returns what all findings come to, and the findings with those first that keep
// each session from success.
func Judge(all []imsg.StatusFinding, c *imsg.LockdConfig) (imsg.Health, []imsg.StatusFinding) {
	if len(all) == 0 {
		return imsg.Well, nil
	}
	all = slices.Clone(all)
	lost := lost(all, c)
	rank := func(f *imsg.StatusFinding) int { // 0 for what is the end of all sessions
		if stops(f, c, lost) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(x, y imsg.StatusFinding) int { return rank(&x) - rank(&y) })
	if rank(&all[0]) == 0 {
		return imsg.Down, all
	}
	return imsg.Degraded, all
}

// lost tells whether all servers of the fixed modes are: while one is not, sessions go
// there.
func lost(all []imsg.StatusFinding, c *imsg.LockdConfig) bool {
	if !c.Mode.Fixed() {
		return false
	}
	for _, s := range c.Depends.Servers {
		if !slices.ContainsFunc(all, func(f imsg.StatusFinding) bool { return ofServer(f.Finding) && !f.Good && f.Object == s.String() }) {
			return false
		}
	}
	return true
}

// ofServer tells whether a finding is that a server of the fixed modes serves no session.
func ofServer(f imsg.FindingID) bool { return f == imsg.FindingServer || f == imsg.FindingXclient }

// stops tells whether no session can succeed because of f. Where something has gone well
// since, some can. lost is that this is so of all servers.
func stops(f *imsg.StatusFinding, c *imsg.LockdConfig, lost bool) bool {
	if f.Good {
		return false
	}
	switch f.Finding {
	case imsg.FindingServer, imsg.FindingXclient:
		return lost
	case imsg.FindingEngineDown:
		// Mail passes without a spam engine's word.
		return !c.Depends.IgnoreErrors && asks(c, f.Object, imsg.RoleVirus)
	case imsg.FindingSpool:
		return !c.Depends.IgnoreErrors
	case imsg.FindingLock:
		return f.Object == imsg.ObjectLook
	}
	return false
}

// asks tells whether an engine, or scand for all of them, is asked about one of roles.
func asks(c *imsg.LockdConfig, object string, roles imsg.Roles) bool {
	return slices.ContainsFunc(c.Depends.Engines, func(e imsg.ScanEngine) bool {
		return e.Roles&roles != 0 && (object == imsg.ObjectScand || object == e.Engine.String())
	})
}

// Concerns tells whether a finding still means something under a configuration: nothing
// would ever end one about what is not used any more.
func Concerns(f imsg.FindingID, object string, c *imsg.LockdConfig) bool {
	d := &c.Depends
	switch f {
	case imsg.FindingServer:
		if c.Mode.Fixed() {
			return isServer(object, d)
		}
		return object == imsg.ObjectAnyServer
	case imsg.FindingUpstreamTLS:
		server, about, _ := strings.Cut(object, " ")
		used := d.BeginsTLS
		switch about {
		case imsg.ObjectSTARTTLS:
			used = d.EndsTLS && d.Upstream != imsg.TLSNever
		case imsg.ObjectClear:
			used = d.EndsTLS && d.Upstream == imsg.TLSNever
		}
		return used && isServer(server, d)
	case imsg.FindingXclient:
		return c.Mode == imsg.ModeFixedXclient && isServer(object, d)
	case imsg.FindingEngineDown, imsg.FindingEngineSlow:
		return asks(c, object, imsg.RoleVirus|imsg.RoleSpam)
	case imsg.FindingUnscanned:
		if object == imsg.UnscannedMonitor {
			return c.Monitored.Has(imsg.RuleVirus)
		}
		return len(d.Engines) > 0 && slices.Contains(causes, object)
	case imsg.FindingSpool:
		return object == imsg.Printable(d.SpoolPath, 255)
	case imsg.FindingLock: // who waits for the disk of rates waits there, too
		return c.LockDuration != 0 || object == imsg.ObjectLook && c.RateExpiration != 0
	case imsg.FindingDNS:
		return object == imsg.ObjectDNSBL && d.DNSBL || object == imsg.ObjectSPF && d.SPF
	case imsg.FindingLimit:
		return object == imsg.ObjectMaxConnections || object == imsg.ObjectMaxLoad && c.MaxLoad > 0
	case imsg.FindingLoop:
		return object == ""
	case imsg.FindingScript:
		return c.ActionScript
	}
	return true
}

// isServer tells whether an object is a server of the fixed modes.
func isServer(object string, d *imsg.Dependencies) bool {
	return slices.ContainsFunc(d.Servers, func(s netip.AddrPort) bool { return object == s.String() })
}

// causes are why messages pass that were not looked at.
var causes = []string{
	imsg.UnscannedSize, imsg.UnscannedLoad, imsg.UnscannedEngine, imsg.UnscannedAuth, imsg.UnscannedExempt, imsg.UnscannedIgnored, imsg.UnscannedTLS,
}
