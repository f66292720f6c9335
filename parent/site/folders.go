// The directories the family lives in: which there are, whose each is, and what may
// lie there.

package site

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// folder is one that holds nothing but what the family puts there.
type folder struct {
	host.Folder
	option string // that says where it lies
	root   Root   // of the rooms that live there
}

// folders are all of them.
func (s *Site) folders() []folder {
	all := []folder{
		// The script's user must pass through the spool; only its own may list it.
		{host.Folder{Path: s.Inside(s.SpoolPath), Mode: 0o711, Ours: spoolName().MatchString}, "spool_path", Spool},
		{host.Folder{Path: s.Inside(s.LockPath), Mode: 0o750, Ours: lockName}, "lock_path", Locks},
		{host.Folder{Path: s.emptyFolder(), Mode: 0o755, Ours: func(string) bool { return false }}, "pidfile", Empty},
	}
	if s.RateExpiration > 0 {
		// Records of 1.4 lie there, too, under the names of locks.
		ours := func(name string) bool { return strings.HasPrefix(name, ratesFile) || lockName(name) }
		all = append(all, folder{host.Folder{Path: s.Inside(s.RatePath), Mode: 0o700, Ours: ours}, "ratelimit_path", Nowhere})
	}
	return all
}

// owner returns the room that a folder is made for, if it is for one: nobody lives in
// that of the rates, and into the empty one no room may put anything.
func (s *Site) owner(f folder) (Room, bool) {
	if f.root == Empty {
		return Room{}, false
	}
	return s.at(f.root)
}

// whoOwns returns the user that a folder is made for.
func (s *Site) whoOwns(f folder) host.User {
	if r, owned := s.owner(f); owned {
		return s.who[r.Name]
	}
	if f.root == Empty && s.Rooted {
		return host.User{} // root's
	}
	return host.NoUser
}

var spoolName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+\.[0-9]+(\.part)?$`) })

// lockName is a client: ip, ip-ident or login=LOGIN.
func lockName(name string) bool {
	if login, is := strings.CutPrefix(name, imsg.OfLogin); is {
		return imsg.IsLogin(login)
	}
	ip, _, _ := strings.Cut(name, "-")
	_, err := netip.ParseAddr(ip)
	return err == nil
}

// makeFolders makes those that are missing.
func (s *Site) makeFolders() error {
	var errs []error
	for _, f := range s.folders() {
		if err := f.Make(s.whoOwns(f)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Called(f.option), err))
		}
	}
	return errors.Join(errs...)
}

// MakeFolder makes the folder that a room lives in, if that is one of ours and has gone
// since the start. made tells that it was; it may take as long as a disk takes.
func (s *Site) MakeFolder(r Room) (made bool, err error) {
	for _, f := range s.folders() {
		info, err := os.Stat(f.Path)
		if f.root != r.Root || err == nil && info.IsDir() {
			continue
		}
		f.Lent = true
		if err := f.Make(s.whoOwns(f)); err != nil {
			return false, fmt.Errorf("%s: %w", s.Called(f.option), err)
		}
		return true, nil
	}
	return false, nil
}

// shared tells whether others use a folder the rooms with a root live in, too.
func (s *Site) shared(r Root) bool {
	for _, f := range s.folders() {
		if f.root == r {
			return f.Shared() != ""
		}
	}
	return false
}

// emptyFolder is the root of a room that needs no file: beside the pid file,
// for no room can write there.
func (s *Site) emptyFolder() string {
	return filepath.Join(filepath.Dir(s.Inside(s.PidFile)), "empty")
}
