// What each room gets to know: its part of the Config, with what the parent
// found out, in the form that crosses the wire. This file owns that no room
// is told more than it needs.

package config

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Facts is what only the parent can know.
type Facts struct {
	HostName    string           // for proxy_name "*"
	Listeners   []netip.AddrPort // as they were bound
	Own         []netip.Addr     // of this machine
	Nameservers []netip.AddrPort // of the system
	Roots       []byte           // authorities of tls_ca_file, or the system's, in PEM
	Alone       bool             // there is one worker
	SpoolShared bool             // others use spool_path, too
	LocksShared bool             // others use lock_path, too
	Generation  int              // whose rooms are told
	Coming      bool             // that is not in force yet
	Program     string           // to execute to have another of us
	Shown       map[string]int64 // by the file of its chain: until when a certificate of those in force is to be trusted
	Version     string
	CompileDate string
}

// grace is what scand may take over the engines' own limits before the session
// that asks gives up on it.
const grace = 5 * time.Second

func (c *Config) name(f Facts) string {
	if c.ProxyName == "*" {
		return f.HostName
	}
	return c.ProxyName
}

func (c *Config) antivirus() bool { return c.AntivirusType != imsg.EngineOff && c.ScanMaxSize > 0 }

// LargestScanned is the size in octets of the largest message that is shown to a virus
// scanner, 0: none is.
func (c *Config) LargestScanned() int64 {
	if c.SizeLimit > 0 {
		return min(c.SizeLimit, c.ScanMaxSize)
	}
	return c.ScanMaxSize
}

func (c *Config) antispam() bool { return c.AntispamType != imsg.EngineOff && c.SpamMaxSize > 0 }

// antivirusMethod is the one that was chosen if the engine has it, else its own way.
func (c *Config) antivirusMethod() imsg.Method {
	if slices.Contains(c.AntivirusType.Kind().Methods, c.AntivirusMethod) {
		return c.AntivirusMethod
	}
	return imsg.MethodAuto
}

func (c *Config) lockSeconds() int { return int(c.LockDuration / time.Second) }

// locating is what lookupd may take to find a target; 0 is no limit.
func (c *Config) locating() time.Duration {
	if c.Mode == imsg.ModeRemoteUDP {
		return time.Duration(c.RemoteRetries) * c.TimeoutLookup
	}
	return c.TimeoutLookup
}

// scanning is what scand may take; 0 is no limit.
func (c *Config) scanning() time.Duration {
	if c.antivirus() && c.TimeoutScanner == 0 || c.antispam() && c.TimeoutSpam == 0 {
		return 0
	}
	return max(c.TimeoutScanner, c.TimeoutSpam) + grace
}

// MailServers are those of the fixed modes, in their order, as far as they are set.
func (c *Config) MailServers() []netip.AddrPort {
	switch {
	case len(c.FixedServers) > 0:
		return c.FixedServers
	case c.FixedServer.IsValid():
		return []netip.AddrPort{netip.AddrPortFrom(c.FixedServer, c.FixedServerPort)}
	}
	return nil
}

// MailServerOption is the option that names them.
func (c *Config) MailServerOption() string {
	if len(c.FixedServers) > 0 {
		return "fixed_servers"
	}
	return "fixed_server"
}

// elsewhere is the first of them that is not on this machine by its address, if one is not.
func (c *Config) elsewhere() (server netip.Addr, is bool) {
	for _, s := range c.MailServers() {
		if !s.Addr().IsLoopback() {
			return s.Addr(), true
		}
	}
	return netip.Addr{}, len(c.MailServers()) == 0
}

// tlsPolicy is the one of sessions that no rule is for.
func (c *Config) tlsPolicy() imsg.TLSPolicy {
	switch {
	case c.TLSPolicy != imsg.TLSAuto:
		return c.TLSPolicy
	case c.ForbidSTARTTLS:
		return imsg.TLSMask
	case c.Mode.Fixed() && len(c.TLSCertificates) > 0:
		return imsg.TLSTerminate
	}
	return imsg.TLSPass
}

// EndsTLS tells whether sessions may have TLS with us.
func (c *Config) EndsTLS() bool {
	t := imsg.TLSConfig{Policy: c.tlsPolicy(), Rules: c.TLS.Rules}
	return t.Terminates() || len(c.ListenTLS) > 0
}

// beginsTLS tells whether we may have TLS with servers. With a port for that there is,
// whatever tls_upstream says.
func (c *Config) beginsTLS() bool {
	return c.EndsTLS() && c.TLS.Upstream != imsg.TLSNever || len(c.ListenTLS) > 0 && c.TLS.Port != 0
}

// clearBehind tells whether what came to us in TLS may go on without.
func (c *Config) clearBehind() bool {
	t := imsg.TLSConfig{Policy: c.tlsPolicy(), Rules: c.TLS.Rules}
	return c.TLS.Upstream == imsg.TLSNever && (t.Terminates() || len(c.ListenTLS) > 0 && c.TLS.Port == 0)
}

// NeedsRoots tells whether servers' certificates are held against those of authorities.
func (c *Config) NeedsRoots() bool {
	return c.beginsTLS() && (c.TLS.Verify == imsg.TLSVerifyChain || c.TLS.Verify == imsg.TLSVerifyName)
}

// byLogin is an option by which something goes by logins, empty if nothing does.
func (c *Config) byLogin() string {
	switch {
	case c.LockBy != imsg.ByAddress:
		return "lock_by"
	case c.RateBy != imsg.ByAddress:
		return "ratelimit_by"
	case c.MaxPerLogin > 0:
		return "max_per_login"
	}
	return ""
}

// Session returns what a session worker is told.
func (c *Config) Session(f Facts) *imsg.SessionConfig {
	s := c.SessionConfig
	s.ProxyName = c.name(f)
	s.Mode = c.Mode
	s.Servers = c.MailServers()
	s.Marked = c.SoMark != 0
	s.Listeners = f.Listeners
	s.Own = f.Own
	s.MaxConnections = c.MaxConnections
	s.TimeoutLocate = c.locating()
	s.TimeoutScan = c.scanning()
	s.DNSBL, s.Zones = len(c.DNSBL) > 0, imsg.Zones(c.DNSBL)
	s.Antivirus = c.antivirus()
	s.Antispam = c.antispam()
	s.LockDuration = c.lockSeconds()
	s.ByLogin = c.byLogin() != ""
	s.TLS.Policy = c.tlsPolicy()
	s.TLS.Roots = f.Roots
	if !c.beginsTLS() {
		s.TLS.Verify = imsg.TLSUndecided
	}
	s.SpoolPath = c.SpoolPath
	s.Alone = f.Alone
	s.SpoolShared = f.SpoolShared
	s.Texts = c.Texts[:]
	return &s
}

// Lookupd returns what lookupd is told.
func (c *Config) Lookupd(f Facts) *imsg.LookupdConfig {
	l := c.LookupdConfig
	l.Mode = c.Mode
	if len(l.Nameservers) == 0 {
		l.Nameservers = f.Nameservers
	}
	l.Zones = c.DNSBL
	l.Timeout = c.TimeoutLookup
	l.RemoteSecret = uint32(c.RemoteSecret)
	return &l
}

// ScannerSockets returns the paths of the UNIX sockets that the engines in use
// listen on, in the parent's tree. scand's root must hold them.
func (c *Config) ScannerSockets() []string {
	var paths []string
	if c.antivirus() && c.AntivirusType.Kind().Remote() && c.AntivirusSocket.Path != "" {
		paths = append(paths, c.Inside(c.AntivirusSocket.Path))
	}
	if c.antispam() && c.AntispamType.Kind().Remote() && c.AntispamSocket.Path != "" {
		paths = append(paths, c.Inside(c.AntispamSocket.Path))
	}
	return paths
}

// Scand returns what scand is told. local turns a path of ScannerSockets into
// its name below the room's root.
func (c *Config) Scand(local func(path string) string) *imsg.ScandConfig {
	s := c.ScandConfig
	s.SpoolPath = c.SpoolPath
	add := func(e imsg.EngineConfig, at Socket) {
		switch {
		case !e.Engine.Kind().Remote():
		case at.Path != "":
			e.Name = c.Inside(at.Path)
			e.Socket = local(e.Name)
		default:
			e.Address = at.Address
		}
		s.Engines = append(s.Engines, e)
	}
	if c.antivirus() {
		add(imsg.EngineConfig{Engine: c.AntivirusType, Roles: imsg.RoleVirus, Method: c.antivirusMethod(), Timeout: c.TimeoutScanner}, c.AntivirusSocket)
	}
	if c.antispam() {
		add(imsg.EngineConfig{Engine: c.AntispamType, Roles: imsg.RoleSpam, Timeout: c.TimeoutSpam}, c.AntispamSocket)
	}
	return &s
}

// Lockd returns what lockd is told.
func (c *Config) Lockd(f Facts) *imsg.LockdConfig {
	form := c.StateFileType
	if form&imsg.StateFlat == 0 {
		form |= imsg.StateHuman
	}
	l := c.LockdConfig
	l.ProxyName = c.name(f)
	l.Mode = c.Mode
	if c.Mode.Fixed() {
		l.Servers = c.MailServers()
	}
	l.MaxConnections = c.MaxConnections
	l.LockDuration = c.lockSeconds()
	l.LocksShared = f.LocksShared
	l.Protected = c.protected(f)
	l.ProxyFrom = c.SessionConfig.ProxyFrom
	l.ActionScript = c.ActionScript != ""
	l.Depends = c.depends()
	if c.HasCertificates() {
		l.Certificates = f.Generation
	}
	l.StateFile = form
	l.Version = f.Version
	l.CompileDate = f.CompileDate
	l.Monitored = c.Monitor
	l.HashSenders = c.HistoryAddresses == imsg.AddressesHash
	l.RateGeneration = uint64(c.RateGeneration)
	l.RateQuotas = []uint64{
		imsg.RateConnections:     uint64(c.RateConnections),
		imsg.RateMessages:        uint64(c.RateMessages),
		imsg.RateRecipients:      uint64(c.RateRecipients),
		imsg.RateBytes:           uint64(c.RateBytes),
		imsg.RateMailFromRejects: uint64(c.RateMailFromRejects),
		imsg.RateRcptToRejects:   uint64(c.RateRcptToRejects),
		imsg.RateAuthRejects:     uint64(c.RateAuthRejects),
		imsg.RateTLSSessions:     uint64(c.RateTLSSessions),
		imsg.RateTLSBytes:        uint64(c.RateTLSBytes),
		imsg.RateTLSServers:      uint64(c.RateTLSServers),
	}
	return &l
}

// HasCertificates tells whether there are any.
func (c *Config) HasCertificates() bool { return len(c.TLSCertificates) > 0 }

// Keys returns what the keys room is told.
func (c *Config) Keys(f Facts) *imsg.KeysConfig {
	k := &imsg.KeysConfig{Generation: f.Generation, Strict: f.Coming, Old: c.TLS.MinVersion < imsg.TLS12}
	for _, names := range c.TLSCertificates {
		k.Shown = append(k.Shown, f.Shown[names.Chain])
		k.Certificates = append(k.Certificates, imsg.PairNames{Chain: c.Inside(names.Chain), Key: c.Inside(names.Key)})
	}
	return k
}

// depends is what sessions depend on.
func (c *Config) depends() imsg.Dependencies {
	d := imsg.Dependencies{IgnoreErrors: c.IgnoreErrors, DNSBL: len(c.DNSBL) > 0, SPF: c.SPF != imsg.SPFOff, SpoolPath: c.SpoolPath, Zones: imsg.Zones(c.DNSBL)}
	if c.Mode.Fixed() {
		d.Servers = c.MailServers()
	}
	d.EndsTLS, d.BeginsTLS, d.Upstream = c.EndsTLS(), c.beginsTLS(), c.TLS.Upstream
	if c.antivirus() {
		d.Engines = append(d.Engines, imsg.ScanEngine{Engine: c.AntivirusType, Roles: imsg.RoleVirus})
	}
	if c.antispam() {
		d.Engines = append(d.Engines, imsg.ScanEngine{Engine: c.AntispamType, Roles: imsg.RoleSpam})
	}
	return d
}

// Action returns what the script runner is told.
func (c *Config) Action(f Facts) *imsg.ActionConfig {
	a := c.ActionConfig
	a.ProxyName = c.name(f)
	a.Program = f.Program
	a.Script = c.Inside(c.ActionScript)
	a.Directory = c.Inside(c.SpoolPath)
	a.SpoolPath = c.SpoolPath
	a.Virtual = max(c.LimitVirt, 0)
	a.Data = max(c.LimitData, 0)
	a.File = max(c.SpoolLimit(), 0)
	return &a
}

// SpoolLimit is the size no spool file may pass: room for a message that is scanned and its
// spool header. -1: no limit.
func (c *Config) SpoolLimit() int64 {
	const header = 8192
	limit := max(c.LimitFile, c.ScanMaxSize, c.SpamMaxSize)
	if c.LimitFile < 0 || limit > math.MaxInt64-header {
		return -1
	}
	return limit + header
}
