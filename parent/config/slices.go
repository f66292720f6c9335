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
	SpoolShared bool             // others use spool_path, too
	LocksShared bool             // others use lock_path, too
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
func (c *Config) antispam() bool  { return c.AntispamType != imsg.EngineOff && c.SpamMaxSize > 0 }

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

// Session returns what a session worker is told.
func (c *Config) Session(f Facts) *imsg.SessionConfig {
	var server netip.AddrPort
	if c.FixedServer.IsValid() {
		server = netip.AddrPortFrom(c.FixedServer, c.FixedServerPort)
	}
	return &imsg.SessionConfig{
		ProxyName:      c.name(f),
		Mode:           c.Mode,
		FixedServer:    server,
		Outgoing:       c.OutgoingAddr,
		KeepPort:       c.TproxyKeepPort,
		Marked:         c.SoMark != 0,
		Listeners:      f.Listeners,
		Own:            f.Own,
		MaxConnections: c.MaxConnections,
		PipelineSize:   c.PipelineSize,
		TakeoverCmds:   c.TakeoverCmds,
		EnfileSleep:    c.EnfileSleep,
		TimeoutDirect:  c.TimeoutDirect,
		TimeoutLookup:  c.TimeoutLookup,
		TimeoutSession: c.TimeoutSession,
		TimeoutIdle:    c.TimeoutIdle,
		TimeoutConnect: c.TimeoutConnect,
		TimeoutLocate:  c.locating(),
		TimeoutScan:    c.scanning(),
		ForbidSTARTTLS: c.ForbidSTARTTLS,
		AuthRequire:    c.AuthRequire,
		AuthSkip:       c.AuthSkip,
		EarlyTalk:      c.EarlyTalker,
		DNSBL:          len(c.DNSBL) > 0,
		SPF:            c.SPF,
		SPFLogOnly:     c.SPFLogOnly,
		SPFFixedIP:     c.SPFFixedIP,
		EnforceHelo:    c.RegexEnforceHelo,
		RejectHelo:     c.RegexRejectHelo,
		EnforceMail:    c.RegexEnforceMailFrom,
		RejectMail:     c.RegexRejectMailFrom,
		EnforceRcpt:    c.RegexEnforceRcptTo,
		RejectRcpt:     c.RegexRejectRcptTo,
		SizeLimit:      c.SizeLimit,
		Antivirus:      c.antivirus(),
		Antispam:       c.antispam(),
		ScanMaxSize:    c.ScanMaxSize,
		SpamMaxSize:    c.SpamMaxSize,
		SpamThreshold:  c.SpamThreshold,
		SpamMaxLoad:    c.SpamMaxLoad,
		SpamRefuse:     c.SpamRefuse,
		IgnoreErrors:   c.IgnoreErrors,
		LockDuration:   c.lockSeconds(),
		SpoolPath:      c.SpoolPath,
		SpoolPerm:      c.SpoolPerm,
		SpoolLeaveOn:   c.SpoolLeaveOn,
		SpoolShared:    f.SpoolShared,
		NatHeader:      c.NatHeader,
		NatHeaderType:  c.NatHeaderType,
		SpoolHeader:    c.SpoolHeader,
		Abuse:          c.Abuse,
		BareNewline:    c.BareNewline,
		RejectNUL:      c.RejectNUL,
		ScanChunks:     c.ScanChunks,
		LogHelo:        c.LogHelo,
		LogMailFrom:    c.LogMailFrom,
		LogRcptTo:      c.LogRcptTo,
		EmailLength:    c.EmailLength,
		Texts:          c.Texts[:],
	}
}

// Lookupd returns what lookupd is told.
func (c *Config) Lookupd(f Facts) *imsg.LookupdConfig {
	servers := c.Nameservers
	if len(servers) == 0 {
		servers = f.Nameservers
	}
	return &imsg.LookupdConfig{
		Mode:          c.Mode,
		Nameservers:   servers,
		Zones:         c.DNSBL,
		Timeout:       c.TimeoutLookup,
		RemotePort:    c.RemotePort,
		RemoteRetries: c.RemoteRetries,
		RemoteSecret:  uint32(c.RemoteSecret),
	}
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
	s := &imsg.ScandConfig{Parallel: c.ScanParallel, SpoolPath: c.SpoolPath}
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
	return s
}

// Lockd returns what lockd is told.
func (c *Config) Lockd(f Facts) *imsg.LockdConfig {
	form := c.StateFileType
	if form&imsg.StateFlat == 0 {
		form |= imsg.StateHuman
	}
	return &imsg.LockdConfig{
		ProxyName:      c.name(f),
		Mode:           c.Mode,
		MaxConnections: c.MaxConnections,
		MaxPerHost:     c.MaxPerHost,
		MaxPerIdent:    c.MaxPerIdent,
		MaxLoad:        c.MaxLoad,
		LockOn:         c.LockOn,
		LockDuration:   c.lockSeconds(),
		LockPath:       c.LockPath,
		LockPerm:       c.LockPerm,
		LocksShared:    f.LocksShared,
		ActionScript:   c.ActionScript != "",
		StateFile:      form,
		Version:        f.Version,
		CompileDate:    f.CompileDate,

		ClientPrefixIPv6:  c.ClientPrefixIPv6,
		RateExpiration:    c.RateExpiration,
		RateDstExpiration: c.RateDstExpiration,
		RateGeneration:    uint64(c.RateGeneration),
		RateQuotas: []uint64{
			imsg.RateConnections:     uint64(c.RateConnections),
			imsg.RateMessages:        uint64(c.RateMessages),
			imsg.RateRecipients:      uint64(c.RateRecipients),
			imsg.RateBytes:           uint64(c.RateBytes),
			imsg.RateMailFromRejects: uint64(c.RateMailFromRejects),
			imsg.RateRcptToRejects:   uint64(c.RateRcptToRejects),
			imsg.RateAuthRejects:     uint64(c.RateAuthRejects),
		},
	}
}

// Action returns what the script runner is told.
func (c *Config) Action(f Facts) *imsg.ActionConfig {
	return &imsg.ActionConfig{
		ProxyName: c.name(f),
		Script:    c.Inside(c.ActionScript),
		Directory: c.Inside(c.SpoolPath),
		SpoolPath: c.SpoolPath,
		Timeout:   c.ActionTimeout,
		Queue:     c.ActionQueue,
		Virtual:   max(c.LimitVirt, 0),
		Data:      max(c.LimitData, 0),
		File:      max(c.SpoolLimit(), 0),
	}
}

// SpoolLimit is the size no file of a session room may pass: room for a message
// that is scanned and its spool header. -1: no limit.
func (c *Config) SpoolLimit() int64 {
	const header = 8192
	limit := max(c.LimitFile, c.ScanMaxSize, c.SpamMaxSize)
	if c.LimitFile < 0 || limit > math.MaxInt64-header {
		return -1
	}
	return limit + header
}
