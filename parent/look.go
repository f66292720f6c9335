// What a configuration meets on this machine: users, sockets, folders, the
// script, addresses. A file can be right in every line and fail on all of them.
// This file owns looking; it must never change anything, nor run anything.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// lookout collects what will not work.
type lookout struct {
	*config.Config
	who      map[imsg.Room]host.User // of the rooms that have one
	rootless bool
	local    func(netip.Addr) bool // tells the addresses of this machine
	found    []config.Warning
}

func (l *lookout) warn(option, format string, args ...any) {
	if option != "" {
		option = l.Called(option)
	}
	l.found = append(l.found, config.Warning{Option: option, Text: fmt.Sprintf(format, args...)})
}

// Look tells what of c, which Check should have passed, will not work on this
// machine. Without root it judges as if root were to start the family.
func Look(c *config.Config) []config.Warning {
	l := lookout{Config: c, who: map[imsg.Room]host.User{}, local: host.HasAddress}
	l.users()
	l.folders()
	l.script()
	l.surroundings()
	return l.found
}

// lookAround says what Look finds beside what is an error of a start, and beside
// what the action room finds out by itself.
func (p *parent) lookAround(g *generation) {
	l := lookout{Config: g.cfg, who: map[imsg.Room]host.User{}, rootless: !p.rooted, local: host.HasAddress}
	for r, id := range g.who {
		if l.rootless {
			id = host.Ourselves()
		}
		l.who[r] = id
	}
	l.surroundings()
	p.warn(l.found)
	for _, w := range l.found {
		if p.Started != nil { // whoever started us may look at a terminal
			fmt.Fprintln(os.Stderr, "smtp-gated: warning:", w)
		}
	}
}

func (l *lookout) surroundings() {
	l.shared()
	l.sockets()
	l.addresses()
}

// users finds out who the rooms will be.
func (l *lookout) users() {
	var missing []string
	for i := range slices.Backward(rooms) { // the sessions', the plainest, first
		r := &rooms[i]
		if _, err := host.FindUser(l.User(r.Room)); err != nil {
			if !slices.Contains(missing, l.User(r.Room)) {
				missing = append(missing, l.User(r.Room))
			}
			continue
		}
		id, err := r.account(l.Config)
		if err != nil {
			l.warn("", "%v", err)
			continue
		}
		l.who[r.Room] = id
	}
	if missing != nil {
		l.warn("set_user", "there is no user %s: create each, or name others; only without root no room needs one", strings.Join(missing, ", "))
	}
	if l.ControlGroup != "" {
		if _, err := host.FindGroup(l.ControlGroup); err != nil {
			l.warn("control_group", "%v", err)
		}
	}
}

// folders looks whether those that exist are their rooms'.
func (l *lookout) folders() {
	for _, f := range ownFolders(l.Config) {
		who, known := l.who[f.room]
		if !known || f.room == imsg.Lookupd { // whose folder is root's
			continue
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			continue // one that is missing will be made
		}
		if err := f.Fits(info, who); err != nil {
			l.warn(f.option, "%v", err)
		}
	}
}

// shared names folders that should be the gateway's own and are not.
func (l *lookout) shared() {
	for _, f := range ownFolders(l.Config) {
		if why := f.Shared(); why != "" {
			l.warn(f.option, "%s %s: give it a directory of its own; nothing is cleared away there", f.Path, why)
		}
	}
}

// sockets looks whether scand will reach the scanners.
func (l *lookout) sockets() {
	who, known := l.who[imsg.Scand]
	all := l.ScannerSockets()
	root, _ := host.CommonFolder(all)
	if l.rootless {
		root = "/" // no chroot
	}
	for _, s := range []struct{ option, path string }{{"antivirus_path", l.AntivirusSocket.Path}, {"antispam_path", l.AntispamSocket.Path}} {
		path := l.Inside(s.path)
		if !slices.Contains(all, path) {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case l.hidden(err):
			l.warn(s.option, "%s: only root can look there", path)
		case err != nil && path != s.path && exists(s.path):
			l.warn(s.option, "%s: %v, but there is %s: %s is put before it", path, reason(err), s.path, l.Called("chroot_path"))
		case err != nil:
			l.warn(s.option, "%s: %v: does the scanner run, and listen there?", path, reason(err))
		case info.Mode().Type() != fs.ModeSocket:
			l.warn(s.option, "%s is no socket", path)
		case known:
			if at, err := who.Closed(root, path, 0o2); err != nil {
				l.warn(s.option, "%s: %s", path, l.barred(at, err, imsg.Scand, 0o2))
			}
		}
	}
}

// hidden tells whether an error is due to who looks, not to who will be there.
func (l *lookout) hidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 && !l.rootless
}

// script looks whether the action script can be run where it will be.
func (l *lookout) script() {
	who, known := l.who[imsg.Action]
	if l.ActionScript == "" {
		return
	}
	path, spool := l.Inside(l.ActionScript), l.Inside(l.SpoolPath)
	info, err := os.Stat(path)
	switch {
	case l.hidden(err):
		l.warn("action_script", "%s: only root can look there", path)
		return
	case err != nil:
		l.warn("action_script", "%s: %v", path, reason(err))
		return
	case !info.Mode().IsRegular():
		l.warn("action_script", "%s is no file", path)
		return
	case !known:
		return
	}
	if at, err := who.Closed("/", path, 0o1); err != nil {
		l.warn("action_script", "%s: %s", path, l.barred(at, err, imsg.Action, 0o1))
	}
	if at, err := who.Closed("/", spool, 0o1); err != nil && exists(spool) {
		l.warn("action_script", "it works in %s: %s", spool, l.barred(at, err, imsg.Action, 0o1))
	}
}

// addresses looks for those that this machine must have.
func (l *lookout) addresses() {
	for _, a := range l.Outgoing {
		if !a.IsUnspecified() && !l.local(a) {
			l.warn("outgoing_addr", "%s is no address of this machine: no connection can come from it", a)
		}
	}
	for _, a := range l.Listeners() {
		if !a.Addr().IsUnspecified() && !l.Mode.Transparent() && !l.local(a.Addr()) {
			l.warn(l.listening(), "%s is no address of this machine: nobody can listen on it", a.Addr())
		}
		if l.Mode.Fixed() && a.Addr().IsUnspecified() && a.Port() == l.FixedServerPort &&
			a.Addr().Is4() == l.FixedServer.Is4() && l.local(l.FixedServer) {
			l.warn("fixed_server", "%s port %d is this machine, where we listen ourselves: connections would go in a circle", l.FixedServer, a.Port())
		}
	}
}

func (l *lookout) listening() string {
	if len(l.Listen) > 0 {
		return "listen"
	}
	return "bind_address"
}

// barred words what is closed to a room, and what would open it.
func (l *lookout) barred(at string, err error, r imsg.Room, need fs.FileMode) string {
	info, serr := os.Stat(at)
	if !errors.Is(err, fs.ErrPermission) || serr != nil {
		return fmt.Sprintf("%s: %v", at, reason(err))
	}
	st := info.Sys().(*syscall.Stat_t)
	name, group := host.UserName(l.who[r].UID), host.GroupName(int(st.Gid))
	text := fmt.Sprintf("%s is closed to user %s (it belongs to %s:%s, mode %04o)", at, name, host.UserName(int(st.Uid)), group, info.Mode().Perm())
	switch {
	case !row(r).groups:
		text += fmt.Sprintf("; only group %s of that user counts", host.GroupName(l.who[r].GID))
	case info.Mode()&(need<<3) == need<<3 && st.Gid != 0:
		text += ": add that user to the group " + group
	}
	return text
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// reason is an error about a file without the file's name.
func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
