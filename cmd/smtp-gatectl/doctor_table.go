// The one table of what doctor tries. The manual page has it as well, and a test holds the
// two together.

package main

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// probe is one row: what is tried, and how. A word in capitals in its id stands for an
// object, of which there may be several, each with a result of its own.
type probe struct {
	id, group, help string
	do              func(context.Context, *patient) []result
	limit           func(*patient) time.Duration // how long it may take, nil: probeTime
}

var placeholder = regexp.MustCompile(`[A-Z]+`)

// probes is the table, in the order in which results are told.
var probes = []probe{
	{id: "config", group: "family", help: "the file is right, and what it names is there", do: probeConfig},
	{id: "daemon", group: "family", help: "the daemon runs, or a temporary one starts, and finds nothing wrong", do: probeDaemon},
	{id: "listeners", group: "family", help: "where the gateway is to listen nobody else does", do: probeListeners},

	{id: "users", group: "rooms", help: "each room has a user, and none is root", do: probeUsers},
	{id: "folders", group: "rooms", help: "each folder is its room's, and holds nothing else", do: probeFolders},
	{id: "room-ROOM", group: "rooms", help: "what a room needs in its root directory is open to its user and groups: folder, scanners' sockets, script", do: probeRooms},
	{id: "sandbox-ROOM", group: "rooms", help: "the kernel says of a room's processes that they are locked in: user, root directory, capabilities, filters", do: probeSandbox},

	{id: "engine-ENGINE-eicar", group: "engines", help: "a virus scanner finds the EICAR test virus", do: probeEicar, limit: scanLimit},
	{id: "engine-ENGINE-large", group: "engines", help: "a virus scanner finds it at the end of the largest mail that is scanned, too", do: probeLarge, limit: largeLimit},
	{id: "engine-ENGINE-gtube", group: "engines", help: "a spam scanner gives the GTUBE test mail a score that is spam", do: probeGtube, limit: scanLimit},
	{id: "engine-ENGINE-clean", group: "engines", help: "an engine finds nothing in a clean mail", do: probeClean, limit: scanLimit},

	{id: "server-greeting-SERVER", group: "server", help: "the server of the fixed modes, or each of them, can be reached as a session does, and greets", do: probeGreeting, limit: talkLimit},
	{id: "server-ehlo-SERVER", group: "server", help: "the server answers EHLO, and offers what the configuration needs", do: probeEHLO, limit: talkLimit},
	{id: "server-loop-SERVER", group: "server", help: "the server is not this gateway", do: probeLoop, limit: talkLimit},

	{id: "dns-server-ADDRESS", group: "dns", help: "a name server answers", do: probeNameservers},
	{id: "dns-list-ZONE", group: "dns", help: "a block list has its test entry, and not all the world (RFC 5782)", do: probeLists},

	{id: "firewall-redirect", group: "firewall", help: "in the modes for routers, rules lead clients to our listeners", do: probeRedirect},
	{id: "firewall-own", group: "firewall", help: "no rule leads our own connections back to us", do: probeOwn},
	{id: "firewall-routes", group: "firewall", help: "in the modes with TPROXY, marked packets are routed to this machine", do: probeRoutes},

	{id: "kernel", group: "machine", help: "the kernel has all layers of the sandbox", do: probeKernel},
	{id: "limit-files", group: "machine", help: "as many descriptors can be had as limits.connections takes", do: probeFiles},
	{id: "limit-queue", group: "machine", help: "the kernel lets as many clients wait as listen.queue says", do: probeQueue},
	{id: "limit-conntrack", group: "machine", help: "the firewall can remember as many connections as there may be", do: probeConntrack},
	{id: "disk-FOLDER", group: "machine", help: "there is room for messages and files", do: probeDisks},
	{id: "clock", group: "machine", help: "the clock is not before this program was made", do: probeClock},

	{id: "certificate-FILE", group: "certificate", help: "a certificate can be read, its key fits, and it does not end soon", do: probeCertificates},
}

// plainID is the id where there is no object to name.
func (b *probe) plainID() string {
	return strings.TrimSuffix(objectless.ReplaceAllString(b.id, ""), "-")
}

var objectless = regexp.MustCompile(`-[A-Z]+`)

// has tells whether id may be that of a result, or names all of them or the group.
func (b *probe) has(id string) bool {
	pattern := placeholder.ReplaceAllLiteralString(regexp.QuoteMeta(b.id), `.+`)
	is, err := regexp.MatchString("^"+pattern+"$", id)
	return b.named(id) || err == nil && is
}

// named tells whether a word means the row as a whole.
func (b *probe) named(word string) bool {
	return word == b.id || word == b.plainID() || word == b.group
}
