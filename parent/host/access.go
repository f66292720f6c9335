// Whether a user may come to a file, by the modes of all that lies on the way. This
// file owns that judgement for users we are not; what a room is, it asks the kernel.

package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Closed returns what keeps u from path: the first folder on the way below root
// it may not pass, or path itself if it lacks need, as in the last digit of a
// mode; empty if nothing does. The ways through symbolic links and through where
// they lead both count.
func (u User) Closed(root, path string, need fs.FileMode) (at string, err error) {
	if at, err := u.walk(root, resolve(path), need); err != nil {
		return at, err
	}
	if root != "/" {
		return "", nil // the links were followed for the room
	}
	return u.walk(root, path, need)
}

func (u User) walk(root, path string, need fs.FileMode) (at string, err error) {
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
		if !u.May(info, want) {
			return steps[n], fs.ErrPermission
		}
	}
	return "", nil
}

// Unwritable returns what keeps u, by its mode, from making a file at path and the
// folders to it that are missing, or, if it is there and meant to be written to, from
// that; empty if nothing does. The way there does not count.
func (u User) Unwritable(path string, existing bool) (at string) {
	if info, err := os.Stat(path); err == nil && existing && !u.May(info, 0o2) {
		return path
	}
	for at = filepath.Clean(path); at != "/"; {
		at = filepath.Dir(at)
		if info, err := os.Stat(at); err == nil {
			if !u.May(info, 0o3) {
				return at
			}
			return ""
		}
	}
	return ""
}

// May tells whether all the bits of need, as in the last digit of a mode, are granted.
func (u User) May(info fs.FileInfo, need fs.FileMode) bool {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case int(st.Uid) == u.UID:
		need <<= 6
	case int(st.Gid) == u.GID || slices.Contains(u.Groups, int(st.Gid)):
		need <<= 3
	}
	return info.Mode()&need == need
}
