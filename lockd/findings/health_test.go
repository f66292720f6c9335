package findings

import (
	"net/netip"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	virus = imsg.RoleVirus
	spam  = imsg.RoleSpam
)

// house is a configuration in which all is used.
func house(edit func(*imsg.LockdConfig)) *imsg.LockdConfig {
	c := &imsg.LockdConfig{
		Mode: imsg.ModeFixed, MaxConnections: 10, MaxLoad: 5, LockDuration: 60, ActionScript: true,
		Depends: imsg.Dependencies{
			Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.25:25")},
			Engines: []imsg.ScanEngine{{Engine: imsg.EngineClamd, Roles: virus}, {Engine: imsg.EngineSpamd, Roles: spam}},
			DNSBL:   true, SPF: true, SpoolPath: "/spool", EndsTLS: true, BeginsTLS: true,
		},
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func ignoring(c *imsg.LockdConfig) { c.Depends.IgnoreErrors = true }
func intercepting(c *imsg.LockdConfig) {
	c.Mode, c.Depends.Servers = imsg.ModeNetfilter, nil
}
func tellingClients(c *imsg.LockdConfig) { c.Mode = imsg.ModeFixedXclient }

// inClear is tls.upstream never.
func inClear(c *imsg.LockdConfig) { c.Depends.BeginsTLS, c.Depends.Upstream = false, imsg.TLSNever }

func unscanned(c *imsg.LockdConfig) { c.Depends.Engines = nil }
func spamOnly(c *imsg.LockdConfig)  { c.Depends.Engines = c.Depends.Engines[1:] }

// TestJudge: what a finding comes to, by itself.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		finding imsg.FindingID
		object  string
		edit    func(*imsg.LockdConfig)
		want    imsg.Health
	}{
		{imsg.FindingServer, "192.0.2.25:25", nil, imsg.Down},
		{imsg.FindingServer, imsg.ObjectAnyServer, intercepting, imsg.Degraded},
		{imsg.FindingEngineDown, "clamd", nil, imsg.Down},
		{imsg.FindingEngineDown, "clamd", ignoring, imsg.Degraded},
		{imsg.FindingEngineDown, "spamassassin", nil, imsg.Degraded},
		{imsg.FindingEngineDown, imsg.ObjectScand, nil, imsg.Down},
		{imsg.FindingEngineDown, imsg.ObjectScand, ignoring, imsg.Degraded},
		{imsg.FindingEngineDown, imsg.ObjectScand, spamOnly, imsg.Degraded},
		{imsg.FindingEngineSlow, "clamd", nil, imsg.Degraded},
		{imsg.FindingUnscanned, imsg.UnscannedSize, nil, imsg.Degraded},
		{imsg.FindingSpool, "/spool", nil, imsg.Down},
		{imsg.FindingSpool, "/spool", ignoring, imsg.Degraded},
		{imsg.FindingSpool, "/spool", unscanned, imsg.Down}, // kept for others,
		{imsg.FindingLock, imsg.ObjectLook, nil, imsg.Down},
		{imsg.FindingLock, imsg.ObjectMake, nil, imsg.Degraded},
		{imsg.FindingDNS, imsg.ObjectSPF, nil, imsg.Degraded},
		{imsg.FindingLimit, imsg.ObjectMaxConnections, nil, imsg.Degraded},
		{imsg.FindingLimit, imsg.ObjectMaxLoad, nil, imsg.Degraded},
		{imsg.FindingLoop, "", nil, imsg.Degraded},
		{imsg.FindingReload, "", nil, imsg.Degraded},
		{imsg.FindingRestarted, "scand", nil, imsg.Degraded},
		{imsg.FindingHung, "scand", nil, imsg.Degraded},
		{imsg.FindingLogLost, "scand", nil, imsg.Degraded},
		{imsg.FindingHistoryLost, "", nil, imsg.Degraded},
		{imsg.FindingScript, "", nil, imsg.Degraded},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25", nil, imsg.Degraded},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25 STARTTLS", nil, imsg.Degraded},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25 clear", inClear, imsg.Degraded},
		{imsg.FindingXclient, "192.0.2.25:25", tellingClients, imsg.Down},
	} {
		c := house(test.edit)
		f := imsg.StatusFinding{Finding: test.finding, Object: test.object}
		if got, list := Judge([]imsg.StatusFinding{f}, c); got != test.want || len(list) != 1 {
			t.Errorf("%s %s: %s, want %s", f.Finding, f.Object, got, test.want)
		}
		f.Good = true
		if got, _ := Judge([]imsg.StatusFinding{f}, c); got != imsg.Degraded {
			t.Errorf("%s %s, which went well since: %s", f.Finding, f.Object, got)
		}
		if !Concerns(test.finding, test.object, c) && len(c.Depends.Engines) > 0 {
			t.Errorf("%s %s concerns nobody", f.Finding, f.Object)
		}
	}
}

// TestJudgeAll: what ends all sessions is the first, else the order is the table's.
func TestJudgeAll(t *testing.T) {
	if got, list := Judge(nil, house(nil)); got != imsg.Well || len(list) != 0 {
		t.Errorf("nothing is %s, %v", got, list)
	}
	given := []imsg.StatusFinding{
		{Finding: imsg.FindingEngineDown, Object: "spamassassin"},
		{Finding: imsg.FindingEngineSlow, Object: "clamd"},
		{Finding: imsg.FindingSpool, Object: "/spool"},
		{Finding: imsg.FindingLock, Object: imsg.ObjectLook},
	}
	got, list := Judge(given, house(nil))
	if got != imsg.Down || list[0] != given[2] || list[1] != given[3] || list[2] != given[0] || list[3] != given[1] {
		t.Errorf("%s: %v", got, list)
	}
}

// TestServers: while one of them serves, there is mail; and none is forgotten.
func TestServers(t *testing.T) {
	two := func(c *imsg.LockdConfig) {
		c.Mode, c.Depends.Servers = imsg.ModeFixedXclient, append(c.Depends.Servers, netip.MustParseAddrPort("192.0.2.26:25"))
	}
	c := house(two)
	first := imsg.StatusFinding{Finding: imsg.FindingServer, Object: "192.0.2.25:25"}
	second := imsg.StatusFinding{Finding: imsg.FindingXclient, Object: "192.0.2.26:25"}
	well := second
	well.Good = true
	for _, test := range []struct {
		all  []imsg.StatusFinding
		want imsg.Health
	}{
		{[]imsg.StatusFinding{first}, imsg.Degraded},
		{[]imsg.StatusFinding{second}, imsg.Degraded},
		{[]imsg.StatusFinding{first, well}, imsg.Degraded},
		{[]imsg.StatusFinding{first, second}, imsg.Down},
	} {
		if got, _ := Judge(test.all, c); got != test.want {
			t.Errorf("%v: %s, want %s", test.all, got, test.want)
		}
	}
	for _, object := range []string{"192.0.2.25:25", "192.0.2.26:25"} {
		for _, f := range []imsg.FindingID{imsg.FindingServer, imsg.FindingXclient, imsg.FindingUpstreamTLS} {
			if !Concerns(f, object, c) {
				t.Errorf("%s %s concerns nobody", f, object)
			}
		}
	}
}

// TestConcerns: what is not used any more is nobody's finding.
func TestConcerns(t *testing.T) {
	for _, test := range []struct {
		finding imsg.FindingID
		object  string
		edit    func(*imsg.LockdConfig)
	}{
		{imsg.FindingServer, "192.0.2.26:25", nil},
		{imsg.FindingServer, imsg.ObjectAnyServer, nil},
		{imsg.FindingServer, "192.0.2.25:25", intercepting},
		{imsg.FindingEngineDown, "mksd", nil},
		{imsg.FindingEngineDown, "clamd", spamOnly},
		{imsg.FindingEngineSlow, "clamd", unscanned},
		{imsg.FindingEngineDown, imsg.ObjectScand, unscanned},
		{imsg.FindingUnscanned, imsg.UnscannedEngine, unscanned},
		{imsg.FindingSpool, "/old", nil},
		{imsg.FindingDNS, imsg.ObjectSPF, func(c *imsg.LockdConfig) { c.Depends.SPF = false }},
		{imsg.FindingDNS, imsg.ObjectDNSBL, func(c *imsg.LockdConfig) { c.Depends.DNSBL = false }},
		{imsg.FindingLimit, imsg.ObjectMaxLoad, func(c *imsg.LockdConfig) { c.MaxLoad = 0 }},
		{imsg.FindingScript, "", func(c *imsg.LockdConfig) { c.ActionScript = false }},
		{imsg.FindingUpstreamTLS, "192.0.2.26:25", nil},
		{imsg.FindingUpstreamTLS, "192.0.2.26:25 STARTTLS", nil},
		{imsg.FindingUpstreamTLS, "192.0.2.26:25 clear", inClear},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25", inClear},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25 STARTTLS", inClear},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25 clear", nil},
		{imsg.FindingUpstreamTLS, "192.0.2.25:25 STARTTLS", func(c *imsg.LockdConfig) { c.Depends.EndsTLS = false }},
		{imsg.FindingXclient, "192.0.2.26:25", tellingClients},
		{imsg.FindingXclient, "192.0.2.25:25", nil},
	} {
		if Concerns(test.finding, test.object, house(test.edit)) {
			t.Errorf("%s %s concerns somebody", test.finding, test.object)
		}
	}
}
