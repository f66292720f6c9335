// Directories of ours. Missing ones are made with their owner; one that exists is
// never given to somebody else: the error says what to do.

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Folder is one that holds nothing but what we put there.
type Folder struct {
	Path string
	Mode fs.FileMode            // of one that is made
	Ours func(name string) bool // tells what may lie there
	Lent bool                   // made once CAP_CHOWN is given up: it stays ours, and who works in it by its group
}

// systemFolders are those of hier(7) that somebody may name by mistake.
var systemFolders = strings.Fields(`/ /bin /boot /dev /dev/shm /etc /home /lib /media /mnt /opt /proc /root /run /run/lock /sbin /srv /sys /tmp
	/usr /usr/local /usr/share /var /var/cache /var/db /var/empty /var/lib /var/lock /var/log /var/mail /var/run /var/spool /var/tmp`)

// looked is how many names in a folder are looked at.
const looked = 4096

// Shared says why a folder is not ours alone, empty if it is, or is not there. Such a
// folder is neither swept nor given to anybody.
func (f Folder) Shared() string {
	info, err := os.Stat(f.Path)
	if err != nil {
		return ""
	}
	if slices.Contains(systemFolders, resolve(f.Path)) {
		return "is a directory of the system"
	}
	if info.Mode()&0o002 != 0 {
		return "is open to everybody"
	}
	d, err := os.OpenFile(f.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer d.Close()
	names, _ := d.Readdirnames(looked)
	for _, name := range names {
		if !f.Ours(name) && name != "lost+found" {
			return "holds other things, such as " + strconv.Quote(name)
		}
	}
	return ""
}

// Make makes a folder that is missing, for who, and checks that who can work in it.
// NoUser can; what is made for it is ours.
func (f Folder) Make(who User) error {
	info, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.make(who)
	}
	if err != nil {
		return err
	}
	return f.Fits(info, who)
}

// Fits checks that who can work in a folder that exists; info is Stat's of it. The
// error names the remedy.
func (f Folder) Fits(info fs.FileInfo, who User) error {
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", f.Path)
	}
	if who.UID < 0 || who.May(info, 0o7) {
		return nil
	}
	remedy := fmt.Sprintf("chown %d %s", who.UID, f.Path)
	if why := f.Shared(); why != "" {
		remedy = "it " + why + ", so name a directory of its own"
	}
	return fmt.Errorf("%s belongs to uid %d, mode %04o, but uid %d must be able to work in it: %s",
		f.Path, info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm(), who.UID, remedy)
}

func (f Folder) make(who User) error {
	path, mode := f.Path, f.Mode
	if err := MakeWay(path); err != nil {
		return err
	}
	p, err := OpenPlace(path)
	if err != nil {
		return err
	}
	defer p.Folder.Close()
	if err := unix.Mkdirat(int(p.Folder.Fd()), p.Name, uint32(mode.Perm())); err != nil {
		return &os.PathError{Op: "make", Path: path, Err: err}
	}
	made, err := p.open(unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer made.Close()
	if st, err := statOf(made); err != nil || int(st.Uid) != os.Geteuid() {
		return errors.Join(err, fmt.Errorf("%s: somebody else puts folders in its place", path))
	}
	// The umask may have taken some. Once it is somebody else's that takes a privilege
	// more.
	if err := made.Chmod(mode); err != nil || who.UID < 0 {
		return err
	}
	err = made.Chown(who.UID, who.GID)
	if f.Lent && errors.Is(err, fs.ErrPermission) && who.GID > 0 {
		err = lend(made, mode, who.GID)
	}
	return err
}

// CommonFolder returns the smallest directory there is that holds all files, with
// symbolic links resolved, and each file's name below it. It is "/" if nothing
// smaller does, and empty if there are no files.
func CommonFolder(files []string) (root string, local map[string]string) {
	real := make(map[string]string, len(files))
	for _, name := range files {
		real[name] = resolve(name)
		dir := filepath.Dir(real[name])
		if root == "" {
			root = dir
		}
		for root != "/" && dir != root && !strings.HasPrefix(dir, root+"/") {
			root = filepath.Dir(root)
		}
	}
	// A program that was never started may have no directory yet.
	for root != "" && root != "/" {
		if info, err := os.Stat(root); err == nil && info.IsDir() {
			break
		}
		root = filepath.Dir(root)
	}
	local = make(map[string]string, len(files))
	for name, r := range real {
		local[name] = strings.TrimPrefix(strings.TrimPrefix(r, root), "/")
	}
	return root, local
}

// resolve follows the links of as much of path as exists.
func resolve(path string) string {
	path = filepath.Clean(path)
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	if path == "/" || path == "." {
		return path
	}
	return filepath.Join(resolve(filepath.Dir(path)), filepath.Base(path))
}
