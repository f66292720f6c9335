// Whether a user may come to a file, by the modes of all that lies on the way. This
// file owns that judgement for users we are not; what a room is, it asks the kernel.

package parent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// barred words what is closed to a room, and what would open it.
func (l *lookout) barred(at string, err error, r imsg.Room, need fs.FileMode) string {
	info, serr := os.Stat(at)
	if !errors.Is(err, fs.ErrPermission) || serr != nil {
		return fmt.Sprintf("%s: %v", at, reason(err))
	}
	st := info.Sys().(*syscall.Stat_t)
	name, group := userName(l.who[r].UID), groupName(int(st.Gid))
	text := fmt.Sprintf("%s is closed to user %s (it belongs to %s:%s, mode %04o)", at, name, userName(int(st.Uid)), group, info.Mode().Perm())
	switch {
	case !row(r).groups:
		text += fmt.Sprintf("; only group %s of that user counts", groupName(l.who[r].GID))
	case info.Mode()&(need<<3) == need<<3 && st.Gid != 0:
		text += ": add that user to the group " + group
	}
	return text
}

func userName(n int) string {
	if u, err := user.LookupId(strconv.Itoa(n)); err == nil {
		return u.Username
	}
	return strconv.Itoa(n)
}

func groupName(n int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(n)); err == nil {
		return g.Name
	}
	return strconv.Itoa(n)
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

// closed returns what keeps i from path: the first folder on the way below root
// it may not pass, or path itself if it lacks need, as in the last digit of a
// mode. The ways through symbolic links and through where they lead both count.
func (i identity) closed(root, path string, need fs.FileMode) (at string, err error) {
	if at, err := i.walk(root, followed(path), need); err != nil {
		return at, err
	}
	if root != "/" {
		return "", nil // the links were followed for the room
	}
	return i.walk(root, path, need)
}

func (i identity) walk(root, path string, need fs.FileMode) (at string, err error) {
	steps := []string{filepath.Clean(path)}
	for at := steps[0]; at != root && at != "/"; {
		at = filepath.Dir(at)
		steps = append(steps, at)
	}
	for n := len(steps) - 1; n >= 0; n-- {
		want := fs.FileMode(0o1)
		if n == 0 {
			want = need
		}
		info, err := os.Stat(steps[n])
		if err != nil {
			return steps[n], err
		}
		if !i.may(info, want) {
			return steps[n], fs.ErrPermission
		}
	}
	return "", nil
}

// may tells whether all the bits of need, as in the last digit of a mode, are granted.
func (i identity) may(info fs.FileInfo, need fs.FileMode) bool {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case int(st.Uid) == i.UID:
		need <<= 6
	case int(st.Gid) == i.GID || slices.Contains(i.Groups, int(st.Gid)):
		need <<= 3
	}
	return info.Mode()&need == need
}
