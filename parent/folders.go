// The directories the family lives in: which there are, whose each is, and what may
// lie there.

package parent

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// folder is one that holds nothing but what the family puts there.
type folder struct {
	host.Folder
	option string    // that says where it lies
	room   imsg.Room // that lives there; the parent, for what no room sees
}

// ownFolders are all of them.
func ownFolders(c *config.Config) []folder {
	all := []folder{
		// The script's user must pass through the spool; only its own may list it.
		{host.Folder{Path: c.Inside(c.SpoolPath), Mode: 0o711, Ours: spoolName.MatchString}, "spool_path", imsg.Session},
		{host.Folder{Path: c.Inside(c.LockPath), Mode: 0o750, Ours: lockName}, "lock_path", imsg.Lockd},
		{host.Folder{Path: emptyFolder(c), Mode: 0o755, Ours: func(string) bool { return false }}, "pidfile", imsg.Lookupd},
	}
	if c.RateExpiration > 0 {
		// Records of 1.4 lie there, too, under the names of locks.
		ours := func(name string) bool { return strings.HasPrefix(name, ratesFile) || lockName(name) }
		all = append(all, folder{host.Folder{Path: c.Inside(c.RatePath), Mode: 0o700, Ours: ours}, "ratelimit_path", imsg.Parent})
	}
	return all
}

var spoolName = regexp.MustCompile(`^[0-9]+\.[0-9]+(\.part)?$`)

// lockName is a client: ip or ip-ident.
func lockName(name string) bool {
	ip, _, _ := strings.Cut(name, "-")
	_, err := netip.ParseAddr(ip)
	return err == nil
}

// makeFolders makes what the rooms of g live in.
func (p *parent) makeFolders(g *generation) error {
	var errs []error
	for _, f := range ownFolders(g.cfg) {
		who := host.NoUser
		switch {
		case f.room == imsg.Session || f.room == imsg.Lockd:
			who = g.who[f.room]
		case f.room == imsg.Lookupd && p.rooted:
			who = host.User{} // root's: no room may put anything into the empty folder
		}
		if err := f.Make(who); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", g.cfg.Called(f.option), err))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	return checkRates(g.cfg)
}

// emptyFolder is the root of a room that needs no file: beside the pid file,
// for no room can write there.
func emptyFolder(c *config.Config) string {
	return filepath.Join(filepath.Dir(c.Inside(c.PidFile)), "empty")
}
