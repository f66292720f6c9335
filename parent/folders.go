// The directories the family lives in. Missing ones are made with their owner;
// one that exists is never given to somebody else: the error says what to do.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// makeFolders makes what the rooms of g live in.
func (p *parent) makeFolders(g *generation) error {
	spool := g.cfg.Inside(g.cfg.SpoolPath)
	ours := unchanged
	if p.rooted {
		ours = identity{} // root's: no room may put anything into the empty folder
	}
	if err := errors.Join(
		// The script's user must pass through the spool; only its own may list it.
		makeFolder(g.cfg.Called("spool_path"), spool, 0o711, g.who[imsg.Session]),
		makeFolder(g.cfg.Called("lock_path"), g.cfg.Inside(g.cfg.LockPath), 0o750, g.who[imsg.Lockd]),
		makeFolder(g.cfg.Called("pidfile"), emptyFolder(g.cfg), 0o755, ours),
		checkRates(g.cfg),
	); err != nil {
		return err
	}
	info, err := os.Stat(spool)
	if err == nil && p.rooted && g.cfg.ActionScript != "" && !g.who[imsg.Action].may(info, 0o1) {
		p.log.Warn("the action script cannot work in spool_path: its user may not enter it", "remedy", "chmod o+x "+spool)
	}
	return err
}

// makeFolder makes path if it is missing, for who, and checks
// that who can work in it.
func makeFolder(option, path string, mode fs.FileMode, who identity) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newFolder(option, path, mode, who)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: %s is not a directory", option, path)
	}
	if who.uid < 0 {
		return nil
	}
	if !who.may(info, 0o7) {
		return fmt.Errorf("%s: %s belongs to uid %d, mode %04o, but uid %d must be able to work in it: chown %d %s",
			option, path, info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm(), who.uid, who.uid, path)
	}
	return nil
}

// may tells whether all the bits of need, as in the last digit of a mode, are granted.
func (i identity) may(info fs.FileInfo, need fs.FileMode) bool {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case int(st.Uid) == i.uid:
		need <<= 6
	case int(st.Gid) == i.gid:
		need <<= 3
	}
	return info.Mode()&need == need
}

func newFolder(option, path string, mode fs.FileMode, who identity) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if err := os.Mkdir(path, mode); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if who.uid >= 0 {
		if err := os.Lchown(path, who.uid, who.gid); err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
	}
	if err := os.Chmod(path, mode); err != nil { // the umask may have taken some
		return fmt.Errorf("%s: %w", option, err)
	}
	return nil
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
