// The table of capabilities, and how each need shows in a configuration and on this
// machine.

package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/host"
)

// Capabilities is the table. Everything else root could do is given up when all is
// open, see Needs.
var Capabilities = []Capability{
	{"CAP_SETUID", "make a room its user", "always", 1 << unix.CAP_SETUID, 0, always},
	{"CAP_SETGID", "give a room its groups", "always", 1 << unix.CAP_SETGID, 0, always},
	{"CAP_SYS_CHROOT", "lock a room into its root directory", "always", 1 << unix.CAP_SYS_CHROOT, 0, always},
	{"CAP_SETPCAP", "take all capabilities from a room for good", "always", 1 << unix.CAP_SETPCAP, 0, always},
	{"CAP_KILL", "end a room that hangs", "always", 1 << unix.CAP_KILL, 0, always},
	{
		"CAP_DAC_READ_SEARCH", "pass through folders of other users", "always; CAP_DAC_OVERRIDE does as well",
		1 << unix.CAP_DAC_READ_SEARCH, 1 << unix.CAP_DAC_OVERRIDE, always,
	},
	{
		"CAP_NET_BIND_SERVICE", "listen on a port below 1024", "unless systemd opens the sockets, or net.ipv4.ip_unprivileged_port_start says otherwise",
		1 << unix.CAP_NET_BIND_SERVICE, 0, (*Site).lowPort,
	},
	{
		"CAP_NET_ADMIN", "make sockets for others' addresses, and marked ones", "in the modes tproxy, tproxy,netfilter and getsockname, and with target.mark; CAP_NET_RAW does as well",
		1 << unix.CAP_NET_ADMIN, 1 << unix.CAP_NET_RAW, (*Site).network,
	},
	{
		"CAP_SYS_NICE", "give a room a better priority", "with a priority below the one it was started with",
		1 << unix.CAP_SYS_NICE, 0, (*Site).priority,
	},
	{
		"CAP_SYS_RESOURCE", "raise a room's limit of descriptors", "where limits.connections takes more than it was started with",
		1 << unix.CAP_SYS_RESOURCE, 0, (*Site).descriptors,
	},
	{
		"CAP_CHOWN", "give a folder to its room", "while one is missing, and at the start with control.group or control.read_group",
		1 << unix.CAP_CHOWN, 0, (*Site).gift,
	},
	{
		"CAP_DAC_OVERRIDE", "write into folders of other users", "where those of the pid file, control sockets, state file, log, exemptions or rate limits are not root's",
		1 << unix.CAP_DAC_OVERRIDE, 0, (*Site).intrusion,
	},
}

func always(*Site, *Holdings) string { return "every configuration" }

// lowPort names a port that takes a privilege, unless the sockets were given.
func (s *Site) lowPort(h *Holdings) string {
	if h != nil && h.Listeners.Given() {
		return ""
	}
	first := firstFreePort()
	for i, a := range s.Listeners() {
		if a.Port() > 0 && a.Port() < first {
			return fmt.Sprintf("%s: port %d", s.Called(s.listening(i)), a.Port())
		}
	}
	return ""
}

// network names what takes a socket beyond what everybody can make.
func (s *Site) network(*Holdings) string {
	switch {
	case s.intercepts():
		return s.Called("mode") + " " + s.Mode.String()
	case s.outgoing().Needed():
		return s.Called("so_mark")
	}
	return ""
}

// priority names a priority better than our own.
func (s *Site) priority(*Holdings) string {
	// The call, unlike its wrapper in C, says 20 minus the priority.
	our, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if s.Priority == 0 || err == nil && s.Priority >= 20-our {
		return ""
	}
	return fmt.Sprintf("%s %d", s.Called("priority"), s.Priority)
}

// descriptors names what takes more descriptors than we may have.
func (s *Site) descriptors(*Holdings) string {
	var have unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &have) != nil {
		return ""
	}
	for _, r := range s.Rooms {
		if n := r.Files(s); n > have.Max {
			return fmt.Sprintf("%d descriptors of %s", n, r.Name)
		}
	}
	return ""
}

// gift names a folder to make for somebody else, or a socket to give to a
// group.
func (s *Site) gift(h *Holdings) string {
	for _, c := range s.ControlSockets() {
		if h == nil && c.Group != "" {
			return s.Called(c.GroupOption) + " " + c.Group
		}
	}
	for _, f := range s.folders() {
		if _, owned := s.owner(f); owned && !exists(f.Path) {
			return fmt.Sprintf("%s: %s is missing", s.Called(f.option), f.Path)
		}
	}
	return ""
}

// intrusion names a place where we write and root's name alone does not let us.
func (s *Site) intrusion(*Holdings) string {
	places := s.places()
	if log := s.destination(host.StderrIsJournal()); strings.HasPrefix(log, "/") {
		places = append(places, place{"log_target", s.Inside(log), true})
	}
	places = append(places, place{"lock_path", s.exemptPath(), true})
	if s.RateExpiration > 0 {
		places = append(places, place{"ratelimit_path", filepath.Join(s.Inside(s.RatePath), ratesFile), true})
	}
	if s.HistoryMax > 0 {
		places = append(places, place{"history_path", s.Inside(s.HistoryPath), true})
	}
	for _, f := range s.folders() {
		if !exists(f.Path) {
			places = append(places, place{f.option, f.Path, false})
		}
	}
	us := host.Ourselves()
	for _, p := range places {
		if at := us.Unwritable(p.path, p.append); p.path != "" && at != "" {
			return fmt.Sprintf("%s: %s is another user's", s.Called(p.option), at)
		}
	}
	return ""
}

// firstFreePort is the lowest one everybody may listen on (ip(7)).
func firstFreePort() uint16 {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, nerr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16); err == nil && nerr == nil {
		return uint16(n)
	}
	return 1024
}
