// The family: every room, who it runs as, where, with whom it may talk, and what
// it may do and why. This file owns the table; it starts nothing.

package parent

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// room is one row of the table.
type room struct {
	imsg.Room
	comm    string // its name in /proc/PID/comm, 15 octets at most
	user    string // the option that names its user
	groups  bool   // keeps its user's supplementary groups
	rootDir rootDir
	count   func(*config.Config) int
	files   func(*config.Config) uint64 // RLIMIT_NOFILE, 0: as it is
	threads func(*config.Config) int    // GOMAXPROCS, nil: the runtime decides
	links   []imsg.Room
	lasting bool // one for all generations; switches to a new configuration in place
	serves  bool // accepts clients: a generation lives as long as one of these does
	newest  bool // only that of the generation in force gets work; an older one ends with its last
	scripts bool // starts the administrator's programs, which inherit what binds it
	slice   slice
	grants  []grant
	may     []permission
}

// slice is what a room is told of the configuration. local are the names, below its
// root, of what lies there.
type slice func(c *config.Config, f config.Facts, local map[string]string) imsg.Notice

// grant is something the parent opens and hands to a room.
type grant uint8

const (
	listeners     grant = iota // a worker's share of the sockets
	packetFilter               // the device, in the modes that ask it
	controlSocket              // the operators'
	ledger                     // where counters outlive their keeper
	rateStore                  // anew with each configuration
)

// rootDir says what a room's root directory is.
type rootDir uint8

const (
	inSpool     rootDir = iota // spool_path
	inLocks                    // lock_path
	inEmpty                    // a directory with nothing in it
	atScanners                 // the smallest directory that holds the scanners' sockets
	inSpoolOnly                // works in spool_path, but sees the whole tree
)

func (d rootDir) String() string {
	return [...]string{
		inSpool:     "spool_path",
		inLocks:     "lock_path",
		inEmpty:     "an empty directory",
		atScanners:  "the scanners' directory",
		inSpoolOnly: "no chroot, works in spool_path",
	}[d]
}

// root is the room's root as the administrator wrote it, empty if it holds no
// file of ours. Of a room that moves to a new configuration it stays.
func (r *room) root(c *config.Config) string {
	switch r.rootDir {
	case inSpool, inSpoolOnly:
		return c.Inside(c.SpoolPath)
	case inLocks:
		return c.Inside(c.LockPath)
	}
	return ""
}

// permission is a word of pledge(2) and why the room needs it.
type permission struct{ word, why string }

// rooms is the family, the strongest first: a room's word is never enough to
// have one above it ended. The parent stands over all of them, and starts them in
// this order.
var rooms = []room{
	{
		Room: imsg.Lockd, comm: "smtp-gated-lock", user: "user_lock", rootDir: inLocks, lasting: true, threads: one,
		count: one, files: fixed(1024),
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Lockd(f) },
		grants: []grant{controlSocket, ledger, rateStore},
		links:  []imsg.Room{imsg.Session, imsg.Action},
		may: []permission{
			{"stdio", "memory, clock, links"},
			{"recvfd", "control socket, ledger and state file come from the parent"},
			{"rpath", "lock files are the truth, asked each time"},
			{"wpath", "a lock file's cause"},
			{"cpath", "lock files are created and removed"},
			{"unix", "accepts on the control socket"},
		},
	},
	{
		Room: imsg.Action, comm: "smtp-gated-acti", user: "user_action", rootDir: inSpoolOnly, scripts: true, newest: true,
		count: one, files: fixed(0),
		slice: func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Action(f) },
		links: []imsg.Room{imsg.Lockd},
		may: []permission{
			{"stdio", "memory, clock, links"},
			{"recvfd", "links come from the parent"},
			{"rpath", "looks at the script before it runs it"},
			{"proc", "ends a script's process group at its time limit"},
			{"exec", "runs the script"},
		},
	},
	{
		Room: imsg.Scand, comm: "smtp-gated-scan", user: "user_scan", rootDir: atScanners, groups: true, threads: two,
		count: one, files: fixed(4096),
		slice: func(c *config.Config, _ config.Facts, local map[string]string) imsg.Notice {
			return c.Scand(func(path string) string { return local[path] })
		},
		links: []imsg.Room{imsg.Session},
		may: []permission{
			{"stdio", "memory, clock, links"},
			{"recvfd", "spool files come from the sessions"},
			{"sendfd", "clamd reads the spool file itself"},
			{"rpath", "tells a scanner that is away from a directory that was replaced"},
			{"unix", "scanners on UNIX sockets"},
			{"inet", "scanners on TCP"},
		},
	},
	{
		Room: imsg.Lookupd, comm: "smtp-gated-look", user: "user_lookup", rootDir: inEmpty, threads: two,
		count: one, files: fixed(1024),
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Lookupd(f) },
		grants: []grant{packetFilter},
		links:  []imsg.Room{imsg.Session},
		may: []permission{
			{"stdio", "memory, clock, links"},
			{"recvfd", "links come from the parent"},
			{"inet", "name servers and routers"},
			{"pf", "lookups through the packet filter's device, which the parent opened for reading"},
		},
	},
	{
		Room: imsg.Session, comm: "smtp-gated-sess", user: "user_session", rootDir: inSpool, serves: true, threads: share,
		count: workers, files: sessionFiles,
		slice:  func(c *config.Config, f config.Facts, _ map[string]string) imsg.Notice { return c.Session(f) },
		grants: []grant{listeners},
		links:  []imsg.Room{imsg.Lockd, imsg.Scand, imsg.Lookupd},
		may: []permission{
			{"stdio", "memory, clock, links"},
			{"recvfd", "listeners, sockets and links come from the parent"},
			{"sendfd", "spool files go to the scanning room"},
			{"rpath", "a second, read-only descriptor of a spool file"},
			{"wpath", "the spool"},
			{"cpath", "spool files are created, renamed and removed"},
			{"flock", "a spool file in use is locked"},
			{"inet", "clients and mail servers"},
		},
	},
}

func one(*config.Config) int { return 1 }

func two(*config.Config) int { return 2 }

func fixed(n uint64) func(*config.Config) uint64 {
	return func(*config.Config) uint64 { return n }
}

func workers(c *config.Config) int {
	if c.Workers > 0 {
		return c.Workers
	}
	return min(max(runtime.NumCPU()/2, 2), 8)
}

// share is a worker's part of the CPUs: more threads than that only wake each
// other.
func share(c *config.Config) int { return max(runtime.NumCPU()/workers(c), 1) }

// sessionFiles lets any worker take all sessions: two sockets, a spool file and
// its second descriptor, two pipes.
func sessionFiles(c *config.Config) uint64 { return uint64(6*c.MaxConnections + 64) }

// row returns a room's row.
func row(r imsg.Room) *room {
	for i := range rooms {
		if rooms[i].Room == r {
			return &rooms[i]
		}
	}
	return nil
}

// rank orders the rooms by strength, 0 is the strongest.
func rank(r imsg.Room) int {
	for i := range rooms {
		if rooms[i].Room == r {
			return i
		}
	}
	return len(rooms)
}

func (r *room) linked(other imsg.Room) bool {
	return slices.Contains(r.links, other)
}

// PrintRooms writes the table for people.
func PrintRooms(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "room\troot\ttalks to\tmay")
	for i := range rooms {
		r := &rooms[i]
		var links, words []string
		for _, l := range r.links {
			links = append(links, l.String())
		}
		for _, m := range r.may {
			words = append(words, m.word)
		}
		fmt.Fprintf(tw, "%s\t%s\tparent, %s\t%s\n", r.Room, r.rootDir, strings.Join(links, ", "), strings.Join(words, " "))
	}
	return tw.Flush()
}
