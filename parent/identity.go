// Who the rooms are. Names become numbers here, before any chroot; a room is
// told numbers only.

package parent

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// identity is a user with its groups, by number.
type identity sandbox.Identity

// unchanged is what a room without a user of its own is: whoever its parent is.
var unchanged = identity(sandbox.Unchanged)

// ourselves is who such a room is.
func ourselves() identity {
	groups, _ := os.Getgroups()
	return identity{os.Geteuid(), os.Getegid(), groups}
}

// resolve finds the identity of a room; the error names the remedy.
func resolve(c *config.Config, r *room) (id identity, err error) {
	name := c.User(r.Room)
	u, err := findUser(name)
	if err != nil {
		return id, fmt.Errorf("user %q of the %s room does not exist: create it, or name another with %s or %s", name, r.Room, c.Called(option(r.Room)), c.Called("set_user"))
	}
	if id.UID, err = strconv.Atoi(u.Uid); err != nil {
		return id, fmt.Errorf("user %q: %w", name, err)
	}
	if id.GID, err = strconv.Atoi(u.Gid); err != nil {
		return id, fmt.Errorf("user %q: %w", name, err)
	}
	if c.SetGroup != "" {
		if id.GID, err = findGroup(c.SetGroup); err != nil {
			return id, fmt.Errorf("%s: %w", c.Called("set_group"), err)
		}
	}
	if id.UID == 0 {
		return id, fmt.Errorf("user %q of the %s room is root: name an unprivileged one with %s or %s", name, r.Room, c.Called(option(r.Room)), c.Called("set_user"))
	}
	if !r.groups {
		return id, nil
	}
	all, err := u.GroupIds()
	if err != nil {
		return id, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range all {
		n, err := strconv.Atoi(g)
		if err == nil && n != id.GID && !slices.Contains(id.Groups, n) {
			id.Groups = append(id.Groups, n)
		}
	}
	return id, nil
}

func findUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if _, nerr := strconv.Atoi(name); nerr == nil {
		return user.LookupId(name)
	}
	return nil, err
}

func findGroup(name string) (int, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(g.Gid)
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("group %q does not exist", name)
}

// option is the option that names a room's user.
func option(r imsg.Room) string {
	return map[imsg.Room]string{
		imsg.Session: "user_session", imsg.Lookupd: "user_lookup", imsg.Scand: "user_scan",
		imsg.Lockd: "user_lock", imsg.Action: "user_action",
	}[r]
}
