// Whether the family can start with a configuration. This file owns what must
// hold between options, and names the remedy of what does not. It looks at
// names only: what exists on this machine is the parent's business.

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Check tells why the family cannot start with c. The error joins one *Error
// for each cause.
func (c *Config) Check() error {
	var errs []error
	wrong := func(option, format string, args ...any) {
		errs = append(errs, &Error{Option: c.Called(option), Text: fmt.Sprintf(c.Speak(format), args...)})
	}
	c.checkTarget(wrong)
	c.checkListeners(wrong)
	c.checkBalancers(wrong)
	c.checkTLS(wrong)
	c.checkScanners(wrong)
	c.checkFolders(wrong)
	c.checkSockets(wrong)
	if by := c.byLogin(); by != "" && c.AuthSkip&imsg.SkipDirect != 0 {
		wrong("auth_skip", "with direct a session is not seen any more once its client has logged in, and nothing can go by logins, as %s says: leave one of them out", c.Called(by))
	}
	if c.SPF == imsg.SPFFixed && !c.SPFFixedIP.IsValid() {
		wrong("spf", "fixed needs an address: set {spf_fixed_ip}")
	}
	notRoot := func(option, name string) {
		if name == "root" {
			wrong(option, "no room runs as root: name an unprivileged user")
		}
	}
	notRoot("set_user", c.SetUser)
	users := c.users()
	for _, r := range imsg.Children() {
		notRoot(users[r].option, users[r].named)
	}
	return errors.Join(errs...)
}

type complaint = func(option, format string, args ...any)

func (c *Config) checkTarget(wrong complaint) {
	if c.Mode == imsg.ModeNone {
		wrong("mode", "is none: set how the server a client wanted is found, as in {mode} fixed with {fixed_server} 192.0.2.25")
	}
	if !c.Mode.Fixed() {
		return
	}
	option, servers := c.MailServerOption(), c.MailServers()
	switch {
	case len(servers) == 0:
		wrong(option, "is empty: mode %s needs the address of the mail server", c.Mode)
	case len(servers) > imsg.MaxServers:
		wrong(option, "there are %d, at most %d can be kept", len(servers), imsg.MaxServers)
	case len(c.FixedServers) > 0 && c.FixedServer.IsValid():
		wrong(option, "it excludes {fixed_server}: leave that out, and have it in the list")
	}
	for i, s := range servers {
		if slices.Contains(servers[:i], s) {
			wrong(option, "%s is there twice: leave one out", s)
			continue
		}
		c.checkServer(wrong, option, s)
	}
}

// checkServer looks at one server of the fixed modes.
func (c *Config) checkServer(wrong complaint, option string, server netip.AddrPort) {
	to := server.Addr()
	if to.IsUnspecified() {
		wrong(option, "%s is no server's address", to)
	}
	fits := func(a netip.Addr) bool { return a.IsUnspecified() || a.Is4() == to.Is4() }
	if len(c.Outgoing) > 0 && !slices.ContainsFunc(c.Outgoing, fits) {
		wrong("outgoing_addr", "%s cannot reach {"+option+"} %s: use two addresses of one family", c.Outgoing[0], to)
	}
	for _, l := range c.Listeners() {
		everywhere := l.Addr().IsUnspecified() && l.Addr().Is4() == to.Is4() && to.IsLoopback()
		ours := l.Port() == server.Port() || l.Port() == c.TLS.Port && l.Port() != 0
		if ours && (everywhere || l.Addr() == to) {
			wrong(option, "%s port %d is our own listener: connections would go in a circle", to, l.Port())
		}
	}
}

func (c *Config) checkListeners(wrong complaint) {
	all := c.Listeners()
	for i, a := range all {
		for j, b := range all[:i] {
			// One of each family can share a port: IPv6 listeners take IPv6 only.
			overlap := a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
			overlap = overlap && a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4()
			// Ports that the system picks do not meet, but two such would be one.
			if a.Port() == 0 {
				overlap = a == b && c.BeginsWithTLS(i) == c.BeginsWithTLS(j)
			}
			if overlap {
				wrong("listen", "%s and %s overlap: leave one out", b, a)
			}
		}
	}
}

func (c *Config) checkBalancers(wrong complaint) {
	from := c.SessionConfig.ProxyFrom
	if len(from) > 0 && !c.Mode.Fixed() {
		wrong("listen_proxy_from", "it is for the fixed modes, and mode is %s: elsewhere the client's own connection says where it was going", c.Mode)
	}
	if n := len(from); n > imsg.MaxProxyFrom {
		wrong("listen_proxy_from", "there are %d networks, at most %d can be told apart: name larger ones", n, imsg.MaxProxyFrom)
	}
}

func (c *Config) checkScanners(wrong complaint) {
	checkReach(wrong, "antivirus_path", c.AntivirusType.Kind(), c.AntivirusSocket)
	checkReach(wrong, "antispam_path", c.AntispamType.Kind(), c.AntispamSocket)
	if c.antivirusMethod() == imsg.MethodFildes && c.AntivirusSocket.Path == "" {
		wrong("antivirus_method", "fildes needs a UNIX socket: set its path as {antivirus_path}, or use instream")
	}
}

func checkReach(wrong complaint, option string, kind *imsg.EngineKind, s Socket) {
	switch {
	case kind.Unix && !kind.TCP && s.Path == "":
		wrong(option, "%s is not a UNIX socket, %s needs one: set its path", s.Address, kind.Name)
	case kind.TCP && !kind.Unix && s.Path != "":
		wrong(option, "%s is a UNIX socket, %s needs an address: set it, with its port", s.Path, kind.Name)
	}
}

// checkFolders keeps apart the directories that hold nothing else.
func (c *Config) checkFolders(wrong complaint) {
	folders := []struct{ option, path string }{
		{"spool_path", c.SpoolPath}, {"lock_path", c.LockPath}, {"ratelimit_path", c.RatePath},
	}
	for i, a := range folders {
		for j, b := range folders {
			if i != j && below(a.path, b.path) && (i > j || filepath.Clean(a.path) != filepath.Clean(b.path)) {
				wrong(a.option, "%s lies in %s %s, which holds nothing else: use a folder beside it", a.path, c.Called(b.option), b.path)
				break
			}
		}
	}
}

// checkSockets keeps what is made beside each other apart.
func (c *Config) checkSockets(wrong complaint) {
	taken := map[string]string{c.Inside(c.PidFile): "pidfile", c.Inside(c.StateFile): "statefile"}
	for _, s := range c.ControlSockets() {
		path := filepath.Clean(s.Path)
		if other, is := taken[path]; is {
			wrong(s.Option, "%s is what %s names: give each a name of its own", path, c.Called(other))
		}
		taken[path] = s.Option
	}
}

// below tells whether path is folder or lies below it.
func below(path, folder string) bool {
	path, folder = filepath.Clean(path), filepath.Clean(folder)
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}
