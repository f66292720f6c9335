// The family: every room, who it runs as, where, with whom it may talk, and what
// it may do and why. This file owns the table; it starts nothing.

package parent

import (
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// room is one row of the table.
type room struct {
	site.Room
	comm    string // its name in /proc/PID/comm, 15 octets at most
	count   func(*site.Site) int
	threads func(*site.Site) int // GOMAXPROCS, nil: the runtime decides
	links   []imsg.Room
	lasting bool // one for all generations; switches to a new configuration in place
	serves  bool // accepts clients: a generation lives as long as one of these does
	newest  bool // only that of the generation in force gets work; an older one ends with its last
	scripts bool // starts the administrator's programs: its words bind it on no system, for those would inherit that
	slice   slice
	grants  []grant
	may     []permission
	ports   ports // nil: as the words say
}

// slice is what a room is told of the configuration. local are the names, below its
// root, of what lies there.
type slice func(c *config.Config, f config.Facts, local map[string]string) imsg.Notice

// grant is something that only the parent can reach, and hands to a room.
type grant uint8

const (
	listeners      grant = iota // a worker's share of the sockets
	packetFilter                // the device, in the modes that ask it
	controlSockets              // the operators' and the readers'
	ledger                      // where counters outlive their keeper
	stores                      // of rates, exemptions and history, anew with each configuration; before whoever asks of them
	loadAverage                 // and told again as long as it lives
	keyPairs                    // certificates with their keys, and again when they are others
	ticketKeys                  // and again when there is another
)

// permission is one of sandbox.Words and why the room needs it.
type permission struct {
	word, why string
	when      func(*config.Config) bool // nil: always
}

// ports are the TCP ports a room may connect to and be bound to, as sandbox.Rights has
// them.
type ports func(*config.Config) (connect, bind []uint16)

// rooms is the family, the strongest first: of two that do not agree the one below is
// the first to go. The parent stands over all of them, and starts them in
// this order.
var rooms = []room{
	{
		Room: site.Room{Name: imsg.Lockd, User: "user_lock", Root: site.Locks, Files: fixed(1024)},
		comm: "smtp-gated-lock", lasting: true, threads: two,
		count:  one,
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Lockd(f) },
		grants: []grant{stores, controlSockets, ledger, loadAverage},
		links:  []imsg.Room{imsg.Session, imsg.Action, imsg.Keys},
		may: []permission{
			{"stdio", "memory, clock, links", nil},
			{"recvfd", "control sockets, ledger and state file come from the parent", nil},
			{"sendfd", "what an operator has looked at, or written, goes to session workers", nil},
			{"rpath", "lock files are the truth, asked each time", nil},
			{"wpath", "a lock file's cause", nil},
			{"cpath", "lock files are created and removed", nil},
			{"flock", "the stores of rates and exemptions are locked", nil},
			{"stdio-sync", "the stores of rates and exemptions and the ledger reach the disk", nil},
			{"unix-accept", "accepts on the control sockets", nil},
		},
	},
	{
		Room: site.Room{Name: imsg.Keys, User: "user_keys", Root: site.Empty, Files: fixed(256), When: (*config.Config).HasCertificates},
		comm: "smtp-gated-keys", threads: two,
		count:  one,
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Keys(f) },
		grants: []grant{ticketKeys, keyPairs},
		links:  []imsg.Room{imsg.Session, imsg.Lockd},
		may: []permission{
			{"stdio", "memory, clock, links, and reading the files", nil},
			{"recvfd", "certificates and private keys come from the parent", nil},
		},
	},
	{
		Room: site.Room{Name: imsg.Action, User: "user_action", Root: site.WholeTree, Files: fixed(0)},
		comm: "smtp-gated-acti", scripts: true, newest: true,
		count: one,
		slice: func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Action(f) },
		links: []imsg.Room{imsg.Lockd},
		may: []permission{
			{"stdio", "memory, clock, links", nil},
			{"recvfd", "links come from the parent", nil},
			{"rpath", "looks at the script before it runs it", nil},
			{"proc", "ends a script's process group at its time limit", nil},
			{"exec", "runs the script", nil},
		},
	},
	{
		Room: site.Room{Name: imsg.Scand, User: "user_scan", Root: site.Scanners, Groups: true, Files: fixed(4096)},
		comm: "smtp-gated-scan", threads: two,
		count: one,
		slice: func(c *config.Config, _ config.Facts, local map[string]string) imsg.Notice {
			return c.Scand(func(path string) string { return local[path] })
		},
		links: []imsg.Room{imsg.Session},
		may: []permission{
			{"stdio", "memory, clock, links", nil},
			{"recvfd", "spool files come from the sessions", nil},
			{"sendfd", "clamd reads the spool file itself", nil},
			{"rpath-stat", "tells a scanner that is away from a directory that was replaced", nil},
			{"unix-connect", "scanners on UNIX sockets", (*config.Config).ScansBySocket},
			{"inet-tcp", "scanners on TCP", (*config.Config).ScansByTCP},
		},
		ports: (*config.Config).ScandPorts,
	},
	{
		Room: site.Room{Name: imsg.Lookupd, User: "user_lookup", Root: site.Empty, Files: fixed(1024)},
		comm: "smtp-gated-look", threads: two,
		count:  one,
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Lookupd(f) },
		grants: []grant{packetFilter},
		links:  []imsg.Room{imsg.Session},
		may: []permission{
			{"stdio", "memory, clock, links", nil},
			{"recvfd", "links come from the parent", nil},
			{"rpath-stat", "the resolver looks for its files, and finds none", nil},
			{"inet-udp", "name servers and routers", nil},
			{"inet-tcp", "name servers with long answers, and routers", nil},
			{"inet-bind", "routers are asked from the address that the client reached", asksRouter},
			{"pf", "lookups through the packet filter's device, which the parent opened for reading", nil},
		},
		ports: (*config.Config).LookupdPorts,
	},
	{
		Room: site.Room{Name: imsg.Session, User: "user_session", Root: site.Spool, Files: (*site.Site).SessionFiles},
		comm: "smtp-gated-sess", serves: true, threads: (*site.Site).Share,
		count:  (*site.Site).Workers,
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Session(f) },
		grants: []grant{listeners},
		links:  []imsg.Room{imsg.Lockd, imsg.Keys, imsg.Scand, imsg.Lookupd},
		may: []permission{
			{"stdio", "memory, clock, links", nil},
			{"recvfd", "listeners, sockets and links come from the parent", nil},
			{"sendfd", "spool files go to the scanning room", nil},
			{"rpath", "a second, read-only descriptor of a spool file", nil},
			{"wpath", "the spool", nil},
			{"cpath", "spool files are created, renamed and removed", nil},
			{"flock", "a spool file in use is locked", nil},
			{"stdio-splice", "sessions that may not be read any more", nil},
			{"inet-serve", "clients", nil},
			{"inet-tcp", "mail servers", nil},
			{"inet-bind", "mail servers are reached from an address, or a port, of choice", nil},
		},
		ports: (*config.Config).SessionPorts,
	},
}

func asksRouter(c *config.Config) bool { return c.Mode.Remote() }

// lasting is the row of the room that there is one of for all generations.
func lasting() *room {
	return &rooms[slices.IndexFunc(rooms, func(r room) bool { return r.lasting })]
}

func one(*site.Site) int { return 1 }

func two(*site.Site) int { return 2 }

func fixed(n uint64) func(*site.Site) uint64 {
	return func(*site.Site) uint64 { return n }
}

// siteRooms is what a site has to know of the rooms.
func siteRooms() (all []site.Room) {
	for i := range rooms {
		all = append(all, rooms[i].Room)
	}
	return all
}

// Look tells what of a configuration, which Check should have passed, will not work
// on this machine; the error is what keeps it out of force. Without root it judges as if
// root were to start the family.
func Look(c *config.Config) ([]config.Warning, error) {
	return Site(c, true).Look()
}

// Site returns what a configuration is on this machine, to be looked at; rooted as if root
// were to start the family.
func Site(c *config.Config, rooted bool) *site.Site {
	return &site.Site{Config: c, Rooms: siteRooms(), Rooted: rooted}
}

// Exposed tells of secrets that others on this machine may read.
func Exposed(c *config.Config) []config.Advice { return (&site.Site{Config: c}).Exposed() }

// rank orders the rooms by strength, 0 is the strongest.
func (r *room) rank() int {
	return slices.IndexFunc(rooms, func(o room) bool { return o.Name == r.Name })
}

func (r *room) has(g grant) bool { return slices.Contains(r.grants, g) }

func (r *room) linked(other imsg.Room) bool {
	return slices.Contains(r.links, other)
}

// rights are what a room keeps.
func (r *room) rights(c *config.Config) (all sandbox.Rights) {
	if r.scripts {
		return all
	}
	for _, p := range r.may {
		if p.when == nil || p.when(c) {
			all.Words = append(all.Words, p.word)
		}
	}
	if r.ports != nil {
		all.Connect, all.Bind = r.ports(c)
	}
	return all
}
