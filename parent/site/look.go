// What a configuration meets on this machine: users, sockets, folders, the
// script, addresses. A file can be right in every line and fail on all of them.
// This file owns looking; it must never change anything, nor run anything.

package site

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
	*Site
	who   map[imsg.Room]host.User // of the rooms that have one
	local func(netip.Addr) bool   // tells the addresses of this machine
	found []config.Warning
}

func (l *lookout) warn(option, format string, args ...any) {
	l.say(false, option, format, args)
}

// wrong tells what keeps the configuration out of force. Who is not root may start the
// family without it.
func (l *lookout) wrong(option, format string, args ...any) {
	l.say(os.Geteuid() == 0, option, format, args)
}

func (l *lookout) say(fatal bool, option, format string, args []any) {
	if option != "" {
		option = l.Called(option)
	}
	l.found = append(l.found, config.Warning{Option: option, Text: fmt.Sprintf(format, args...), Fatal: fatal})
}

// Look tells what of a site's configuration, which Check should have passed, will not
// work on this machine; the error is what keeps it out of force. It needs no Prepare.
func (s *Site) Look() ([]config.Warning, error) {
	l := lookout{Site: s, who: map[imsg.Room]host.User{}, local: host.HasAddress}
	if s.Rooted {
		l.users()
	} else {
		l.ourselves()
	}
	l.controls()
	l.owners()
	l.script()
	_, err := l.readAuthorities()
	if l.hidden(err) {
		l.warn("", "%v", err)
		err = nil
	}
	l.surroundings()
	return l.found, err
}

// lookAround tells what Look finds beside what is an error of Prepare, and beside
// what the action room finds out by itself.
func (s *Site) lookAround() []config.Warning {
	l := lookout{Site: s, who: s.who, local: host.HasAddress}
	if !s.Rooted {
		l.ourselves()
	}
	l.surroundings()
	return l.found
}

func (l *lookout) surroundings() {
	l.strangers()
	l.sockets()
	l.addresses()
}

// ourselves has every room be who we are, as it is without root.
func (l *lookout) ourselves() {
	l.who = map[imsg.Room]host.User{}
	for _, r := range l.Rooms {
		l.who[r.Name] = host.Ourselves()
	}
}

// users finds out who the rooms will be.
func (l *lookout) users() {
	var missing []string
	for _, r := range slices.Backward(l.Rooms) { // the weakest, the plainest, first
		if !l.Has(r) {
			continue
		}
		name := l.User(r.Name)
		if _, err := host.FindUser(name); err != nil {
			if !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
			continue
		}
		who, err := l.user(r)
		if err != nil {
			l.wrong("", "%v", err)
			continue
		}
		l.who[r.Name] = who
	}
	if missing != nil {
		l.wrong("set_user", "there is no user %s: create each, or name others; only without root no room needs one", strings.Join(missing, ", "))
	}
}

// controls looks whether the sockets that we are reached by can be made.
func (l *lookout) controls() {
	for _, c := range l.ControlSockets() {
		if _, err := controlGroup(c); err != nil {
			l.wrong(c.GroupOption, "%v", err)
		}
		if info, err := os.Lstat(c.Path); err == nil && info.Mode().Type() != fs.ModeSocket {
			l.warn(c.Option, "%s: a file that is no socket has this name: remove it, or use another name", c.Path)
		}
	}
}

// owners looks whether the folders that exist are their rooms'.
func (l *lookout) owners() {
	for _, f := range l.folders() {
		r, owned := l.owner(f)
		who, known := l.who[r.Name]
		if !owned || !known {
			continue
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			continue // one that is missing will be made
		}
		if err := f.Fits(info, who); err != nil {
			l.wrong(f.option, "%v", err)
		}
	}
}

// strangers names folders that should be the gateway's own and are not.
func (l *lookout) strangers() {
	for _, f := range l.folders() {
		if why := f.Shared(); why != "" {
			l.warn(f.option, "%s %s: give it a directory of its own; nothing is cleared away there", f.Path, why)
		}
	}
}

// sockets looks whether the room that asks the scanners will reach them.
func (l *lookout) sockets() {
	all := l.ScannerSockets()
	root, _ := host.CommonFolder(all)
	if !l.Rooted {
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
		default:
			if why := l.barred(Scanners, root, path, 0o2); why != "" {
				l.warn(s.option, "%s: %s", path, why)
			}
		}
	}
}

// hidden tells whether an error is due to who looks, not to who will be there.
func (l *lookout) hidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 && l.Rooted
}

// script looks whether the action script can be run where it will be.
func (l *lookout) script() {
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
	}
	if why := l.barred(WholeTree, "/", path, 0o1); why != "" {
		l.warn("action_script", "%s: %s", path, why)
	}
	if why := l.barred(WholeTree, "/", spool, 0o1); why != "" && exists(spool) {
		l.warn("action_script", "it works in %s: %s", spool, why)
	}
}

// addresses looks for those that this machine must have.
func (l *lookout) addresses() {
	for _, a := range l.SessionConfig.Outgoing {
		if !a.IsUnspecified() && !l.local(a) {
			l.warn("outgoing_addr", "%s is no address of this machine: no connection can come from it", a)
		}
	}
	for i, a := range l.Listeners() {
		if !a.Addr().IsUnspecified() && !l.Mode.Transparent() && !l.local(a.Addr()) {
			l.warn(l.listening(i), "%s is no address of this machine: nobody can listen on it", a.Addr())
		}
		if !l.Mode.Fixed() || !a.Addr().IsUnspecified() {
			continue
		}
		for _, to := range l.MailServers() {
			if a.Port() == to.Port() && a.Addr().Is4() == to.Addr().Is4() && l.local(to.Addr()) {
				l.warn(l.MailServerOption(), "%s port %d is this machine, where we listen ourselves: connections would go in a circle", to.Addr(), a.Port())
			}
		}
	}
}

// listening is the option that names a listener, by its place in Listeners.
func (s *Site) listening(i int) string {
	switch {
	case s.Config.BeginsWithTLS(i):
		return "listen_tls"
	case len(s.Listen) > 0:
		return "listen"
	}
	return "bind_address"
}

// barred says what below top closes a file to the room whose root is r, and what would
// open it; empty if nothing does, or if it is not known who that room is.
func (l *lookout) barred(r Root, top, path string, need fs.FileMode) string {
	room, _ := l.at(r)
	who, known := l.who[room.Name]
	if !known {
		return ""
	}
	at, err := who.Closed(top, path, need)
	if err == nil {
		return ""
	}
	info, serr := os.Stat(at)
	if !errors.Is(err, fs.ErrPermission) || serr != nil {
		return fmt.Sprintf("%s: %v", at, reason(err))
	}
	st := info.Sys().(*syscall.Stat_t)
	name, group := host.UserName(who.UID), host.GroupName(int(st.Gid))
	text := fmt.Sprintf("%s is closed to user %s (it belongs to %s:%s, mode %04o)", at, name, host.UserName(int(st.Uid)), group, info.Mode().Perm())
	switch {
	case !room.Groups:
		text += fmt.Sprintf("; only group %s of that user counts", host.GroupName(who.GID))
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
