// The directories the family lives in. Missing ones are made with their owner;
// one that exists is never given to somebody else: the error says what to do.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// folder is one that holds nothing but what the family puts there.
type folder struct {
	option string // that says where it lies
	path   string // in the parent's tree
	mode   fs.FileMode
	room   imsg.Room              // that lives there; the parent, for what no room sees
	ours   func(name string) bool // tells what may lie there
}

// ownFolders are all of them.
func ownFolders(c *config.Config) []folder {
	all := []folder{
		// The script's user must pass through the spool; only its own may list it.
		{"spool_path", c.Inside(c.SpoolPath), 0o711, imsg.Session, spoolName.MatchString},
		{"lock_path", c.Inside(c.LockPath), 0o750, imsg.Lockd, lockName},
		{"pidfile", emptyFolder(c), 0o755, imsg.Lookupd, func(string) bool { return false }},
	}
	if c.RateExpiration > 0 {
		// Records of 1.4 lie there, too, under the names of locks.
		all = append(all, folder{"ratelimit_path", c.Inside(c.RatePath), 0o700, imsg.Parent,
			func(name string) bool { return strings.HasPrefix(name, ratesFile) || lockName(name) }})
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

// systemFolders are those of hier(7) that somebody may name by mistake.
var systemFolders = strings.Fields(`/ /bin /boot /dev /dev/shm /etc /home /lib /media /mnt /opt /proc /root /run /run/lock /sbin /srv /sys /tmp
	/usr /usr/local /usr/share /var /var/cache /var/db /var/empty /var/lib /var/lock /var/log /var/mail /var/run /var/spool /var/tmp`)

// looked is how many names in a folder are looked at.
const looked = 4096

// shared says why a folder is not ours alone, empty if it is. Such a folder is
// neither swept nor given to anybody.
func (f folder) shared() string {
	info, err := os.Stat(f.path)
	if err != nil {
		return ""
	}
	if slices.Contains(systemFolders, followed(f.path)) {
		return "is a directory of the system"
	}
	if info.Mode()&0o002 != 0 {
		return "is open to everybody"
	}
	d, err := os.Open(f.path)
	if err != nil {
		return ""
	}
	defer d.Close()
	names, _ := d.Readdirnames(looked)
	for _, name := range names {
		if !f.ours(name) && name != "lost+found" {
			return "holds other things, such as " + strconv.Quote(name)
		}
	}
	return ""
}

// makeFolders makes what the rooms of g live in.
func (p *parent) makeFolders(g *generation) error {
	var errs []error
	for _, f := range ownFolders(g.cfg) {
		who := unchanged
		switch {
		case f.room == imsg.Session || f.room == imsg.Lockd:
			who = g.who[f.room]
		case f.room == imsg.Lookupd && p.rooted:
			who = identity{} // root's: no room may put anything into the empty folder
		}
		if err := f.make(who); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", g.cfg.Called(f.option), err))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	return checkRates(g.cfg)
}

// make makes a folder that is missing, for who, and checks that who can work in it.
func (f folder) make(who identity) error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return newFolder(f.path, f.mode, who)
	}
	if err != nil {
		return err
	}
	return f.fits(info, who)
}

// fits checks that who can work in a folder that exists.
func (f folder) fits(info fs.FileInfo, who identity) error {
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", f.path)
	}
	if who.UID < 0 || who.may(info, 0o7) {
		return nil
	}
	remedy := fmt.Sprintf("chown %d %s", who.UID, f.path)
	if why := f.shared(); why != "" {
		remedy = "it " + why + ", so name a directory of its own"
	}
	return fmt.Errorf("%s belongs to uid %d, mode %04o, but uid %d must be able to work in it: %s",
		f.path, info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm(), who.UID, remedy)
}

func newFolder(path string, mode fs.FileMode, who identity) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	if who.UID >= 0 {
		if err := os.Lchown(path, who.UID, who.GID); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode) // the umask may have taken some
}

// emptyFolder is the root of a room that needs no file: beside the pid file,
// for no room can write there.
func emptyFolder(c *config.Config) string {
	return filepath.Join(filepath.Dir(c.Inside(c.PidFile)), "empty")
}

// scannerFolder returns the smallest directory that holds all sockets, with
// symbolic links resolved, and each socket's name below it. It is "/" if nothing
// smaller does, and empty if there are no sockets.
func scannerFolder(sockets []string) (root string, local map[string]string) {
	real := make(map[string]string, len(sockets))
	for _, s := range sockets {
		real[s] = followed(s)
		dir := filepath.Dir(real[s])
		if root == "" {
			root = dir
		}
		for root != "/" && dir != root && !strings.HasPrefix(dir, root+"/") {
			root = filepath.Dir(root)
		}
	}
	// A scanner that was never started may have no directory yet.
	for root != "" && root != "/" {
		if info, err := os.Stat(root); err == nil && info.IsDir() {
			break
		}
		root = filepath.Dir(root)
	}
	local = make(map[string]string, len(sockets))
	for s, r := range real {
		local[s] = strings.TrimPrefix(strings.TrimPrefix(r, root), "/")
	}
	return root, local
}

// followed resolves the links of as much of path as exists.
func followed(path string) string {
	path = filepath.Clean(path)
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	if path == "/" || path == "." {
		return path
	}
	return filepath.Join(followed(filepath.Dir(path)), filepath.Base(path))
}
