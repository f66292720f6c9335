// Package config turns the configuration file, in either syntax, into one
// Config and tells each room its part of it. It is pure: it opens nothing but
// the file it is given, resolves no user, asks no kernel and starts nothing.
//
// options.go holds the one table of all options. Both parsers, the printer,
// the default files and the manual pages follow it.
//
// This file owns the struct the table fills. It must never know an option's
// name, default or range.
package config

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Config is everything the family can be told. Sizes are octets, durations
// whole seconds. Lists are nil when empty. Get one from Default, NewSite, Load or
// Parse.
//
// What an option says to one room alone stands in that room's configuration, which is
// told as it is. What several rooms are told, or only the parent is, and what a room's
// configuration is computed from, stands here.
type Config struct {
	imsg.SessionConfig
	imsg.LookupdConfig
	imsg.ScandConfig
	imsg.LockdConfig
	imsg.ActionConfig

	Mode            imsg.Mode
	FixedServer     netip.Addr // invalid: none
	FixedServerPort uint16
	FixedServers    []netip.AddrPort // if any, they stand for the two above
	SoMark          uint32           // 0: none
	RemoteSecret    int64            // 32 bits, signed or not

	BindAddress  netip.Addr
	Port         uint16
	Listen       []netip.AddrPort // if any, they stand for BindAddress and Port
	ListenTLS    []netip.AddrPort // beside those, with TLS from the first octet
	ConnectQueue int

	ForbidSTARTTLS  bool // TLSPolicy mask, as 1.4 has it
	TLSPolicy       imsg.TLSPolicy
	TLSCAFile       string // empty: the system's
	TLSCertificates []Certificate

	ProxyName    string // "*": the host name
	Workers      int    // 0: by the number of CPUs
	PidFile      string
	ChrootPath   string
	Priority     int // as setpriority(2), 0 leaves it
	DrainTimeout time.Duration

	SetUser     string
	SetGroup    string
	UserSession string // empty, like the next five: SetUser or a user of our own
	UserLookup  string
	UserScan    string
	UserLock    string
	UserAction  string
	UserKeys    string

	ControlSocket string // empty: "control" beside PidFile
	ControlPerm   uint32
	ControlGroup  string
	ReadSocket    string // empty: "status" beside ControlSocket
	ReadPerm      uint32
	ReadGroup     string

	StateFile     string
	StateFilePerm uint32
	StateFileType imsg.StateFile // without StateHuman: no StateFlat means human

	MaxConnections int
	LimitCore      int64 // -1, like the next three: as the system has it
	LimitVirt      int64
	LimitData      int64
	LimitFile      int64

	TimeoutScanner time.Duration
	TimeoutSpam    time.Duration

	BufferSize int64

	DNSBL []imsg.BlockList

	AntivirusType   imsg.Engine
	AntivirusSocket Socket
	AntivirusMethod imsg.Method
	AntispamType    imsg.Engine
	AntispamSocket  Socket

	SpoolPath string

	LockDuration time.Duration // -1 s: for ever, 0: no locking

	ActionScript string

	HistoryPath string

	RatePath            string
	RateGeneration      int64
	RateConnections     int64 // 0, like the next nine: not counted
	RateMessages        int64
	RateRecipients      int64
	RateBytes           int64
	RateMailFromRejects int64
	RateRcptToRejects   int64
	RateAuthRejects     int64
	RateTLSSessions     int64
	RateTLSBytes        int64
	RateTLSServers      int64

	LogLevel    int // as syslog numbers them, 0 emerg to 7 debug
	LogFacility int // RFC 3164 section 4.1.1, not shifted
	LogTarget   string
	LogJSON     bool

	PidHashSize  int64
	HostHashSize int64
	ScannerPath  string
	DspamStorage string
	Locale       string

	Texts [imsg.Texts]string

	inTOML bool             // the syntax it was read in, in which its options are spoken of
	lines  map[string][]int // of the keys of arrays of tables, by path, one a table

	origins map[string][]string // of options that are not at their defaults: see origin
	hidden  map[string]bool     // secrets that are set, nobody here knows to what, by path
}

// Socket is where a scanner listens: a UNIX socket if Path is set, else TCP.
type Socket struct {
	Path    string
	Address netip.AddrPort
}

// Certificate is where one lies that we show to clients.
type Certificate struct {
	Chain string // file of the certificate and those that signed it, PEM
	Key   string // file of its private key, PEM
}

// Default returns the configuration of an empty file in the old syntax: what 1.4
// did unless it was told otherwise.
func Default() *Config { return initial(false) }

// NewSite returns the configuration of a file in TOML that says nothing: what
// somebody wants who begins today.
func NewSite() *Config { return initial(true) }

func initial(toml bool) *Config {
	c := &Config{inTOML: toml}
	for _, o := range table(c) {
		o.reset()
	}
	return c
}

// Listeners returns the addresses to listen on, those of ListenTLS last.
func (c *Config) Listeners() []netip.AddrPort {
	if len(c.Listen) > 0 {
		return slices.Concat(c.Listen, c.ListenTLS)
	}
	return append([]netip.AddrPort{netip.AddrPortFrom(c.BindAddress, c.Port)}, c.ListenTLS...)
}

// BeginsWithTLS tells whether clients do at a listener, by its place in Listeners.
func (c *Config) BeginsWithTLS(i int) bool { return i >= len(c.Listeners())-len(c.ListenTLS) }

// roomUser is who a room runs as.
type roomUser struct {
	option string // that names the user
	named  string // by the file, or empty
	own    string // the user made for the room
}

func (c *Config) users() map[imsg.Room]roomUser {
	return map[imsg.Room]roomUser{
		imsg.Session: {"user_session", c.UserSession, "_smtpgated"},
		imsg.Lookupd: {"user_lookup", c.UserLookup, "_smtpgated-lookup"},
		imsg.Scand:   {"user_scan", c.UserScan, "_smtpgated-scan"},
		imsg.Lockd:   {"user_lock", c.UserLock, "_smtpgated-lock"},
		imsg.Action:  {"user_action", c.UserAction, "_smtpgated-action"},
		imsg.Keys:    {"user_keys", c.UserKeys, "_smtpgated-keys"},
	}
}

// User returns the name of the user a room runs as, empty for a room that has none.
func (c *Config) User(room imsg.Room) string {
	u, ok := c.users()[room]
	if !ok {
		return ""
	}
	return cmp.Or(u.named, c.SetUser, u.own)
}

// ControlSocket is a socket by which the family is looked at or steered.
type ControlSocket struct {
	Role        imsg.Room // of who connects
	Option      string    // that names it
	GroupOption string
	Path        string // as Inside has it
	Perm        uint32
	Group       string // empty: as it comes
}

// ControlSockets returns them, that of the operators first.
func (c *Config) ControlSockets() []ControlSocket {
	operators := cmp.Or(c.ControlSocket, filepath.Join(filepath.Dir(c.PidFile), "control"))
	readers := cmp.Or(c.ReadSocket, filepath.Join(filepath.Dir(operators), "status"))
	return []ControlSocket{
		{imsg.Control, "control_socket", "control_group", c.Inside(operators), c.ControlPerm, c.ControlGroup},
		{imsg.Reader, "control_read_socket", "control_read_group", c.Inside(readers), c.ReadPerm, c.ReadGroup},
	}
}

// ControlPaths returns where they are.
func (c *Config) ControlPaths() (all []string) {
	for _, s := range c.ControlSockets() {
		all = append(all, s.Path)
	}
	return all
}

// Inside returns where a configured path lies in the tree of the parent:
// below chroot_path, if there is one. An empty path stays empty.
func (c *Config) Inside(path string) string {
	if path == "" || c.ChrootPath == "" {
		return path
	}
	return filepath.Join(c.ChrootPath, path)
}

// Keep puts back the options that need a restart to what the running
// configuration says, and returns the names, as the file calls them, of those
// that had been changed.
func (c *Config) Keep(running *Config) []string {
	var changed []string
	old := table(running)
	for i, o := range table(c) {
		if o.Restart && o.Value() != old[i].Value() {
			changed = append(changed, c.Called(o.Name))
			// What one Config prints every other reads.
			o.read(old[i].Value())
			c.noteOrigin(o.Path, kept)
		}
	}
	return changed
}

// defaultCore is the largest core dump of a file that says nothing of it.
const defaultCore = 64 << 20

// Dumps tells whether rooms may leave core dumps, which hold mail. The default is
// no wish for them: files that were printed say it.
func (c *Config) Dumps() bool { return c.LimitCore > 0 && c.LimitCore != defaultCore }

// InTOML tells whether c was read from a file in TOML, which is no file of the old
// daemon's.
func (c *Config) InTOML() bool { return c.inTOML }
